//! A program's instructions within one of its functions, counted by callgrind.
#![forbid(unsafe_code)]

use crate::Result;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

/// The version of valgrind that there is.
///
/// # Errors
/// In words, if there is none.
pub fn valgrind() -> Result<String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Err(format!("valgrind does not run: {}", output.status).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("valgrind is missing: nothing can be counted. Debian and Ubuntu have it as `valgrind`".into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs `program` with `args` under callgrind, and returns the instructions that it executed within functions whose name
/// contains `function`, by the thread that called them.
///
/// # Errors
/// If valgrind is missing, the program fails, or the function was never called.
pub fn count<A: AsRef<OsStr>>(program: &Path, args: &[A], function: &str) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("callgrind");
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(&file);
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(out)
        .arg(program)
        .args(args)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let words = format!("{} under callgrind: {}: {}", program.display(), output.status, said.trim());
        return Err(words.into());
    }
    total(&std::fs::read_to_string(&file)?)
}

/// The sum of instructions in callgrind's file.
fn total(text: &str) -> Result<u64> {
    let sums = text.lines().filter_map(|line| line.strip_prefix("totals:"));
    let sums = sums.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    match sums.sum() {
        0 => Err("callgrind counted nothing: the function was not called, or has another name".into()),
        sum => Ok(sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_read_from_the_file() {
        let file = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\nevents: Ir\nsummary: 120\n\n\
                    fn=(1) a\n16 4\n\ntotals: 1234\n";
        assert_eq!(total(file).unwrap(), 1234);
        assert!(total("events: Ir\ntotals: 0\n").unwrap_err().to_string().contains("counted nothing"));
        assert!(total("").is_err());
    }

    #[test]
    fn what_fails_under_callgrind_is_an_error() {
        match valgrind() {
            Err(error) => println!("skipped: {error}"),
            Ok(version) => {
                assert!(version.starts_with("valgrind"), "{version}");
                let none: [&str; 0] = [];
                assert!(count(Path::new("/bin/false"), &none, "nothing").is_err());
                let error =
                    count(Path::new("/bin/true"), &none, "nothing_of_this_name").unwrap_err().to_string();
                assert!(error.contains("counted nothing"), "{error}");
            }
        }
    }
}
