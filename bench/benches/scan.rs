//! Scans of a small store: 100 entries from a random place, and all of them.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what criterion's macros generate has none")]

use bifold_bench::data::{Seed, digest, picks};
use bifold_bench::small::{ENTRIES, Small};
use bifold_bench::{Result, Store, for_each_store};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn scans<S: Store>(criterion: &mut Criterion) -> Result<()> {
    let small = Small::<S>::loaded()?;
    let mut starts = picks(ENTRIES, 1000, 0).into_iter().map(Seed::key).cycle();
    let mut group = criterion.benchmark_group("scan");
    for limit in [100, ENTRIES] {
        group.throughput(Throughput::Elements(limit));
        group.bench_function(BenchmarkId::new(S::NAME, limit), |bencher| {
            bencher.iter(|| {
                let start = if limit == ENTRIES { None } else { starts.next() };
                let start = start.as_ref().map_or(&[][..], |key| key);
                let mut sum = 0u64;
                let seen = small.store.scan(start, limit, |_, value| sum = sum.wrapping_add(digest(value)));
                assert!(seen.is_ok(), "{seen:?}");
                sum
            });
        });
    }
    group.finish();
    Ok(())
}

fn bench(criterion: &mut Criterion) {
    for_each_store!(S => scans::<S>(criterion).unwrap_or_else(|e| panic!("{}: {e}", S::NAME)));
}

criterion_group!(benches, bench);
criterion_main!(benches);
