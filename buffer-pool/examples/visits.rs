//! Random visits to resident pages: nanoseconds each, by the pool, and by plain memory for comparison.
//!
//! `cargo run -p bifold-pool --release --example visits -- [MiB of pages] [threads] [MiB of cache]`

use bifold_page_source::{
    FileSystem, MemFs, PageId, PageRef, PageSize, PageSource, SourceConfig, Visit, seal_page,
};
use bifold_pool::{Options, PoolSource};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

const VISITS: u64 = 4_000_000;
const PAGE: u64 = 4096;

/// Looks at `VISITS` random pages, a few bytes of each, and says how long one took.
fn measure(what: &str, pages: u64, mut look: impl FnMut(u64) -> u64) {
    let (mut random, mut sum) = (0x9E37_79B9_7F4A_7C15_u64, 0u64);
    let start = Instant::now();
    for _ in 0..VISITS {
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        // The next page depends on what was read, as in a descent.
        let page = ((random ^ (sum & 1)) >> 33) % pages;
        sum = sum.wrapping_add(look(page));
    }
    black_box(sum);
    println!("{what}: {:.0} ns", start.elapsed().as_nanos() as f64 / VISITS as f64);
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |n, default| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (mib, threads): (u64, u64) = (argument(1, 1024), argument(2, 1));
    let pages = mib * (1 << 20) / PAGE;
    let file = MemFs::new().create_unnamed(Path::new("file"))?;
    file.set_len(pages * PAGE)?;
    let mut bytes = vec![0; PAGE as usize];
    for number in 0..pages {
        let id = PageId::new(number).ok_or("a page number")?;
        bytes[2048..2056].copy_from_slice(&number.to_le_bytes());
        seal_page(1, id, &mut bytes);
        file.write_at(&bytes, number * PAGE)?;
    }
    let config = SourceConfig { page_size: PageSize::DEFAULT, file_id: 1, validate: |_| Ok(()) };
    let options = Options::new().cache_size(argument(3, mib + mib / 8 + 16) << 20);
    let source = PoolSource::open(file, config, &options)?;
    let at = |number| PageRef::unchecked(PageId::new(number).unwrap_or_default());
    let start = Instant::now();
    for number in 0..pages {
        source.visit().view(at(number))?;
    }
    println!("loading: {:.0} ns a page", start.elapsed().as_nanos() as f64 / pages as f64);
    let look = |number| source.visit().view(at(number)).map_or(0, |b| word_at(b, 2048));
    measure("warming up", pages, look);
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| measure("a visit and a view", pages, look));
        }
    });
    let hold = |number| source.visit().hold(at(number)).map_or(0, |b| word_at(&b, 2048));
    measure("a visit and a pin", pages, hold);
    let mut visit = source.visit();
    measure("a view in one visit", pages, |n| visit.view(at(n)).map_or(0, |b| word_at(b, 2048)));
    drop(visit);
    drop(source);
    let plain = vec![1u8; (pages * PAGE) as usize];
    measure("plain memory", pages, |n| word_at(&plain, (n * PAGE) as usize + 2048));
    Ok(())
}
