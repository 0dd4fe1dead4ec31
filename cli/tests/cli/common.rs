//! Running the built `bifold`.

use serde_json::Value as Json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Both backends, by name.
pub(crate) const BACKENDS: [&str; 2] = ["mmap", "pool"];

/// A folder for one test, and `bifold` in it.
pub(crate) struct Place(TempDir);

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `bifold` with arguments that are separated by spaces, and nothing to read.
    pub(crate) fn run(&self, args: &str) -> Ran {
        self.feed(args, b"")
    }

    /// Runs `bifold` with something to read.
    pub(crate) fn feed(&self, args: &str, input: &[u8]) -> Ran {
        let args: Vec<&str> = args.split(' ').collect();
        self.feed_args(&args, input)
    }

    /// Runs `bifold` with arguments that may have spaces.
    pub(crate) fn feed_args(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bifold"));
        finish(command.args(args).current_dir(self.0.path()), input)
    }

    /// Runs a line of shell, in which `$BIFOLD` is the program.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).env("BIFOLD", env!("CARGO_BIN_EXE_bifold")).current_dir(self.0.path());
        finish(&mut command, b"")
    }

    /// Every file in the folder, with its bytes.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
    }
}

fn finish(command: &mut Command, input: &[u8]) -> Ran {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let out = std::thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    let code = out.status.code().expect("ended by a signal");
    let ran = Ran { out: out.stdout, err: String::from_utf8(out.stderr).unwrap(), code };
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    ran
}

impl Ran {
    /// What was printed, after asserting that all went well.
    #[track_caller]
    pub(crate) fn good(self) -> Vec<u8> {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// The same, as text.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.good()).unwrap()
    }

    /// The same, as JSON, a line each.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<Json> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What was said of an error, after asserting that it was one, and that nothing was printed.
    #[track_caller]
    pub(crate) fn error(self) -> String {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.out, b"", "{}", self.err);
        assert!(self.err.starts_with("bifold: ") || self.err.starts_with("error: "), "{}", self.err);
        self.err
    }
}

/// The cities that come with Bifold.
pub(crate) fn cities() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/cities.tsv")
}
