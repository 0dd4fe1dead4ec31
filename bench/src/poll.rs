//! Waiting for a store's background work, where the store offers nothing to wait on.
#![forbid(unsafe_code)]

use crate::Result;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// Looks in a row that must find nothing going on: what is queued for a worker shows a moment later.
const LOOKS: u32 = 3;
/// The longest wait.
const LIMIT: Duration = Duration::from_mins(10);

/// Waits until `quiet` has said yes some times in a row.
///
/// # Errors
/// Those of `quiet`; or if it takes longer than ten minutes.
pub(crate) fn until_quiet(mut quiet: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    let mut looks = 0;
    while looks < LOOKS {
        looks = if quiet()? { looks + 1 } else { 0 };
        if start.elapsed() > LIMIT {
            return Err("its background work does not end".into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_must_last() {
        let mut answers = [true, true, false, true, true, true].into_iter();
        until_quiet(|| answers.next().ok_or_else(|| "asked too often".into())).unwrap();
        assert_eq!(answers.next(), None, "asked until three times in a row");
        assert!(until_quiet(|| Err("broken".into())).is_err());
    }
}
