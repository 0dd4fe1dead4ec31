//! The image of one delta page: its bytes, and beside them the words that may name other delta pages.
#![forbid(unsafe_code)]

use super::Frame;
use bifold_page_source::PageId;
use bifold_page_source::sync::atomic::{AtomicU64, Ordering};

/// One page on the heap.
///
/// References to children are read through [`words`](Self::words) alone, never from the bytes: a sweep turns a word
/// from a descriptor into a place on file while readers walk. Everything else is immutable once the image is shared,
/// as only `&mut self` changes it.
// In this order, so that what a lookup reads is behind the counts, which it changes.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Image {
    bytes: Frame,
    words: Vec<AtomicU64>,
    /// The page on file that it was copied from.
    replaces: Option<PageId>,
}

impl Image {
    /// An image that refers to nothing.
    pub(crate) fn new(bytes: Box<[u8]>) -> Self {
        Self::framed(Frame::from(bytes))
    }

    /// An image of the bytes in a frame, that refers to nothing.
    pub(crate) fn framed(bytes: Frame) -> Self {
        Self { bytes, words: Vec::new(), replaces: None }
    }

    /// An image with its child words, in the page's order of children.
    #[cfg(test)]
    pub(crate) fn with_words(bytes: Box<[u8]>, words: impl IntoIterator<Item = u64>) -> Self {
        Self { words: words.into_iter().map(AtomicU64::new).collect(), ..Self::new(bytes) }
    }

    /// The page on file that it descends from, whose heat in a cache it inherits.
    pub(crate) fn replaces(&self) -> Option<PageId> {
        self.replaces
    }

    /// Sets the page on file that it descends from.
    pub(crate) fn set_replaces(&mut self, page: Option<PageId>) {
        self.replaces = page;
    }

    /// The page's bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The page's bytes, to change them.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The child words. Whoever stores one that names a place or a descriptor others made uses `Release`, whoever
    /// follows one `Acquire`.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    /// The child words, to insert and remove some.
    #[inline]
    #[cfg(test)]
    pub(crate) fn words_mut(&mut self) -> &mut Vec<AtomicU64> {
        &mut self.words
    }

    /// A copy of the words as they are now.
    pub(crate) fn copy_words(&self) -> Vec<AtomicU64> {
        self.words.iter().map(|word| AtomicU64::new(word.load(Ordering::Acquire))).collect()
    }

    /// Gives this, a copy of the bytes of `other`, what belongs to them.
    pub(crate) fn copy_words_of(&mut self, other: &Self) {
        self.words.clear();
        self.words.extend(other.words.iter().map(|word| AtomicU64::new(word.load(Ordering::Acquire))));
        self.replaces = other.replaces;
    }

    /// Makes this an image of `bytes`, which are as many as it has, that refers to nothing. Nothing of what it was is
    /// left, but for its memory; that of its words only if there will be some.
    pub(crate) fn restart(&mut self, bytes: &[u8], with_words: bool) {
        self.bytes.copy_from_slice(bytes);
        self.words.clear();
        if !with_words {
            self.words = Vec::new();
        }
        self.replaces = None;
    }

    /// Whether there is memory for words.
    pub(crate) fn has_room_for_words(&self) -> bool {
        self.words.capacity() > 0
    }

    /// Gives it other words.
    pub(crate) fn set_words(&mut self, words: Vec<AtomicU64>) {
        self.words = words;
    }

    /// Bytes and words, to change both.
    #[inline]
    pub(crate) fn parts_mut(&mut self) -> (&mut [u8], &mut Vec<AtomicU64>) {
        (&mut self.bytes, &mut self.words)
    }

    /// The heap memory this image takes, in bytes, with its reference counts, without the allocator's overhead, and
    /// without what words it has room for beyond those it has: that depends on which image's memory it was made of, and
    /// when to spill, and with it the file's bytes, must not.
    pub(crate) fn size_bytes(&self) -> u64 {
        let counts = 2 * size_of::<usize>();
        let words = self.words.len() * size_of::<AtomicU64>();
        (counts + size_of::<Self>() + self.bytes.len() + words) as u64
    }
}

impl Clone for Image {
    /// A copy of its own. Words that a sweep turns meanwhile are copied as they were or as they are; both are right.
    fn clone(&self) -> Self {
        let words = self.copy_words();
        Self { bytes: self.bytes.clone(), words, replaces: self.replaces }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_independent() {
        let mut image = Image::with_words(Box::from([1, 2, 3]), [7, 8]);
        let copy = image.clone();
        image.bytes_mut()[0] = 9;
        image.words()[1].store(80, Ordering::Release);
        image.words_mut().push(AtomicU64::new(5));
        assert_eq!(copy.bytes(), [1, 2, 3]);
        let words: Vec<u64> = copy.words().iter().map(|word| word.load(Ordering::Acquire)).collect();
        assert_eq!(words, [7, 8]);
        assert_eq!(image.words().len(), 3);
    }

    #[test]
    fn the_size_counts_bytes_and_words() {
        let bare = Image::new(vec![0; 512].into_boxed_slice());
        let with_words = Image::with_words(vec![0; 512].into_boxed_slice(), 0..10);
        assert!(bare.size_bytes() >= 512);
        assert!(with_words.size_bytes() >= bare.size_bytes() + 80);
    }
}
