//! The arguments of the commands that are about the program itself: `completions` and `man`.
#![forbid(unsafe_code)]

use clap::Args as ClapArgs;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

const COMPLETIONS: &str = "Examples:
  bifold completions bash > ~/.local/share/bash-completion/completions/bifold
  bifold completions zsh > ~/.zfunc/_bifold
  bifold completions fish > ~/.config/fish/completions/bifold.fish";

#[derive(ClapArgs, Debug)]
#[command(after_help = MAN)]
pub(crate) struct Man {
    /// Where to write bifold.1 and a page for each command; if left out, the first is printed
    pub(crate) dir: Option<PathBuf>,
}

const MAN: &str = "Pages of the same name are replaced.

Examples:
  bifold man | man -l -
  bifold man ~/.local/share/man/man1";
