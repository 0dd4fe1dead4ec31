//! JSON that is kept, and read again by another run of this program or by a later one: comparisons and sweeps.
//!
//! A document has a version. A field that is new needs none, if a document without it can still be read; nor does one that
//! is left out, if all readers can do without. The version is raised when a field means something else than before, or when
//! a reader of the version before would not find what it needs. A document of an older version is read if it has all that
//! is needed; one of a newer version is not: what its fields mean cannot be known.
#![forbid(unsafe_code)]

use crate::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;

/// The version that is written.
pub const VERSION: u32 = 2;
/// The oldest that is read. Fields were added to version 1 while it stayed 1: what of it lacks them is refused.
pub const OLDEST: u32 = 1;

/// Reads a document that is a `what`, "report" say, of this `kind`; a comparison says none.
///
/// # Errors
/// In words: if it cannot be read, is none, is of another kind, or of a version that cannot be read.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, what: &str, kind: Option<&str>) -> Result<T> {
    let name = path.display();
    let text = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    let no = |why: &dyn std::fmt::Display| format!("{name} is no {what}: {why}");
    let value: Value = serde_json::from_slice(&text).map_err(|error| no(&error))?;
    match (value.get("kind").and_then(Value::as_str), kind) {
        (found, wanted) if found == wanted => {}
        (Some(found), _) => return Err(no(&format!("it says that it is one of `{found}`")).into()),
        (None, _) => return Err(no(&"it does not say that it is one").into()),
    }
    let Some(version) = value.get("version").and_then(Value::as_u64) else {
        return Err(no(&"it has no version").into());
    };
    if !(u64::from(OLDEST)..=u64::from(VERSION)).contains(&version) {
        return Err(format!(
            "{name} is of version {version}, and this program reads versions {OLDEST} to {VERSION} of a {what}"
        )
        .into());
    }
    let read = serde_json::from_value(value);
    Ok(read.map_err(|error| {
        if version < u64::from(VERSION) {
            let then =
                format!("{name} is of version {version}, and lacks what this program, of version {VERSION}");
            format!("{then}, needs of a {what}: {error}")
        } else {
            no(&error)
        }
    })?)
}

/// Writes `value` as JSON to a file that others may read, too. What had the name before stays until all of it is written.
///
/// # Errors
/// I/O errors.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(dir)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Note {
        version: u32,
        text: String,
        more: Option<u32>,
    }

    fn read(text: &str, kind: Option<&str>) -> Result<Note, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, text).unwrap();
        read_json(&path, "note", kind).map_err(|error| {
            let error = error.to_string();
            assert!(error.contains("a.json"), "{error}");
            error
        })
    }

    #[test]
    fn what_was_written_is_read_and_what_is_older_if_nothing_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let note = Note { version: VERSION, text: "x".into(), more: Some(7) };
        write_json(&path, &note).unwrap();
        assert_eq!(read_json::<Note>(&path, "note", None).unwrap(), note);
        let old = read(r#"{"version": 1, "text": "y", "unknown": [1]}"#, None).unwrap();
        assert_eq!(old, Note { version: 1, text: "y".into(), more: None });
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_both_versions() {
        for (text, wanted) in [
            (
                r#"{"version": 3, "text": "y"}"#,
                "is of version 3, and this program reads versions 1 to 2 of a note",
            ),
            (r#"{"version": 0, "text": "y"}"#, "is of version 0, and this program reads versions 1 to 2"),
            (
                r#"{"version": 1}"#,
                "is of version 1, and lacks what this program, of version 2, needs of a note: missing",
            ),
            (r#"{"version": 2}"#, "is no note: missing field `text`"),
            (r#"{"version": "2", "text": "y"}"#, "is no note: it has no version"),
            (
                r#"{"kind": "song", "version": 2, "text": "y"}"#,
                "is no note: it says that it is one of `song`",
            ),
            ("[1]", "is no note: it has no version"),
            ("", "is no note: EOF"),
        ] {
            let error = read(text, None).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let error = read(r#"{"version": 2, "text": "y"}"#, Some("song")).unwrap_err();
        assert!(error.contains("it does not say that it is one"), "{error}");
        assert!(read(r#"{"kind": "song", "version": 2, "text": "y"}"#, Some("song")).is_ok());
    }
}
