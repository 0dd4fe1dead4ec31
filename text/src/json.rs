//! Entries as JSON lines: `{"key": …, "value": …}`, with `"table"` where the input names tables.
#![forbid(unsafe_code)]

use crate::error::Wrong;
use crate::{Entry, base64};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value as Json, json};
use std::fmt;

/// Bytes as JSON: a string if they are UTF-8, otherwise `{"base64": "…"}`.
pub fn bytes_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => json!({ "base64": base64::encode(bytes) }),
    }
}

/// An entry as an object, to be printed on a line of its own.
pub fn entry_json(table: Option<&str>, key: &[u8], value: &[u8]) -> Json {
    let mut object = Map::new();
    if let Some(table) = table {
        object.insert("table".into(), table.into());
    }
    object.insert("key".into(), bytes_json(key));
    object.insert("value".into(), bytes_json(value));
    Json::Object(object)
}

/// Takes an entry out of a line; the table that it names, if it names one. The error says what is wrong.
pub(crate) fn take(line: &[u8], entry: &mut Entry) -> Result<Option<String>, Wrong> {
    if line.is_empty() {
        return Err("it is empty".into());
    }
    let row: Row = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
    if let Some(wrong) = row.wrong {
        return Err(wrong.into());
    }
    bytes("key", row.key, &mut entry.key)?;
    bytes("value", row.value, &mut entry.value)?;
    match row.table {
        None => Ok(None),
        Some(Field::Text(name)) => Ok(Some(name)),
        Some(_) => Err("its \"table\" is no string".into()),
    }
}

/// What is wrong with a line. It is one line for the reader, whatever was counted.
fn not_json(error: &serde_json::Error) -> Wrong {
    if error.classify() == Category::Data {
        // A field may be anything, so this is the line as a whole.
        return "it is JSON, but no object".into();
    }
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    Wrong::at(error.column().saturating_sub(1), format!("it is not JSON: {what}"))
}

/// Makes `to` the bytes that a field stands for.
fn bytes(name: &str, field: Option<Field>, to: &mut Vec<u8>) -> Result<(), Wrong> {
    to.clear();
    match field {
        None => Err(format!("it has no {name:?}").into()),
        Some(Field::Text(text)) => {
            to.extend_from_slice(text.as_bytes());
            Ok(())
        }
        Some(Field::Base64(text)) => {
            base64::decode(text.as_bytes(), to).map_err(|what| format!("its {name:?}: {what}").into())
        }
        Some(Field::Other) => {
            Err(format!("its {name:?} is neither a string nor {{\"base64\": \"…\"}}").into())
        }
    }
}

/// An object that should be an entry. Made field by field, as a map would keep the last of several of one name without
/// a word.
#[derive(Default)]
struct Row {
    table: Option<Field>,
    key: Option<Field>,
    value: Option<Field>,
    /// The first that is wrong with the names.
    wrong: Option<String>,
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Row::default();
        while let Some(name) = map.next_key::<String>()? {
            let field = map.next_value::<Field>()?;
            let place = match &*name {
                "table" => &mut row.table,
                "key" => &mut row.key,
                "value" => &mut row.value,
                _ => {
                    let known = "there are \"key\", \"value\" and \"table\"";
                    row.wrong.get_or_insert_with(|| format!("it has a field {name:?}; {known}"));
                    continue;
                }
            };
            if place.replace(field).is_some() {
                row.wrong.get_or_insert_with(|| format!("it has more than one {name:?}"));
            }
        }
        Ok(row)
    }
}

/// What a field holds.
enum Field {
    Text(String),
    /// `{"base64": "…"}`, undecoded.
    Base64(String),
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut field = None;
        while let Some(name) = map.next_key::<String>()? {
            let inner = map.next_value::<Field>()?;
            field = Some(match (field, inner) {
                (None, Field::Text(text)) if name == "base64" => Field::Base64(text),
                _ => Field::Other,
            });
        }
        Ok(field.unwrap_or(Field::Other))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(line: &str) -> Result<(Option<String>, Entry), String> {
        let mut entry = Entry { key: b"left".to_vec(), value: b"over".to_vec() };
        take(line.as_bytes(), &mut entry).map(|table| (table, entry)).map_err(|wrong| wrong.to_string())
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
            (r#"{"key":"a","value":"b","x at line ":[{}]}"#, "a field \"x at line \"; there are"),
            (r#"{"key":"a","value":"b","key":"a"}"#, "more than one \"key\""),
            (r#"{"key":"a","value":"b","value":7}"#, "more than one \"value\""),
            (r#"{"key":"a","value":"b","table":null,"table":"t"}"#, "more than one \"table\""),
            (r#"{"key":"a","value":{"base64":"AA==","base64":"AQ=="}}"#, "its \"value\" is neither"),
            (r#"{"key":"a","value":{"base64":{"base64":"AQ=="}}}"#, "its \"value\" is neither"),
            (r#"{"key":"a","value":{}}"#, "its \"value\" is neither"),
            (r#"{"key":"a","value":[1,-1,1.5,true,null,[]]}"#, "its \"value\" is neither"),
            (r#"{"table":{"base64":"AA=="},"key":"a","value":"b"}"#, "its \"table\" is no string"),
            ("7", "no object"),
            ("\"text\"", "no object"),
            ("null", "no object"),
        ];
        for (line, what) in cases {
            let error = taken(line).unwrap_err();
            assert!(error.contains(what), "{line}: {error}");
        }
        let deep =
            |open: &str| taken(&format!(r#"{{"key":"a","value":{}"#, open.repeat(100_000))).unwrap_err();
        assert!(deep(r#"{"base64":"#).contains("recursion limit"));
        assert!(deep("[").contains("EOF while parsing a list"));
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
