//! Transfer buffers, within their share of the budget.
#![forbid(unsafe_code)]

use crate::aligned::AlignedBuf;
use crate::device::ALIGN;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A share of the budget for transfer buffers.
#[derive(Debug)]
pub(crate) struct Staging {
    left: Arc<AtomicU64>,
}

impl Staging {
    /// A share of `bytes` bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// A buffer, if the share (and the system) has room for it.
    pub(crate) fn take(&self, len: usize) -> Option<Staged> {
        let want = len as u64;
        let had = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(want));
        had.ok()?;
        // From here on `held` gives the share back, also when the allocation fails.
        let held = Share { bytes: want, left: Arc::clone(&self.left) };
        let buf = AlignedBuf::new(len, ALIGN).ok()?;
        Some(Staged { buf, _held: held })
    }
}

#[derive(Debug)]
struct Share {
    bytes: u64,
    left: Arc<AtomicU64>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// A transfer buffer; dropping it gives its share back.
#[derive(Debug)]
pub(crate) struct Staged {
    buf: AlignedBuf,
    _held: Share,
}

impl Staged {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_passed() {
        let staging = Staging::new(10_000);
        let first = staging.take(6000).unwrap();
        assert!(staging.take(6000).is_none());
        drop(first);
        assert_eq!(staging.take(10_000).unwrap().bytes().len(), 10_000);
        assert!(staging.take(10_001).is_none());
    }
}
