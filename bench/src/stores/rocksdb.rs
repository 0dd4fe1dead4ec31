//! `RocksDB`, as the system has it: a log-structured merge tree.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store, poll};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, IngestExternalFileOptions, Options, ReadOptions,
    SstFileWriter, WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};

/// A `RocksDB` database: an LRU block cache, a bloom filter of 10 bits a key, blocks of 4 KiB, no compression. Entries
/// in order go in as a table file that it ingests.
pub struct Rocks {
    db: DB,
    write: WriteOptions,
    options: Options,
    incoming: PathBuf,
}

impl Store for Rocks {
    const NAME: &'static str = "rocksdb";
    const SYNCED: Option<&'static str> = Some("fdatasync of its write-ahead log (WriteOptions::sync)");
    const UNSYNCED: Option<&'static str> = Some("the log is written to the system's buffers at each commit");
    const CHECKPOINTS: bool = true;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(setup.cache_bytes as usize)?);
        table.set_bloom_filter(10.0, false);
        table.set_block_size(4096);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_block_based_table_factory(&table);
        // It keeps two of them, one of which is being flushed.
        options.set_write_buffer_size((setup.delta_bytes / 2) as usize);
        let db = DB::open(&options, dir)?;
        let mut write = WriteOptions::default();
        write.set_sync(setup.durability == Durability::Synced);
        Ok(Self { db, write, options, incoming: dir.join("incoming.sst") })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        if order == Order::Sorted {
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&self.incoming)?;
            for (key, value) in entries {
                writer.put(key, value)?;
            }
            writer.finish()?;
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            return Ok(self.db.ingest_external_file_opts(&options, vec![&self.incoming])?);
        }
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let mut batch = WriteBatch::default();
        for key in keys {
            batch.delete(key);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        // Without a snapshot: through this API each get of a snapshot would allocate options of its own.
        let options = ReadOptions::default();
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.db.get_pinned_opt(key, &options)? {
                visit(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut entries = self.db.raw_iterator();
        entries.seek(from);
        let mut seen = 0;
        while seen < limit
            && let Some((key, value)) = entries.item()
        {
            visit(key, value);
            seen += 1;
            entries.next();
        }
        entries.status()?;
        Ok(seen)
    }

    fn get_many<K>(&self, keys: &[K], mut visit: impl FnMut(usize, &[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let mut found = 0;
        for (index, value) in self.db.multi_get(keys).into_iter().enumerate() {
            if let Some(value) = value? {
                visit(index, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut entries = self.db.raw_iterator();
        entries.seek_for_prev(from);
        let mut seen = 0;
        while seen < limit
            && let Some((key, value)) = entries.item()
        {
            visit(key, value);
            seen += 1;
            entries.prev();
        }
        entries.status()?;
        Ok(seen)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let snapshot = self.db.snapshot();
        // Each get allocates options of its own: this API has no other way to read in a snapshot.
        work(&mut |key, visit| {
            let value = snapshot.get_pinned(key)?;
            Ok(value.map(|value| visit(&value)).is_some())
        })
    }

    fn finish(&self) -> Result<()> {
        self.db.flush()?;
        let busy = [
            "rocksdb.mem-table-flush-pending",
            "rocksdb.compaction-pending",
            "rocksdb.num-running-flushes",
            "rocksdb.num-running-compactions",
        ];
        poll::until_quiet(|| {
            for property in busy {
                if self.db.property_int_value(property)?.is_none_or(|count| count > 0) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    fn close(self) -> Result<()> {
        self.db.cancel_all_background_work(true);
        Ok(())
    }
}
