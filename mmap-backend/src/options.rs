//! What only the mmap backend can be told.
#![forbid(unsafe_code)]

/// Options of [`MmapSource`](crate::MmapSource). The default suits a file larger than memory that is read at
/// random; scans and batches are read ahead by explicit hints whatever is chosen here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Reads the whole file into memory and the page tables at opening, in steps (`MADV_POPULATE_READ`). For data
    /// that fits: later visits take no page faults, and the kernel may use large folios. Opening then takes as long
    /// as reading the file. Default: `false`.
    pub populate: bool,
    /// Leaves the kernel's own read-ahead on. It is guessed from neighbouring faults and may read megabytes for one
    /// random visit, so the default is `false` (`MADV_RANDOM`): one visit reads one page.
    pub read_ahead: bool,
    /// Address space to reserve at first, in bytes; four times the file's length if that is more, less where the
    /// system refuses. It costs no memory. A file that outgrows it is mapped anew beside the old map, so this
    /// bounds nothing; less may be right under a tight `RLIMIT_AS`. Default: 1 TiB.
    pub reserve_bytes: u64,
}

impl Options {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`populate`](Self::populate).
    #[must_use]
    pub fn populate(mut self, populate: bool) -> Self {
        self.populate = populate;
        self
    }

    /// Sets [`read_ahead`](Self::read_ahead).
    #[must_use]
    pub fn read_ahead(mut self, read_ahead: bool) -> Self {
        self.read_ahead = read_ahead;
        self
    }

    /// Sets [`reserve_bytes`](Self::reserve_bytes).
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { populate: false, read_ahead: false, reserve_bytes: 1 << 40 }
    }
}
