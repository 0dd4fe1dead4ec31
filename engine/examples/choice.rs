//! The same program on either backend: only the features of the build choose, and nothing here knows.
//!
//! ```sh
//! cargo run -p bifold --example choice --no-default-features --features mmap
//! cargo run -p bifold --example choice --no-default-features --features buffer-pool
//! ```

#[cfg(any(feature = "mmap", feature = "buffer-pool"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = bifold::Database::open(dir.path().join("people.bifold"))?;

    // One transaction, durable when `update` returns.
    db.update(|txn| {
        let people = txn.table("people")?;
        people.insert("Ada", "1815")?;
        people.insert("Emmy", "1882")?;
        people.insert("Grace", "1906")
    })?;

    // A snapshot. Values are read where they lie, without a copy.
    let born = db.view(|txn| txn.table("people")?.get("Emmy").map(|year| year.map(|year| year.to_vec())))?;
    assert_eq!(born.as_deref(), Some(&b"1882"[..]));

    let txn = db.read()?;
    let people = txn.table("people")?;
    for entry in people.range("B"..) {
        let (name, year) = entry?;
        println!("{} was born in {}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&year));
    }

    let mut cursor = people.cursor();
    assert_eq!(cursor.seek("F")?, Some((&b"Grace"[..], &b"1906"[..])));
    assert_eq!(cursor.prev()?, Some((&b"Emmy"[..], &b"1882"[..])));

    println!("read through the backend {:?}", db.stats().backend);
    Ok(())
}

#[cfg(not(any(feature = "mmap", feature = "buffer-pool")))]
fn main() {
    eprintln!("without a backend there is no database: choose the feature mmap or buffer-pool");
}
