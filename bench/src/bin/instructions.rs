//! `instructions`: how many instructions the engine's pieces take, and how many more than before. For whoever changes the
//! engine; `bench/instructions` builds it for two commits and compares them.
#![forbid(unsafe_code)]

use bifold_bench::Result;
use bifold_bench::instructions::{Counts, Verdict, count, valgrind};
use bifold_bench::pieces::{Conditions, Entry, all, the_counted_piece};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Two counts of the same program must agree within this share.
const AGREE: f64 = 0.001;

#[derive(Parser)]
#[command(about = "Instructions of the engine's pieces, counted by callgrind and compared with a base")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// List the pieces that are counted
    List,
    /// Do one piece of work, which is what runs under callgrind
    Run {
        /// The piece
        name: String,
    },
    /// Count, and write the counts
    Count {
        /// Only pieces whose names contain one of these
        names: Vec<String>,
        /// Where to; standard output by default
        #[arg(long)]
        out: Option<PathBuf>,
        /// The commit this program was built from, to be noted with the counts
        #[arg(long)]
        commit: Option<String>,
        /// Count everything twice, and fail unless both counts agree within 0.1 %
        #[arg(long)]
        twice: bool,
    },
    /// Compare two files of counts: exits 1 if a piece takes more instructions than the threshold allows for
    Compare {
        /// The counts before
        base: PathBuf,
        /// The counts now
        now: PathBuf,
        /// Percent of instructions more that are too many
        #[arg(long, default_value_t = 3.0, value_parser = percent)]
        threshold: f64,
        /// Only pieces whose names contain one of these
        #[arg(last = true)]
        names: Vec<String>,
    },
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse::<f64>().ok().filter(|percent| percent.is_finite() && *percent >= 0.0);
    percent.ok_or_else(|| "not a number of percent".to_owned())
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(task: Task) -> Result<bool> {
    match task {
        Task::List => {
            for entry in counted(&[])? {
                println!("{}", entry.name);
            }
        }
        Task::Run { name } => work(&name)?,
        Task::Count { names, out, commit, twice } => {
            let counts = count_all(&names, commit, twice)?;
            match out {
                Some(path) => std::fs::write(path, counts.to_string())?,
                None => print!("{counts}"),
            }
        }
        Task::Compare { base, now, threshold, names } => {
            let read = |path: &Path| -> Result<Counts> {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                let counts: Counts = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
                Ok(counts.only(|name| wanted(name, &names)))
            };
            let verdict = Verdict::new(&read(&base)?, &read(&now)?, threshold);
            println!("{verdict}");
            return Ok(!verdict.regressed());
        }
    }
    Ok(true)
}

fn wanted(name: &str, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|part| name.contains(part.as_str()))
}

/// The pieces that are counted and have one of these names.
fn counted(names: &[String]) -> Result<Vec<Entry>> {
    let entries: Vec<Entry> =
        all().into_iter().filter(|entry| entry.counted > 0 && wanted(&entry.name, names)).collect();
    if entries.is_empty() { Err("no piece has such a name: see `list`".into()) } else { Ok(entries) }
}

/// Does the work of one piece, once to bring everything where it belongs, and once to be counted.
fn work(name: &str) -> Result<()> {
    let entry = all().into_iter().find(|entry| entry.name == name && entry.counted > 0);
    let entry = entry.ok_or("no piece has this name: see `list`")?;
    let mut piece = entry.make(&Conditions::COUNTED)?;
    piece.prepare()?;
    piece.run(entry.counted)?;
    piece.prepare()?;
    the_counted_piece(&mut *piece, entry.counted)
}

/// Counts each piece in a process of its own.
fn count_all(names: &[String], commit: Option<String>, twice: bool) -> Result<Counts> {
    let program = std::env::current_exe()?;
    let mut counts = Counts::default();
    counts.origin.insert("valgrind".to_owned(), valgrind()?);
    counts.origin.extend(rustc().map(|version| ("rustc".to_owned(), version)));
    counts.origin.extend(commit.map(|commit| ("commit".to_owned(), commit)));
    for entry in counted(names)? {
        let once = || -> Result<f64> {
            let sum = count(&program, &["run", &entry.name], "the_counted_piece");
            Ok(sum.map_err(|e| format!("{}: {e}", entry.name))? as f64 / entry.counted as f64)
        };
        let each = once()?;
        eprintln!("{}: {each:.1} instructions", entry.name);
        if twice {
            let again = once()?;
            if (again - each).abs() > each * AGREE {
                return Err(format!("{}: {each:.2} instructions, and then {again:.2}", entry.name).into());
            }
        }
        counts.pieces.insert(entry.name, each);
    }
    Ok(counts)
}

/// The compiler that is there, which the script that builds and counts used.
fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
