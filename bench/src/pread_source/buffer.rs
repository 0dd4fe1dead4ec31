//! Memory for copies of pages, which each thread keeps for its next ones: looking at a page allocates nothing.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::iter::repeat_n;
use std::ops::Deref;
use std::sync::Arc;

/// Buffers that a thread keeps, at most.
const KEPT: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Arc<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A copy of a page, counted by who holds it. The thread that lets go of it last keeps the memory.
#[derive(Clone, Debug)]
pub struct PageBuf {
    /// `None` only while it is dropped.
    bytes: Option<Arc<[u8]>>,
}

impl PageBuf {
    /// A buffer of `len` bytes, which hold anything.
    pub(super) fn take(len: usize) -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        // One of another size was another database's.
        let bytes = spare.filter(|bytes| bytes.len() == len).unwrap_or_else(|| repeat_n(0, len).collect());
        Self { bytes: Some(bytes) }
    }

    /// The bytes, to be filled. A buffer that others hold is left to them.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut().map_or(&mut [], |bytes| Arc::make_mut(bytes))
    }
}

impl Deref for PageBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }
}

impl Drop for PageBuf {
    fn drop(&mut self) {
        let Some(mut bytes) = self.bytes.take() else { return };
        if Arc::get_mut(&mut bytes).is_none() {
            return;
        }
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare() -> usize {
        SPARE.with_borrow(Vec::len)
    }

    #[test]
    fn the_last_holder_keeps_the_memory_and_no_more_than_so_much() {
        std::thread::spawn(|| {
            let mut first = PageBuf::take(512);
            first.bytes_mut().fill(7);
            let at = first.as_ptr();
            let clone = first.clone();
            drop(first);
            assert_eq!((spare(), clone[511]), (0, 7), "somebody holds it");
            drop(clone);
            assert_eq!(spare(), 1);
            assert_eq!(PageBuf::take(512).as_ptr(), at, "the same memory again");
            assert_eq!(PageBuf::take(4096).len(), 4096);
            let many: Vec<_> = (0..3 * KEPT).map(|_| PageBuf::take(512)).collect();
            drop(many);
            assert_eq!(spare(), KEPT);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_another_holds_is_not_written_to() {
        let mut own = PageBuf::take(512);
        own.bytes_mut().fill(1);
        let theirs = own.clone();
        own.bytes_mut().fill(2);
        assert_eq!((theirs[0], own[0]), (1, 2));
    }
}
