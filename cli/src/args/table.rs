//! The arguments that many commands share: a table of a database, and a range of its keys.
#![forbid(unsafe_code)]

use bifold_text::escape::unescape;
use clap::Args as ClapArgs;
use std::ffi::OsString;
use std::path::PathBuf;

// Flattened into commands, whose descriptions a doc comment here would replace.
#[derive(ClapArgs, Debug)]
pub(crate) struct TableArgs {
    /// The database file
    pub(crate) db: PathBuf,

    /// The table, its name escaped as tables prints it
    #[arg(value_parser = table_name)]
    pub(crate) table: String,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct KeyRange {
    /// The first key, or where it would be
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<OsString>,

    /// The key to stop before
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<OsString>,

    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<OsString>,
}

/// The name that a table's name on the command line stands for; the error says why it is none.
pub(crate) fn table_name(text: &str) -> Result<String, String> {
    let mut name = Vec::with_capacity(text.len());
    unescape(text.as_bytes(), &mut name).map_err(|bad| format!("byte {}: {bad}", bad.at + 1))?;
    String::from_utf8(name).map_err(|_| "it is not UTF-8, which a table's name must be".into())
}

#[cfg(test)]
mod tests {
    use super::table_name;

    #[test]
    fn names_are_escaped_as_keys_are() {
        assert_eq!(table_name("städte").unwrap(), "städte");
        assert_eq!(table_name(r"a\tb\\\n\xc3\xa4").unwrap(), "a\tb\\\nä");
        assert!(table_name(r"a\q").unwrap_err().starts_with(r"byte 2: there is no escape \q"));
        assert!(table_name(r"\xff").unwrap_err().contains("not UTF-8"));
    }
}
