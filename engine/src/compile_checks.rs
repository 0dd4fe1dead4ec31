//! What must not compile, each beside its twin that must: read as examples when the documentation is tested.
//!
//! # The write transaction stays on its thread
//! A read transaction does not:
//! ```
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.read()?;
//! std::thread::scope(|s| s.spawn(move || txn.commit_number()).join().unwrap());
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! std::thread::scope(|s| s.spawn(move || txn.commit_number()).join().unwrap());
//! # Ok(())
//! # }
//! ```
//! Nor may another thread have a share in it:
//! ```
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.read()?;
//! std::thread::scope(|s| s.spawn(|| txn.commit_number()).join().unwrap());
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! std::thread::scope(|s| s.spawn(|| txn.commit_number()).join().unwrap());
//! # Ok(())
//! # }
//! ```
//!
//! # No guard, cursor or scan is alive at commit, even unused
//! A table's handle may be:
//! ```
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! let table = txn.table("t")?;
//! table.insert("a", "1")?;
//! let guard = table.get("a")?;
//! drop(guard);
//! let cursor = table.cursor_mut();
//! drop(cursor);
//! let scan = table.iter();
//! drop(scan);
//! let reader = table.reader("a")?;
//! drop(reader);
//! let load = table.bulk_load()?;
//! drop(load);
//! txn.commit()?;
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! let table = txn.table("t")?;
//! let guard = table.get("a")?;
//! txn.commit()?;
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! let table = txn.table("t")?;
//! let cursor = table.cursor_mut();
//! txn.commit()?;
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! let table = txn.table("t")?;
//! let load = table.bulk_load()?;
//! txn.commit()?;
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! let table = txn.table("t")?;
//! let scan = table.iter();
//! txn.commit()?;
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.write()?;
//! let table = txn.table("t")?;
//! let reader = table.reader("a")?;
//! txn.commit()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A guard does not outlive its transaction, nor a transaction its database
//! ```
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! db.update(|txn| txn.table("t")?.insert("a", "1"))?;
//! let txn = db.read()?;
//! let guard = txn.table("t")?.get("a")?;
//! assert_eq!(guard.as_deref(), Some(&b"1"[..]));
//! drop(guard);
//! drop(txn);
//! drop(db);
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! db.update(|txn| txn.table("t")?.insert("a", "1"))?;
//! let txn = db.read()?;
//! let guard = txn.table("t")?.get("a")?;
//! drop(txn);
//! assert_eq!(guard.as_deref(), Some(&b"1"[..]));
//! # Ok(())
//! # }
//! ```
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! let txn = db.read()?;
//! drop(db);
//! txn.tables()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a cursor lends ends when it moves
//! ```compile_fail
//! # fn main() -> bifold::Result<()> {
//! let db = bifold::Database::in_memory()?;
//! db.update(|txn| txn.table("t").map(drop))?;
//! let txn = db.read()?;
//! let mut cursor = txn.table("t")?.cursor();
//! let first = cursor.next()?;
//! let second = cursor.next()?;
//! assert_ne!(first, second);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
