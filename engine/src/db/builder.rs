//! Options to open a database with.
#![forbid(unsafe_code)]

use super::Db;
use super::counters::Counters;
use super::recover;
use super::shared::{Limits, Mode, Shared};
use crate::background::{Background, Threads, Worker};
use crate::checkpoint::catalog;
use crate::delta::Slab;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::group::Group;
use crate::meta::Meta;
use crate::node;
use crate::open::{
    LockedFile, Unnamed, create, create_unnamed, log_path, open_locked, open_or_create, settle_head,
};
use crate::root::{Root, TableMap, TableState, TreeRoot};
use crate::snapshot::Registry;
use crate::trace::Recorder;
use crate::tree::access::Guards;
use crate::txn::writer::Writer;
use crate::wal::SyncMethod;
use crate::walk::{Store, Walk};
use bifold_page_source::{Access, FileSystem, MemFs, OsFs, PageSize, PageSource, SourceConfig};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Options to open a database with; see [`Db::builder`].
#[derive(Clone, Debug)]
pub struct Builder<S: PageSource> {
    page_size: usize,
    delta_size: u64,
    log_size: u64,
    checkpoint_interval: Option<Duration>,
    durability: Durability,
    sync_method: SyncMethod,
    background: Option<Arc<dyn Background>>,
    how: How,
    backend: S::Options,
    fs: Arc<dyn FileSystem>,
    file_id: Option<u64>,
    trace: Option<PathBuf>,
    hide_trace_keys: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    OpenOrCreate,
    Existing,
    CreateNew,
    ReadOnly,
}

/// The least bound of the delta, in bytes: some hundred pages.
const DELTA_MIN: u64 = 64 * 1024;
/// Images of delta pages that nobody sees any more are kept for the next ones, up to this part of the delta's bound,
/// and up to this many bytes: what commits change while the epoch moves on.
const SPARES_SHARE: u64 = 16;
const SPARES_MAX: u64 = 4 << 20;
/// The least bound of the log, in bytes.
const LOG_MIN: u64 = 16 * 1024;
/// The most that the log may be bounded to: recovery reads it whole.
const LOG_MAX: u64 = 1 << 30;

impl<S: PageSource> Default for Builder<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: PageSource> Builder<S> {
    /// The default options.
    pub fn new() -> Self {
        Self {
            page_size: PageSize::DEFAULT.bytes(),
            delta_size: 256 << 20,
            log_size: 64 << 20,
            checkpoint_interval: Some(Duration::from_mins(1)),
            durability: Durability::default(),
            sync_method: SyncMethod::default(),
            background: None,
            how: How::OpenOrCreate,
            backend: S::Options::default(),
            fs: Arc::new(OsFs),
            file_id: None,
            trace: None,
            hide_trace_keys: false,
        }
    }

    /// Bytes of a page in a database that is created: a power of two from 512 to 65,536. Default 4,096; an existing
    /// file keeps its own. Larger pages suit larger entries (keys may take a quarter page) and scans on disks that
    /// prefer large reads; smaller than 4,096 is for tests.
    #[must_use]
    pub fn page_size(mut self, bytes: usize) -> Self {
        self.page_size = bytes;
        self
    }

    /// Bytes that the pages changed since the last checkpoint may take in memory, with those of the open transaction.
    /// Default 256 MiB, at least 64 KiB. A checkpoint is made at half of it, and writers that outrun it are slowed; a
    /// transaction that changes more goes to the file before it commits. Raise it for fewer checkpoints.
    #[must_use]
    pub fn delta_size(mut self, bytes: u64) -> Self {
        self.delta_size = bytes;
        self
    }

    /// What a commit must have survived before it counts, unless its transaction says otherwise
    /// ([`WriteTxn::set_durability`](crate::WriteTxn::set_durability)). Default [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How the log is made durable. Default [`SyncMethod::Auto`]: the first commits try both ways, and the faster one
    /// stays, as which that is depends on the disk.
    #[must_use]
    pub fn sync_method(mut self, method: SyncMethod) -> Self {
        self.sync_method = method;
        self
    }

    /// How long a commit may go without a checkpoint, even if little was changed. Default 60 seconds; `None` for no
    /// bound: then only `delta_size` and `log_size` call for checkpoints.
    #[must_use]
    pub fn checkpoint_interval(mut self, interval: Option<Duration>) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// Bytes that the log may grow to. Default 64 MiB, from 16 KiB to 1 GiB. It bounds the time that recovery takes;
    /// a checkpoint is made at half of it, and a transaction that does not fit commits by a checkpoint.
    #[must_use]
    pub fn log_size(mut self, bytes: u64) -> Self {
        self.log_size = bytes;
        self
    }

