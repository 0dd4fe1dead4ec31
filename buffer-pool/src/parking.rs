//! Where threads wait for a page that another thread is loading.
//!
//! A few places shared by all pages (after the parking lot of `WebKit` and `parking_lot`). The word says whether
//! anyone waits, so ending a load that nobody waits for takes no lock.
#![forbid(unsafe_code)]

use crate::word::Cell;
use bifold_page_source::PageId;
use bifold_page_source::sync::{Condvar, Mutex};

const PLACES: usize = 32;

#[derive(Debug, Default)]
struct Place {
    lock: Mutex<()>,
    woken: Condvar,
}

/// The places.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    places: [Place; PLACES],
}

impl Parking {
    fn place(&self, page: PageId) -> &Place {
        &self.places[page.get() as usize % PLACES]
    }

    /// Waits until the page's load has ended. Must not be called inside an epoch.
    pub(crate) fn wait(&self, page: PageId, cell: Cell<'_>) {
        let place = self.place(page);
        let mut guard = place.lock.lock();
        // The announcement is made under the lock that whoever ends the load takes when it finds it.
        while cell.announce_wait() {
            place.woken.wait(&mut guard);
        }
    }

    /// Wakes everyone who waits for the page. The word has changed before.
    pub(crate) fn wake(&self, page: PageId) {
        let place = self.place(page);
        drop(place.lock.lock());
        place.woken.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word::Begin;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn whoever_waits_is_woken() {
        let (parking, word, page) = (Parking::default(), AtomicU64::new(0), PageId::default());
        let cell = Cell::new(&word);
        for frame in 0..200 {
            assert!(matches!(cell.begin_load(), Begin::Mine(_)));
            std::thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| parking.wait(page, Cell::new(&word)));
                }
                if cell.publish(frame, false, 0).unwrap().is_waited() {
                    parking.wake(page);
                }
            });
            assert!(cell.detach().is_some());
        }
    }
}
