//! What can go wrong, said so that the person at the terminal knows what to do; and the exit code.
#![forbid(unsafe_code)]

use bifold_text::escape::shown;
use indicatif::BinaryBytes;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How a command ended that met no error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// Exit code 0.
    Good,
    /// Exit code 1: the key is not there, there is nothing to remove, or the file has faults.
    Bad,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Good => ExitCode::SUCCESS,
            Status::Bad => ExitCode::from(1),
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Error {
    /// Arguments that do not go together, or cannot be read.
    Usage(String),
    /// The database cannot be opened.
    Open(PathBuf, bifold::Error),
    /// A database that need not be there cannot be made, or not be opened.
    Create(PathBuf, bifold::Error),
    /// What was loaded is committed, but the database could not be closed.
    Close(PathBuf, bifold::Error),
    /// The database, once open, gave an error.
    Database(bifold::Error),
    /// What is to be loaded cannot be read.
    Read(String, io::Error),
    /// What is to be loaded, under this name, is wrong.
    Input(String, bifold_text::Error),
    /// What is being sorted cannot be kept in this folder, or not be read from there.
    Temporary(PathBuf, io::Error),
    /// The output cannot be written.
    Write(io::Error),
    /// A file that is not the output cannot be written.
    WriteFile(PathBuf, io::Error),
    /// Nobody reads the output any more. Not an error, but an end.
    ClosedPipe,
}

/// A result whose error is [`Error`].
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Says on standard error what went wrong. That this cannot be written is nothing to be said anywhere.
    pub(crate) fn report(&self) {
        let _ = writeln!(io::stderr(), "bifold: {self}");
    }

    /// What it means that a database could not be copied to `new`.
    pub(crate) fn copying_to(new: &Path, error: bifold::Error) -> Self {
        use io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
        match &error {
            bifold::Error::DiskFull { .. } => Self::Create(new.into(), error),
            bifold::Error::Io { source, .. }
                if matches!(
                    source.kind(),
                    AlreadyExists | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem
                ) =>
            {
                Self::Create(new.into(), error)
            }
            // What else goes wrong may lie in the database that is read.
            _ => error.into(),
        }
    }
}

impl From<bifold::Error> for Error {
    fn from(error: bifold::Error) -> Self {
        Self::Database(error)
    }
}

/// An error of writing the output; what is read has other ways to fail.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ClosedPipe } else { Self::Write(error) }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => f.write_str(what),
            Self::Open(path, error) => write_open(f, path, error),
            Self::Create(path, error) => write_create(f, path, error),
            Self::Close(path, error) => write!(
                f,
                "{}: all is committed, but closing failed, and the next opening will recover it: {error}",
                path.display()
            ),
            Self::Database(error) => write_database(f, error),
            Self::Read(input, error) => write!(f, "{input}: {error}"),
            Self::Input(input, error) => write_input(f, input, error),
            Self::Temporary(dir, error) => write_temporary(f, dir, error),
            Self::WriteFile(path, error) => {
                write!(f, "{}: {error}", shown(path.as_os_str().as_encoded_bytes()))
            }
            Self::Write(error) => write!(f, "cannot write the output: {error}"),
            Self::ClosedPipe => f.write_str("nobody reads the output"),
        }
    }
}

/// Names are shown as they are written on the command line.
fn write_database(f: &mut fmt::Formatter<'_>, error: &bifold::Error) -> fmt::Result {
    match error {
        bifold::Error::NoSuchTable(name) => write!(f, "no table named \"{}\"", shown(name.as_bytes())),
        bifold::Error::TableExists(name) => write!(f, "a table named \"{}\" exists", shown(name.as_bytes())),
        error => write!(f, "{error}"),
    }
}

/// What is wrong with an input, and which option there is against it.
fn write_input(f: &mut fmt::Formatter<'_>, input: &str, error: &bifold_text::Error) -> fmt::Result {
    use bifold_text::Error;
    match error {
        Error::NotTsv => {
            return write!(f, "{input}: --key and --value choose columns of TSV, which the input is not");
        }
        Error::TsvNamesNone => {
            return write!(f, "{input}: TSV names no tables: with --all, the input is a dump or JSON");
        }
        Error::TooLong { line, max } => {
            let max = BinaryBytes(*max);
            write!(f, "{input}: line {line}: it is longer than {max}, which --delta sets")?;
        }
        Error::AnotherTable { .. } => {
            write!(f, "{input}: {error}: --all loads each into the table of its name")?;
        }
        Error::NoTable { .. } => {
            write!(f, "{input}: {error}, which --all needs: without --all, name the table")?;
        }
        Error::Line { .. } | Error::Read(_) => write!(f, "{input}: {error}")?,
    }
    f.write_str("; nothing was loaded")
}

fn write_open(f: &mut fmt::Formatter<'_>, path: &Path, error: &bifold::Error) -> fmt::Result {
    let path = shown(path.as_os_str().as_encoded_bytes());
    match error {
        bifold::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            write!(f, "{path}: there is no such database")
        }
        bifold::Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            write!(f, "{path}: {source}")
        }
        error => write!(f, "{path}: {error}"),
    }
}

fn write_create(f: &mut fmt::Formatter<'_>, path: &Path, error: &bifold::Error) -> fmt::Result {
    let path = shown(path.as_os_str().as_encoded_bytes());
    match error {
        bifold::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            write!(f, "{path}: there is no such folder")
        }
        bifold::Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            write!(f, "{path}: something of that name is there already")
        }
        bifold::Error::Io { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            write!(f, "{path}: {source}")
        }
        error => write!(f, "{path}: {error}"),
    }
}

fn write_temporary(f: &mut fmt::Formatter<'_>, dir: &Path, error: &io::Error) -> fmt::Result {
    let dir = match dir.as_os_str().as_encoded_bytes() {
        b"" => ".".into(),
        dir => shown(dir),
    };
    write!(f, "a temporary file in {dir}: {error}; nothing was loaded")?;
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            f.write_str(" (--tmp names a folder with room for all of the input)")
        }
        _ => Ok(()),
    }
}
