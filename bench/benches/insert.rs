//! Inserts into a store that starts empty: 1,000 random entries a durable commit, and a sorted load in one.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what criterion's macros generate has none")]

use bifold_bench::data::{Seed, sorted};
use bifold_bench::small::{ENTRIES, Small};
use bifold_bench::{Order, Result, Store, for_each_store};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: u64 = 1000;

fn inserts<S: Store>(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("insert");
    group.sample_size(10);

    let small = Small::<S>::empty()?;
    let mut numbers = 0..;
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function(format!("{}/random", S::NAME), |bencher| {
        bencher.iter(|| {
            let batch = numbers.by_ref().take(BATCH as usize).map(Seed::new);
            let done = small.store.put(Order::Random, batch.map(|seed| (seed.key(), seed.value())));
            assert!(done.is_ok(), "{done:?}");
        });
    });
    drop(small);

    let seeds = sorted(ENTRIES);
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function(format!("{}/sorted", S::NAME), |bencher| {
        bencher.iter_batched(
            Small::<S>::empty,
            |small| {
                let small = small?;
                small.store.put(Order::Sorted, seeds.iter().map(|seed| (seed.key(), seed.value())))?;
                Result::<_>::Ok(small)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    Ok(())
}

fn bench(criterion: &mut Criterion) {
    for_each_store!(S => inserts::<S>(criterion).unwrap_or_else(|e| panic!("{}: {e}", S::NAME)));
}

criterion_group!(benches, bench);
criterion_main!(benches);
