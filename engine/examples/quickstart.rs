//! Loads 69,472 cities with one backend and asks the other about them, then the other way round.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

use bifold::{Db, PageSource, mmap, pool};
use std::path::Path;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A question, its answer, and how long that took.
type Answer = (&'static str, String, Duration);

fn main() -> Result<()> {
    let cities = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/cities.tsv"))?;
    let dir = tempfile::tempdir()?;
    let (first, second) = (dir.path().join("first.bifold"), dir.path().join("second.bifold"));

    let loads = [load::<mmap::Source>(&first, &cities)?, load::<pool::Source>(&second, &cities)?];
    let pool = ask::<pool::Source>(&first)?;
    let mmap = ask::<mmap::Source>(&second)?;

    let column = |answer: &str, time: Duration| format!("{answer:<21}{time:>9.1?}");
    println!("{:<22}{:<34}pool", "loaded with", "mmap");
    let [a, b] = loads.map(|time| column("in one transaction", time));
    println!("{:<22}{a:<34}{b}\n", "69,472 cities");
    println!("{:<22}{:<34}mmap", "then asked with", "pool");
    for ((question, a, a_time), (_, b, b_time)) in pool.iter().zip(&mmap) {
        println!("{question:<22}{:<34}{}", column(a, *a_time), column(b, *b_time));
    }

    let same = pool.iter().zip(&mmap).all(|(a, b)| a.1 == b.1);
    println!(
        "\n{}",
        if same { "One file format, two backends, the same answers." } else { "The answers differ!" }
    );
    if same { Ok(()) } else { Err("the backends disagree".into()) }
}

/// Makes a database of the cities: one transaction, on disk when this returns.
fn load<S: PageSource>(path: &Path, cities: &str) -> Result<Duration> {
    let begun = Instant::now();
    let db = Db::<S>::open(path)?;
    db.update(|txn| {
        let table = txn.table("cities")?;
        cities
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .try_for_each(|(name, rest)| table.insert(name, rest))
    })?;
    db.close()?;
    Ok(begun.elapsed())
}

/// Opens the database and asks it a few things.
fn ask<S: PageSource>(path: &Path) -> Result<Vec<Answer>> {
    let begun = Instant::now();
    let db = Db::<S>::builder().read_only().open(path)?;
    let txn = db.read()?;
    let cities = txn.table("cities")?;
    let mut answers = vec![("opening the file", format!("{} cities", cities.len()?), begun.elapsed())];

    let mut answer = |question, f: &dyn Fn() -> bifold::Result<String>| -> bifold::Result<()> {
        let begun = Instant::now();
        let answer = f()?;
        answers.push((question, answer, begun.elapsed()));
        Ok(())
    };
    let people = |name: &str| {
        let city = cities.get(name)?;
        let line = city.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        Ok(line.split('\t').nth(4).map_or("not found".into(), |people| format!("{people} people")))
    };
    answer("Zürich", &|| people("Zürich"))?;
    answer("São Paulo", &|| people("São Paulo"))?;
    answer("Utopia", &|| people("Utopia"))?;
    answer("names with Zug…", &|| {
        let names = cities.prefix("Zug").keys().collect::<bifold::Result<Vec<_>>>()?;
        Ok(names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(", "))
    })?;
    answer("how many from L to M", &|| Ok(format!("{} cities", cities.count("L".."M")?)))?;
    answer("read all of them", &|| {
        let bytes =
            cities.iter().try_fold(0, |sum, entry| entry.map(|(name, rest)| sum + name.len() + rest.len()));
        Ok(format!("{} bytes", bytes?))
    })?;
    Ok(answers)
}
