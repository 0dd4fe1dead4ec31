//! Entries as JSON lines: `{"key": …, "value": …}`, with `"table"` where the input names tables.
#![forbid(unsafe_code)]

use crate::base64;
use crate::input::Entry;
use serde_json::{Map, Value as Json, json};

/// Bytes as JSON: a string if they are UTF-8, otherwise `{"base64": "…"}`.
pub(crate) fn bytes_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => json!({ "base64": base64::encode(bytes) }),
    }
}

/// An entry as an object.
pub(crate) fn entry_json(table: Option<&str>, key: &[u8], value: &[u8]) -> Json {
    let mut object = Map::new();
    if let Some(table) = table {
        object.insert("table".into(), table.into());
    }
    object.insert("key".into(), bytes_json(key));
    object.insert("value".into(), bytes_json(value));
    Json::Object(object)
}

/// Takes an entry out of a line; the table that it names, if it names one. The error says what is wrong.
pub(crate) fn take(line: &[u8], entry: &mut Entry) -> Result<Option<String>, String> {
    if line.is_empty() {
        return Err("it is empty".into());
    }
    let json: Json = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
    let Json::Object(object) = json else { return Err("it is JSON, but no object".into()) };
    let (mut key, mut value, mut table) = (false, false, None);
    for (name, field) in object {
        match name.as_str() {
            "key" => {
                bytes(&name, field, &mut entry.key)?;
                key = true;
            }
            "value" => {
                bytes(&name, field, &mut entry.value)?;
                value = true;
            }
            "table" => match field {
                Json::String(name) => table = Some(name),
                _ => return Err("its \"table\" is no string".into()),
            },
            other => {
                return Err(format!("it has a field {other:?}; there are \"key\", \"value\" and \"table\""));
            }
        }
    }
    match (key, value) {
        (true, true) => Ok(table),
        (false, _) => Err("it has no \"key\"".into()),
        (true, false) => Err("it has no \"value\"".into()),
    }
}

/// What is wrong with a line. It is one line for the reader, whatever was counted.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("byte {}: it is not JSON: {what}", error.column())
}

/// The bytes that a field stands for.
fn bytes(name: &str, field: Json, to: &mut Vec<u8>) -> Result<(), String> {
    to.clear();
    match &field {
        Json::String(_) => {
            let Json::String(text) = field else { return Ok(()) };
            *to = text.into_bytes();
            Ok(())
        }
        Json::Object(object) if object.len() == 1 => match object.get("base64") {
            Some(Json::String(text)) => {
                base64::decode(text.as_bytes(), to).map_err(|what| format!("its {name:?}: {what}"))
            }
            _ => Err(neither(name)),
        },
        _ => Err(neither(name)),
    }
}

fn neither(name: &str) -> String {
    format!("its {name:?} is neither a string nor {{\"base64\": \"…\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(line: &str) -> Result<(Option<String>, Entry), String> {
        let mut entry = Entry { key: b"left".to_vec(), value: b"over".to_vec() };
        take(line.as_bytes(), &mut entry).map(|table| (table, entry))
    }

    #[test]
    fn text_is_a_string_and_other_bytes_are_not() {
        assert_eq!(bytes_json("a\tü".as_bytes()).to_string(), r#""a\tü""#);
        assert_eq!(bytes_json(b"\xff\0").to_string(), r#"{"base64":"/wA="}"#);
    }

    #[test]
    fn by_example() {
        let (table, entry) = taken(r#" {"value": {"base64": "/wA="}, "key": "a\u00fc\n"}"#).unwrap();
        assert_eq!((table, &*entry.key, &*entry.value), (None, "aü\n".as_bytes(), &b"\xff\0"[..]));
        let (table, entry) = taken(r#"{"table":"t","key":"","value":""}"#).unwrap();
        assert_eq!((table.as_deref(), &*entry.key, &*entry.value), (Some("t"), &b""[..], &b""[..]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "it is empty"),
            ("{", "byte 1: it is not JSON: EOF"),
            (r#"{"key":"a","value":"b"} x"#, "byte 25: it is not JSON: trailing"),
            (r#"{"key":"a","value":"\ud800"}"#, "it is not JSON: "),
            (r#"["a","b"]"#, "no object"),
            (r#"{"value":"b"}"#, "no \"key\""),
            (r#"{"key":"b"}"#, "no \"value\""),
            (r#"{"key":1,"value":"b"}"#, "its \"key\" is neither"),
            (r#"{"key":"a","value":null}"#, "its \"value\" is neither"),
            (r#"{"key":"a","value":{"hex":"00"}}"#, "its \"value\" is neither"),
            (r#"{"key":"a","value":{"base64":"AA==","x":1}}"#, "its \"value\" is neither"),
            (r#"{"key":"a","value":{"base64":"A"}}"#, "its \"value\": base64 of 1 characters"),
            (r#"{"table":7,"key":"a","value":"b"}"#, "its \"table\" is no string"),
            (r#"{"key":"a","value":"b","ttl":7}"#, "a field \"ttl\""),
        ];
        for (line, what) in cases {
            let error = taken(line).unwrap_err();
            assert!(error.contains(what), "{line}: {error}");
        }
        assert!(take(b"{\"key\":\"\xff\",\"value\":\"\"}", &mut Entry::default()).is_err());
    }

    proptest! {
        #[test]
        fn an_entry_survives(key in proptest::collection::vec(any::<u8>(), 0..20), value in ".{0,20}",
                             table in proptest::option::of(".{0,5}")) {
            let line = entry_json(table.as_deref(), &key, value.as_bytes()).to_string();
            let (read, entry) = taken(&line).unwrap();
            prop_assert_eq!((read, entry.key, entry.value), (table, key, value.into_bytes()));
        }

        #[test]
        fn nothing_panics(line in proptest::collection::vec(any::<u8>(), 0..40), text in "[{}\":a-z,\\\\]{0,40}") {
            let _ = take(&line, &mut Entry::default());
            let _ = take(text.as_bytes(), &mut Entry::default());
        }
    }
}
