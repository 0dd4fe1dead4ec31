//! `madvise(2)` with `MADV_HUGEPAGE`: fewer misses of the processor's table of addresses in large memory.
#![expect(unsafe_code, reason = "a call of the C library that takes an address")]

use std::mem::MaybeUninit;

/// Asks for huge pages beneath `memory`, which should begin and end at multiples of 2 MiB. A hint: systems without them
/// go on with small ones.
pub fn advise_huge_pages(memory: &mut [MaybeUninit<u8>]) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        // SAFETY: the range is memory of ours, and the advice changes nothing that can be read from it.
        let advised = unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxHugepage) };
        // A kernel built without huge pages refuses: nothing is lost by that.
        let _ = advised;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
