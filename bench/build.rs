//! Tells the program the commit that it is built from, for its reports: `BIFOLD_COMMIT`, unless that is set already.
//! Outside a checkout of this repository it tells none.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

/// What the program is made of: where a change makes a commit no longer the whole truth.
const SOURCES: [&str; 6] =
    ["src", "../engine/src", "../page-source/src", "../mmap-backend/src", "../buffer-pool/src", "Cargo.toml"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BIFOLD_COMMIT");
    if std::env::var_os("BIFOLD_COMMIT").is_some() || !is_own_checkout() {
        return;
    }
    // Of each commit and checkout git keeps a line there. What is missing would be taken for changed each time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    let sources = SOURCES.iter().map(ToString::to_string);
    for path in sources.chain(log).filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    status.extend(SOURCES);
    let changed = if git(&status).is_some() { ", changed since" } else { "" };
    println!("cargo:rustc-env=BIFOLD_COMMIT={commit}{changed}");
}

/// Whether the repository around is this one, and not one that these sources were unpacked in.
fn is_own_checkout() -> bool {
    let root = Path::new("..").canonicalize().ok();
    root.is_some()
        && git(&["rev-parse", "--show-toplevel"]).and_then(|top| Path::new(&top).canonicalize().ok()) == root
}

/// What git says; `None` if it says nothing, or is not there.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
