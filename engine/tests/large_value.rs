//! A value of a gibibyte: written, read as a stream and as one slice, by either backend, without a copy of it in memory
//! where none is due. In a process of its own, as it measures the process.
#![forbid(unsafe_code)]
#![cfg(any(feature = "mmap", feature = "buffer-pool"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bifold::{Db, Error, PageSource};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const LEN: u64 = 1 << 30;
/// What the engine may take for itself while the value passes through it, the pool's cache included.
const OWN: u64 = 96 * MIB;

/// The bytes of a value that has no two pages alike, from its beginning.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> [u8; 8] {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_le_bytes()
    }

    /// Whether the next bytes are these, a multiple of eight.
    fn are(&mut self, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<8>();
        rest.is_empty() && words.iter().fold(true, |all, word| all & (*word == self.next()))
    }
}

fn value() -> Vec<u8> {
    let (mut value, mut bytes) = (vec![0; LEN as usize], Bytes(1));
    value.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = bytes.next());
    value
}

/// Anonymous memory of this process that is resident, in bytes, if the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Runs `work`; fails if the process meanwhile took more than [`OWN`] bytes of memory beyond what it had.
fn within_memory<R>(what: &str, work: impl FnOnce() -> R) -> R {
    let Some(before) = resident() else {
        println!("skipped: the system does not tell how much memory a process takes ({what})");
        return work();
    };
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                peak.fetch_max(resident().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        done.store(true, Ordering::Release);
        result
    });
    let took = peak.load(Ordering::Relaxed).saturating_sub(before);
    println!("{what} took {} MiB", took / MIB);
    assert!(took < OWN, "{what} took {took} bytes of memory");
    result
}

/// Whether a stream gives the value, all of it and no more.
fn streams(mut reader: impl Read) -> bool {
    let (mut bytes, mut part) = (Bytes(1), vec![0; MIB as usize]);
    let whole = (0..LEN / MIB).all(|_| reader.read_exact(&mut part).is_ok() && bytes.are(&part));
    whole && reader.read(&mut part).unwrap() == 0
}

/// Opens, writes, reads; `false` if the disk has no room.
fn passes_through<S: PageSource>(dir: &Path, options: &S::Options) -> bool {
    let path = dir.join(S::NAME);
    let open = || Db::<S>::builder().backend(options.clone()).open(&path).unwrap();
    let value = value();
    let db = open();
    let inserted = within_memory("writing", || db.update(|txn| txn.table("t")?.insert("large", &value)));
    if let Err(Error::DiskFull { wanted }) = inserted {
        println!("skipped: the disk has no room for {wanted} bytes more");
        return false;
    }
    inserted.unwrap();
    drop(value);
    within_memory("closing", || db.close().unwrap());
    let db = open();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    let reader = table.reader("large").unwrap().unwrap();
    assert!(within_memory("streaming", || streams(reader)));
    let slice = table.get("large").unwrap().unwrap();
    assert_eq!(slice.len() as u64, LEN);
    assert!(Bytes(1).are(&slice));
    true
}

#[test]
fn a_gibibyte_passes_through_either_backend() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    #[cfg(feature = "mmap")]
    if !passes_through::<bifold::mmap::Source>(dir.path(), &bifold::mmap::Options::default()) {
        return;
    }
    #[cfg(feature = "mmap")]
    std::fs::remove_file(dir.path().join(<bifold::mmap::Source as PageSource>::NAME)).unwrap();
    #[cfg(feature = "buffer-pool")]
    passes_through::<bifold::pool::Source>(
        dir.path(),
        &bifold::pool::Options::default().cache_size(32 * MIB),
    );
}
