//! What the tests of crashes, kills and faults share: a model of the database's content, deterministic runs of it, and
//! the comparison of what opens with what may have been.
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]

pub(crate) mod crashes;
pub(crate) mod model;
pub(crate) mod mount;
pub(crate) mod run;
pub(crate) mod syncs;
pub(crate) mod verify;

use bifold::testing::Stepper;
use bifold::{Builder, Db, PageSource};
use bifold_page_source::{FileSystem, MemSource};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static STEPPER: RefCell<Stepper> = RefCell::new(Stepper::at_once());
}

/// What does the background work of databases that this thread opens: at once, unless [`step_by_hand`] was called.
pub(crate) fn stepper() -> Stepper {
    STEPPER.with_borrow(Stepper::clone)
}

/// From now on background work of databases that this thread opens waits for the test to step it.
pub(crate) fn step_by_hand() {
    STEPPER.set(Stepper::new());
}

/// From now on it is done at once again.
pub(crate) fn step_at_once() {
    STEPPER.set(Stepper::at_once());
}

/// Where the database of a test in memory lies.
pub(crate) const DB: &str = "/db";
/// Where its log lies.
pub(crate) const LOG: &str = "/db-log";

/// A page source that tests open databases with, with options fit for many small ones.
pub(crate) trait TestSource: PageSource {
    /// The options.
    fn options() -> Self::Options;
}

impl TestSource for MemSource {
    fn options() {}
}

#[cfg(feature = "mmap")]
impl TestSource for bifold::mmap::Source {
    fn options() -> Self::Options {
        let mut options = Self::Options::default();
        options.reserve_bytes = 64 << 20;
        options
    }
}

#[cfg(feature = "buffer-pool")]
impl TestSource for bifold::pool::Source {
    fn options() -> Self::Options {
        // Fewer frames than pages, so that pages are evicted and read again.
        Self::Options::default().cache_size(256 << 10).io_threads(0)
    }
}

/// The options of a database that shape its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) page: usize,
    pub(crate) delta: u64,
    pub(crate) log: u64,
}

impl Setup {
    /// As small as can be: checkpoints every few commits, a log that wraps.
    pub(crate) const SMALL: Self = Self { page: 512, delta: 64 << 10, log: 16 << 10 };

    pub(crate) fn builder<S: TestSource>(self, fs: Arc<dyn FileSystem>) -> Builder<S> {
        self.plain_builder().file_system(fs)
    }

    /// For a database on disk. Background work is done at once by whoever calls for it, so that runs are deterministic.
    pub(crate) fn plain_builder<S: TestSource>(self) -> Builder<S> {
        Db::<S>::builder()
            .page_size(self.page)
            .delta_size(self.delta)
            .log_size(self.log)
            .file_id(7)
            .background(stepper())
            .backend(S::options())
    }
}
