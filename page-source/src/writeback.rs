//! `sync_file_range(2)`: the one call for which there is no safe wrapper among the crates in use.
#![expect(unsafe_code, reason = "a call of the C library is declared here")]

use rustix::io::Errno;
use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Begin to write the range's dirty pages; wait for none.
const SYNC_FILE_RANGE_WRITE: c_uint = 2;

// SAFETY: as in `fcntl.h` of the GNU library, musl and Bionic, whose `off64_t` is 64 bits on every target. It takes
// no pointers, and the kernel checks what it takes.
unsafe extern "C" {
    safe fn sync_file_range(fd: c_int, offset: i64, nbytes: i64, flags: c_uint) -> c_int;
}

/// Begins to write a range to the disk (to the end of the file if `len` is 0).
///
/// # Errors
/// Such as may mean that data is lost. That the call, the range or the file is none of those it works on is none,
/// and neither is a want of memory: the pages stay dirty then.
pub(crate) fn start(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return Ok(()) };
    if sync_file_range(fd.as_raw_fd(), offset, len, SYNC_FILE_RANGE_WRITE) == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error().is_some_and(harmless) { Ok(()) } else { Err(error) }
}

/// Whether an error says nothing about the data.
fn harmless(code: i32) -> bool {
    const NONE_OF_ITS_FILES: [Errno; 5] =
        [Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::SPIPE, Errno::BADF];
    const LATER_THEN: [Errno; 3] = [Errno::INTR, Errno::AGAIN, Errno::NOMEM];
    NONE_OF_ITS_FILES.iter().chain(&LATER_THEN).any(|errno| errno.raw_os_error() == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_has_no_pages_to_write_is_no_error() {
        let (reader, _writer) = std::io::pipe().unwrap();
        start(reader.as_fd(), 0, 0).unwrap();
        let file = tempfile::tempfile().unwrap();
        for (offset, len) in [(0, 0), (5, 10), (1 << 40, 1), (u64::MAX, 1), (1, i64::MAX as u64)] {
            start(file.as_fd(), offset, len).unwrap();
        }
        assert!(!harmless(Errno::IO.raw_os_error()) && !harmless(Errno::NOSPC.raw_os_error()));
    }
}
