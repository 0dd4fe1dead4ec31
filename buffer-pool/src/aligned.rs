//! Heap buffers aligned for direct I/O, and their division into pieces that different threads fill.
#![expect(unsafe_code, reason = "allocation with an alignment, and disjoint mutable pieces of one buffer")]

use std::alloc::{self, Layout};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Zeroed bytes at an aligned address.
pub(crate) struct AlignedBuf {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the buffer owns its bytes, and hands them out by the rules of `&` and `&mut` only.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `len` bytes, at a multiple of `align`, a power of two.
    ///
    /// # Errors
    /// `OutOfMemory`, where a `Vec` would abort.
    pub(crate) fn new(len: usize, align: usize) -> io::Result<Self> {
        let layout = Layout::from_size_align(len.max(1), align).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, layout })
    }

    /// Divides the buffer into pieces of `len` bytes, the last one shorter.
    pub(crate) fn split(self, len: usize) -> Vec<Piece> {
        let total = self.layout.size();
        let whole = Arc::new(self);
        let starts = (0..total).step_by(len.max(1));
        starts.map(|at| Piece { whole: Arc::clone(&whole), at, len: len.min(total - at) }).collect()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is the beginning of `size` initialised bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` excludes every other reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.layout.size()).finish_non_exhaustive()
    }
}

/// A part of a divided buffer, exclusive to its holder.
#[derive(Debug)]
pub(crate) struct Piece {
    whole: Arc<AlignedBuf>,
    at: usize,
    len: usize,
}

impl Piece {
    /// The piece's bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: pieces are made by `split` only, do not overlap, lie within the buffer, and cannot be cloned;
        // nobody reaches the buffer itself before all pieces are gone (`join`).
        unsafe { std::slice::from_raw_parts_mut(self.whole.start.as_ptr().add(self.at), self.len) }
    }

    /// Gives the piece up; whoever gives up the last one gets the buffer back.
    pub(crate) fn join(self) -> Option<AlignedBuf> {
        Arc::into_inner(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_buffer_and_give_it_back() {
        let buf = AlignedBuf::new(10, 4096).unwrap();
        assert_eq!(buf.as_ptr() as usize % 4096, 0);
        let mut pieces = buf.split(4);
        assert_eq!(pieces.len(), 3);
        for (i, piece) in pieces.iter_mut().enumerate() {
            piece.bytes_mut().fill(i as u8 + 1);
        }
        let whole: Vec<_> = pieces.into_iter().filter_map(Piece::join).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(&whole[0][..], [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn a_buffer_that_cannot_be_had_is_an_error() {
        assert!(AlignedBuf::new(usize::MAX / 2, 4096).is_err());
    }
}
