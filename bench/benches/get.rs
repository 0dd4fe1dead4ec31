//! Random gets from a small store, 1,000 in one read transaction.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what criterion's macros generate has none")]

use bifold_bench::data::{Seed, digest, picks};
use bifold_bench::small::{ENTRIES, Small};
use bifold_bench::{Result, Store, for_each_store};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};

const GETS: u64 = 1000;

fn gets<S: Store>(group: &mut BenchmarkGroup<'_, WallTime>) -> Result<()> {
    let small = Small::<S>::loaded()?;
    let keys: Vec<_> = picks(ENTRIES, GETS, 0).into_iter().map(Seed::key).collect();
    group.bench_function(S::NAME, |bencher| {
        bencher.iter(|| {
            let mut sum = 0u64;
            let found = small.store.gets(keys.iter(), |value| sum = sum.wrapping_add(digest(value)));
            assert!(found.is_ok_and(|found| found == GETS), "every key is there");
            sum
        });
    });
    Ok(())
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get");
    group.throughput(Throughput::Elements(GETS));
    for_each_store!(S => gets::<S>(&mut group).unwrap_or_else(|e| panic!("{}: {e}", S::NAME)));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
