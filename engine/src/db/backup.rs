//! Backup: one commit of an open database as a database of its own, while readers and writers go on.
#![forbid(unsafe_code)]

use super::Db;
use super::compact::CompactReport;
use crate::error::Result;
use bifold_page_source::PageSource;
use std::path::Path;

impl<S: PageSource> Db<S> {
    /// Copies the newest commit into a new database at `path`, hot: readers and writers of this process go on, and wait
    /// for nothing but the disk. The copy is consistent, as it is made from one snapshot; what commits after the call has
    /// begun is not in it. It is an ordinary closed database, in one file of the same format and page size, which either
    /// backend opens. It is durable under its name when this returns; before, there is nothing of that name, so a
    /// crash or an error leaves no half of one.
    ///
    /// Tables and entries are copied, not pages: each page that is read is verified on the way, so damage ends the
    /// backup with an error and never comes to be part of it; and the copy is compact, with none of the unused space of
    /// the original. It numbers its commits anew. This is [`compact_into`](Self::compact_into) with the defaults, under
    /// the name that it is looked for; take [`compact_into_with`](Self::compact_into_with) for other options.
    ///
    /// The snapshot is held until the end. Pages that it sees are not used again until then, so the original grows while
    /// it is overwritten meanwhile. Memory: some MiB, and the largest value under a backend that reads values into
    /// memory.
    ///
    /// # Errors
    /// An I/O error of kind `AlreadyExists` if something bears the name, which is left as it is;
    /// [`Error::DiskFull`](crate::Error::DiskFull); damage, and other I/O errors.
    ///
    /// ```
    /// # #[cfg(not(any(feature = "mmap", feature = "buffer-pool")))] fn main() {}
    /// # #[cfg(any(feature = "mmap", feature = "buffer-pool"))]
    /// # fn main() -> bifold::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    /// let db = bifold::Database::open(path)?;
    /// db.update(|txn| txn.table("t")?.insert("key", "value"))?;
    /// assert_eq!(db.backup(&copy)?.entries, 1);
    /// let copy = bifold::Database::open(copy)?;
    /// assert_eq!(copy.read()?.table("t")?.get("key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<CompactReport> {
        self.compact_into(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Builder;
    use crate::error::Error;
    use bifold_page_source::{MemFs, MemSource};
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn builder(fs: &MemFs) -> Builder<MemSource> {
        Db::<MemSource>::builder().file_system(Arc::new(fs.clone())).page_size(512).delta_size(64 << 10)
    }

    /// Two tables whose entries a writer moves from one to the other and back: together there are always as many, with
    /// the same number everywhere.
    fn round(db: &Db<MemSource>, n: u32) -> Result<()> {
        db.update(|txn| {
            let (from, to) = if n.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
            txn.table(from)?.clear()?;
            let table = txn.table(to)?;
            (0..200u32).try_for_each(|key| table.insert(key.to_be_bytes(), n.to_be_bytes()))?;
            table.insert("large", vec![n as u8; 70_000])
        })
    }

    /// The number of the round that the database shows, after asserting that it shows all of one and nothing else.
    fn shown(db: &Db<MemSource>) -> u32 {
        let txn = db.read().unwrap();
        let (mut numbers, mut entries) = (std::collections::BTreeSet::new(), 0);
        for name in ["a", "b"] {
            for entry in &txn.table(name).unwrap() {
                let (key, value) = entry.unwrap();
                entries += 1;
                if key == b"large" {
                    assert!(value.iter().all(|byte| *byte == value[0]) && value.len() == 70_000);
                } else {
                    numbers.insert(u32::from_be_bytes((*value).try_into().unwrap()));
                }
            }
        }
        assert_eq!((numbers.len(), entries), (1, 201), "{numbers:?}");
        numbers.pop_first().unwrap()
    }

    /// Set when it is dropped, so that a test that fails ends.
    struct Done<'a>(&'a AtomicBool);

    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_shows_one_commit_while_a_writer_goes_on() {
        let fs = MemFs::new();
        let db = builder(&fs).open("/db").unwrap();
        round(&db, 0).unwrap();
        round(&db, 1).unwrap();
        let (done, committed) = (AtomicBool::new(false), AtomicU32::new(1));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in (2..).take_while(|_| !done.load(Ordering::SeqCst)) {
                    round(&db, n).unwrap();
                    committed.store(n, Ordering::SeqCst);
                }
            });
            let _done = Done(&done);
            for copy in 0..8 {
                // Each after some commits more, so that writing is seen to go on.
                let before = committed.load(Ordering::SeqCst);
                let path = format!("/copy {copy}");
                let report = db.backup(&path).unwrap();
                let after = committed.load(Ordering::SeqCst);
                assert_eq!(report.entries, 201);
                let copy = builder(&fs).create(false).open(&path).unwrap();
                let n = shown(&copy);
                // One may have been committed and not noted yet, and one more begun.
                assert!((before..=after + 1).contains(&n), "{n} is not between {before} and {after}");
                assert!(copy.check().unwrap().is_clean());
                assert_eq!(copy.stats().file_bytes, report.bytes_after);
                while committed.load(Ordering::SeqCst) < before + 2 && !writer.is_finished() {
                    std::thread::yield_now();
                }
            }
        });
        assert!(db.check().unwrap().is_clean());
    }

    #[test]
    fn inside_an_open_write_transaction_it_shows_what_was_committed() {
        let fs = MemFs::new();
        let db = builder(&fs).open("/db").unwrap();
        round(&db, 0).unwrap();
        round(&db, 1).unwrap();
        let txn = db.write().unwrap();
        txn.table("a").unwrap().clear().unwrap();
        let _ = db.backup("/copy").unwrap();
        txn.commit().unwrap();
        assert_eq!(shown(&builder(&fs).open("/copy").unwrap()), 1);
    }

    #[test]
    fn what_has_the_name_stays() {
        let fs = MemFs::new();
        let db = builder(&fs).open("/db").unwrap();
        db.update(|txn| txn.table("t")?.insert("k", "v")).unwrap();
        let _ = db.backup("/copy").unwrap();
        let before = fs.read_file(Path::new("/copy")).unwrap();
        for taken in ["/copy", "/db"] {
            let error = db.backup(taken).unwrap_err();
            assert!(
                matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists),
                "{error:?}"
            );
        }
        assert_eq!(fs.read_file(Path::new("/copy")).unwrap(), before);
        assert!(db.check().unwrap().is_clean());
    }

    #[test]
    fn damage_ends_it_and_leaves_nothing() {
        let fs = MemFs::new();
        let db = builder(&fs).open("/db").unwrap();
        round(&db, 0).unwrap();
        round(&db, 1).unwrap();
        db.close().unwrap();
        let path = Path::new("/db");
        let mut bytes = fs.read_file(path).unwrap();
        let at = bytes.windows(64).rposition(|window| window == [1; 64]).unwrap();
        bytes[at] ^= 1;
        let fs = MemFs::from_files([(path.to_path_buf(), bytes)]).unwrap();
        let db = builder(&fs).read_only().open("/db").unwrap();
        assert!(matches!(db.backup("/copy"), Err(Error::Corrupt { .. })));
        assert_eq!(fs.paths(), [path]);
    }
}