    /// Whether to create the database if there is none. Default true.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.how = if create { How::OpenOrCreate } else { How::Existing };
        self
    }

    /// Demands that there be no database yet: otherwise an I/O error of kind `AlreadyExists`.
    #[must_use]
    pub fn create_new(mut self) -> Self {
        self.how = How::CreateNew;
        self
    }

    /// Opens an existing database for reading only, beside other readers; works on a read-only file system. If it was
    /// not closed, the log is replayed into memory, and nothing is written.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.how = How::ReadOnly;
        self
    }

    /// What only the chosen backend understands: `mmap::Options` or `pool::Options`. Default: theirs.
    #[must_use]
    pub fn backend(mut self, options: S::Options) -> Self {
        self.backend = options;
        self
    }

    /// Records every call on the database, keys and lengths of values with it, to a new file at `path`: to be read by
    /// [`trace::Reader`](crate::trace::Reader), and replayed by Bifold's benchmarks. Default: nothing is recorded.
    ///
    /// A call then takes some 100 nanoseconds longer. The file grows by the length of a key and about ten bytes with each
    /// call, and each thread has at most 128 KiB of memory for what is not in it yet. It is never synced: what a process
    /// that is killed recorded in its last second, or with less than 32 KiB, may be missing. What goes wrong with
    /// the file later ends the recording, with a warning through `tracing`, and no call fails by it; but if it cannot be
    /// created, or is there already, [`open`](Self::open) fails.
    #[must_use]
    pub fn record_trace(mut self, path: impl AsRef<Path>) -> Self {
        self.trace = Some(path.as_ref().to_path_buf());
        self
    }

    /// Whether keys are hidden in what [`record_trace`](Self::record_trace) records: each is replaced by another of the
    /// same length, equal ones by equal ones, with no way back. Their order is lost with it. Names of tables stay as
    /// they are. Default false.
    #[must_use]
    pub fn hide_trace_keys(mut self, hide: bool) -> Self {
        self.hide_trace_keys = hide;
        self
    }

    /// Another file system beneath the database: to inject faults, to record what is written, to keep it in memory.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn file_system(mut self, fs: Arc<dyn FileSystem>) -> Self {
        self.fs = fs;
        self
    }

    /// What does background work, and the clock: to do it step by step.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn background(mut self, background: impl Background + 'static) -> Self {
        self.background = Some(Arc::new(background));
        self
    }

    /// The id of a file that is created, which seeds its checksums: chosen at random unless files are to be compared.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn file_id(mut self, id: u64) -> Self {
        self.file_id = Some(id);
        self
    }

    /// The same options over another file system.
    #[must_use]
    pub(crate) fn over(mut self, fs: &Arc<dyn FileSystem>) -> Self {
        self.fs = Arc::clone(fs);
        self
    }

    /// Makes an empty database for `path`, which does not have that name yet.
    ///
    /// # Errors
    /// As [`create`].
    pub(crate) fn make_unnamed(&self, path: &Path) -> Result<Unnamed> {
        create_unnamed(&self.fs, path, self.check()?, self.file_id)
    }

    /// Opens it. It gets no log beside a name that it does not have: every transaction is to commit by a checkpoint.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_unnamed(&self, unnamed: &Unnamed) -> Result<Db<S>> {
        // It is closed and has nothing to recover. What lies where its log would lie may be another's.
        let (shared, _) = self.attach(Arc::clone(&self.fs), unnamed.locked(), Mode::Durable)?;
        Ok(Db::from_shared(Arc::new(shared)))
    }

    /// Opens the database at `path`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; otherwise as [`Db::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Db<S>> {
        let page_size = self.check()?;
        let (fs, path) = (&*self.fs, path.as_ref());
        let locked = match self.how {
            How::OpenOrCreate => open_or_create(fs, path, page_size, self.file_id)?,
            How::Existing => open_locked(fs, path, Access::ReadWrite)?,
            How::ReadOnly => open_locked(fs, path, Access::ReadOnly)?,
            How::CreateNew => {
                create(fs, path, page_size, self.file_id)?;
                open_locked(fs, path, Access::ReadWrite)?
            }
        };
        let mode = if self.how == How::ReadOnly { Mode::ReadOnly } else { Mode::Durable };
        self.open_file(Arc::clone(&self.fs), locked, mode)
    }

    /// Makes a new database in memory.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; if the memory cannot be had.
    pub fn in_memory(&self) -> Result<Db<S>> {
        let page_size = self.check()?;
        let fs: Arc<dyn FileSystem> = Arc::new(MemFs::new());
        let locked = open_or_create(&*fs, Path::new("/memory"), page_size, self.file_id)?;
        self.open_file(fs, locked, Mode::Ephemeral)
    }

    fn check(&self) -> Result<PageSize> {
        let wrong = |option, what| Err(Error::InvalidOption { option, what });
        if self.delta_size < DELTA_MIN {
            return wrong("delta_size", "it must be at least 64 KiB");
        }
        if self.log_size < LOG_MIN || self.log_size > LOG_MAX {
            return wrong("log_size", "it must lie between 16 KiB and 1 GiB");
        }
        let page_size = u32::try_from(self.page_size).ok().and_then(PageSize::new);
        page_size.ok_or(Error::InvalidOption {
            option: "page_size",
            what: "it must be a power of two from 512 to 65536",
        })
    }

    fn open_file(&self, fs: Arc<dyn FileSystem>, locked: LockedFile, mode: Mode) -> Result<Db<S>> {
        let (mut shared, meta) = self.attach(fs, locked, mode)?;
        recover::run(&shared, &meta, &log_path(&shared.path))?;
        if let Some(path) = &self.trace {
            // Over the builder's file system, also where the database itself is in memory.
            let page_size = shared.store.page_size.bytes();
            shared.store.trace = Some(Recorder::create(&*self.fs, path, page_size, self.hide_trace_keys)?);
        }
        Ok(Db::from_shared(Arc::new(shared)))
    }

    /// What a handle refers to, as of the newest checkpoint.
    fn attach(&self, fs: Arc<dyn FileSystem>, locked: LockedFile, mode: Mode) -> Result<(Shared<S>, Meta)> {
        let meta = settle_head(&*fs, &locked)?;
        let LockedFile { file, path, .. } = locked;
        let config =
            SourceConfig { page_size: meta.page_size, file_id: meta.file_id, validate: node::validate };
        let source = S::open(Arc::clone(&file), config, &self.backend)?;
        let spares = (self.delta_size / SPARES_SHARE).min(SPARES_MAX);
        let slab = Slab::with_spares(meta.page_size.bytes(), spares, self.delta_size);
        let store = Store::new(source, slab, meta.file_id, meta.page_size);
        let root = Arc::new(Root {
            seq: meta.seq,
            base: meta.checkpoint,
            catalog: meta.catalog,
            tables: small_catalog(&store, &meta.catalog).unwrap_or_default(),
        });
        let background = self.background.clone().unwrap_or_else(|| Arc::new(Threads::new()));
        let shared = Shared {
            store,
            registry: Registry::new(Arc::clone(&root)),
            gate: Gate::new(Writer::new(meta.clone(), root)),
            group: Group::new(meta.seq),
            job: Mutex::default(),
            compacting: Mutex::default(),
            schedule: Mutex::default(),
            background,
            log_worker: Worker::default(),
            checkpoint_worker: Worker::default(),
            fs,
            file,
            path,
            limits: Limits {
                delta_bytes: self.delta_size,
                log_bytes: self.log_size,
                checkpoint_interval: self.checkpoint_interval,
                durability: self.durability,
                sync_method: self.sync_method,
            },
            mode,
            counters: Counters::default(),
            guards: Guards::default(),
            poison: OnceLock::new(),
        };
        Ok((shared, meta))
    }
}

/// The tables of a catalog that is one page, so that opening one is no descent. A larger catalog, or one that cannot be
/// read, is left to whoever asks for a table.
fn small_catalog<S: PageSource>(store: &Store<S>, catalog: &TreeRoot) -> Option<TableMap> {
    let mut tables = TableMap::default();
    if catalog.height > 0 || catalog.word.is_null() {
        return None;
    }
    let leaf = Walk::new(store, None).hold(catalog.word).ok()?;
    let node = leaf.node();
    for index in 0..node.count() {
        let name = String::from_utf8(node.key(index)?).ok()?;
        let (word, fields) = node.value_word(&node.entry(index)?)?;
        let root = catalog::decode(word, fields).ok()??;
        tables.set(&Arc::from(name), TableState::Clean(root));
    }
    Some(tables)
}
