//! The key of an entry while a position moves over its leaf: the prefix stays, the rest is replaced at each step.
#![forbid(unsafe_code)]

use super::layout::HINT;
use std::ops::Deref;

/// Bytes of a short rest, which is copied as one array whatever its length.
const WIDE: usize = 32;

/// A key, with room behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyBuf {
    /// The key, and behind it bytes without meaning.
    bytes: Vec<u8>,
    len: usize,
}

impl Deref for KeyBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // In bounds always: `bytes` never gets shorter than `len`.
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl KeyBuf {
    /// Becomes `key`.
    pub(crate) fn set(&mut self, key: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(key);
        self.len = key.len();
        self.bytes.resize(self.len + HINT + WIDE, 0);
    }

    /// Replaces what is behind the first `prefix_len` bytes by a suffix of `suffix_len` bytes: its hint, and the bytes
    /// behind that, which lie in `page` from `at` on. `None` if they do not.
    #[inline]
    pub(super) fn set_suffix(
        &mut self,
        prefix_len: usize,
        suffix_len: usize,
        hint: u32,
        page: &[u8],
        at: usize,
    ) -> Option<()> {
        if (HINT..=HINT + WIDE).contains(&suffix_len)
            && let Some(rest) = page.get(at..at + WIDE)
            && let Some(room) = self.bytes.get_mut(prefix_len..prefix_len + HINT + WIDE)
        {
            // Lengths that the compiler knows: two stores in place of a call.
            room[..HINT].copy_from_slice(&hint.to_be_bytes());
            room[HINT..].copy_from_slice(rest);
            self.len = prefix_len + suffix_len;
            return Some(());
        }
        self.set_long_suffix(prefix_len, suffix_len, hint, page, at)
    }

    #[inline(never)]
    fn set_long_suffix(
        &mut self,
        prefix_len: usize,
        suffix_len: usize,
        hint: u32,
        page: &[u8],
        at: usize,
    ) -> Option<()> {
        let rest = page.get(at..at + suffix_len.saturating_sub(HINT))?;
        self.bytes.truncate(prefix_len);
        self.bytes.extend_from_slice(&hint.to_be_bytes()[..suffix_len.min(HINT)]);
        self.bytes.extend_from_slice(rest);
        self.len = self.bytes.len();
        self.bytes.resize(prefix_len.max(self.len) + HINT + WIDE, 0);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_every_length_replace_one_another() {
        let page: Vec<u8> = (0..200).collect();
        let mut key = KeyBuf::default();
        for prefix in [0, 3, 40] {
            key.set(&vec![b'p'; prefix]);
            for suffix_len in (0..60).chain((0..60).rev()) {
                for at in [10, 190] {
                    let suffix = suffix_len.min(HINT);
                    let expected = page
                        .get(at..at + suffix_len.saturating_sub(HINT))
                        .map(|rest| [&vec![b'p'; prefix], &b"hint"[..suffix], rest].concat());
                    let hint = u32::from_be_bytes(*b"hint");
                    let done = key.set_suffix(prefix, suffix_len, hint, &page, at);
                    assert_eq!(done.map(|()| key.to_vec()), expected, "{prefix} {suffix_len} {at}");
                }
            }
        }
    }
}
