//! The range of keys that `--from`, `--to` and `--prefix` leave, together.
#![forbid(unsafe_code)]

use crate::args::{self, KeyRange};
use crate::error::Result;
use std::ffi::OsString;
use std::ops::Bound;

/// From and to.
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What the options leave, each as it was written on the command line.
///
/// # Errors
/// [`Error::Usage`](crate::error::Error::Usage) if one of them holds a wrong escape.
pub(crate) fn bounds(range: &KeyRange) -> Result<Bounds> {
    let key = |name, text: &Option<OsString>| text.as_ref().map(|text| args::key(name, text)).transpose();
    let prefix = key("--prefix", &range.prefix)?;
    let end = prefix.as_deref().and_then(prefix_end);
    // `None` is below everything as a start, so the greater start wins; as an end it is above everything.
    let from = key("--from", &range.from)?.max(prefix);
    let to = match (key("--to", &range.to)?, end) {
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
        let [from, to, prefix] = [from, to, prefix].map(|text| text.map(OsString::from));
        bounds(&KeyRange { from, to, prefix }).unwrap()
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
