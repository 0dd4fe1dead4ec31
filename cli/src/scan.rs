//! `bifold scan`: entries in key order, as TSV that `load` takes back.
#![forbid(unsafe_code)]

use crate::args::{self, Scan};
use crate::context::Context;
use crate::error::{Result, Status};
use crate::output::{Output, bytes_json};
use bifold::PageSource;
use serde_json::json;
use std::ops::Bound;

pub(crate) fn run<S: PageSource>(args: &Scan, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let bounds = bounds(args)?;
    let db = context.open(&args.db)?;
    let txn = db.read()?;
    let entries = txn.table(&args.table)?.range::<Vec<u8>>(bounds);
    if args.keys_only {
        return each(args, entries.keys(), |key| {
            if context.json { out.json(&json!({ "key": bytes_json(&key) })) } else { out.key(&key) }
        });
    }
    each(args, entries, |(key, value)| {
        if context.json {
            out.json(&json!({ "key": bytes_json(&key), "value": bytes_json(&value) }))
        } else {
            out.entry(&key, &value)
        }
    })
}

/// Hands what was asked for of `entries` to `print`.
fn each<T>(
    args: &Scan,
    entries: impl DoubleEndedIterator<Item = bifold::Result<T>>,
    mut print: impl FnMut(T) -> Result<()>,
) -> Result<Status> {
    let limit = args.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    if args.reverse {
        entries.rev().take(limit).try_for_each(|entry| print(entry?))?;
    } else {
        let mut entries = entries;
        entries.by_ref().take(limit).try_for_each(|entry| print(entry?))?;
    }
    Ok(Status::Good)
}

/// From and to.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What `--from`, `--to` and `--prefix` leave, together.
fn bounds(args: &Scan) -> Result<Bounds> {
    let key = |name, text: &Option<_>| text.as_ref().map(|text| args::key(name, text)).transpose();
    let prefix = key("--prefix", &args.prefix)?;
    let end = prefix.as_deref().and_then(prefix_end);
    // `None` is below everything as a start, so the greater start wins; as an end it is above everything.
    let from = key("--from", &args.from)?.max(prefix);
    let to = match (key("--to", &args.to)?, end) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Ok((from.map_or(Bound::Unbounded, Bound::Included), to.map_or(Bound::Unbounded, Bound::Excluded)))
}

/// The least key above all that begin with `prefix`, if there is one.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(from: Option<&str>, to: Option<&str>, prefix: Option<&str>) -> Bounds {
        let own = |text: Option<&str>| text.map(Into::into);
        let (db, table) = (std::path::PathBuf::new(), String::new());
        let (from, to, prefix) = (own(from), own(to), own(prefix));
        let args = Scan { db, table, from, to, prefix, limit: None, reverse: false, keys_only: false };
        bounds(&args).unwrap()
    }

    #[test]
    fn bounds_meet() {
        let (inc, exc) = (|k: &str| Bound::Included(k.into()), |k: &str| Bound::Excluded(k.into()));
        assert_eq!(scan(None, None, None), (Bound::Unbounded, Bound::Unbounded));
        assert_eq!(scan(Some("b"), Some("d"), None), (inc("b"), exc("d")));
        assert_eq!(scan(None, None, Some("b")), (inc("b"), exc("c")));
        assert_eq!(scan(Some("bx"), Some("z"), Some("b")), (inc("bx"), exc("c")));
        assert_eq!(scan(Some("a"), Some("bq"), Some("b")), (inc("b"), exc("bq")));
        assert_eq!(scan(None, Some("q"), Some(r"\xff\xff")).1, exc("q"));
        assert_eq!(scan(None, None, Some(r"a\xff")), (Bound::Included(b"a\xff".to_vec()), exc("b")));
        assert_eq!(scan(None, None, Some("")), (inc(""), Bound::Unbounded));
    }
}
