//! The 64-bit word by which one page names another: a page on file, or a page still in the delta.
#![forbid(unsafe_code)]

use bifold_page_source::PageRef;

const DELTA: u64 = 1 << 63;

/// A child reference: null, a page on file, or a delta page. Only the second is ever stored in a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Word(u64);

/// What a word refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Nothing: an empty tree.
    Null,
    /// A page on file.
    File(PageRef),
    /// A delta page, by its descriptor.
    Delta(u32),
    /// Not a word that anyone could have stored.
    Bad,
}

impl Word {
    /// Refers to nothing.
    pub(crate) const NULL: Self = Self(0);

    /// Refers to a page on file.
    pub(crate) const fn file(page: PageRef) -> Self {
        Self(page.bits())
    }

    /// Refers to a delta page.
    pub(crate) const fn delta(id: u32) -> Self {
        Self(DELTA | id as u64)
    }

    /// A word as it was stored.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word to store.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Whether this refers to nothing.
    pub(crate) const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// What this refers to.
    pub(crate) const fn target(self) -> Target {
        if self.0 == 0 {
            Target::Null
        } else if self.0 & DELTA != 0 {
            if self.0 & !DELTA <= u32::MAX as u64 { Target::Delta(self.0 as u32) } else { Target::Bad }
        } else {
            match PageRef::from_bits(self.0) {
                Some(page) => Target::File(page),
                None => Target::Bad,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold_page_source::PageId;

    #[test]
    fn words_say_what_they_refer_to() {
        let page = PageRef::new(PageId::new(17).unwrap(), u64::MAX);
        assert_eq!(Word::file(page).target(), Target::File(page));
        assert_eq!(Word::delta(u32::MAX).target(), Target::Delta(u32::MAX));
        assert_eq!(Word::NULL.target(), Target::Null);
        assert_eq!(Word::from_bits(17).target(), Target::Bad, "a reference without checksum bits");
        assert_eq!(Word::from_bits(1 << 63 | 1 << 40).target(), Target::Bad);
    }
}
