//! Pieces of the engine by themselves: a page's search, a visit, a pin, a transaction's ends, a get, a cursor's step, a
//! commit that waits for no sync, a checkpoint. 100,000 entries; 10,000 leaves for a checkpoint.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what criterion's macros generate has none")]

use bifold_bench::Result;
use bifold_bench::pieces::{Conditions, Entry, all};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::cell::RefCell;
use std::time::{Duration, Instant};

fn time(group: &mut BenchmarkGroup<'_, WallTime>, entry: &Entry) -> Result<()> {
    let mut piece = entry.make(&Conditions::TIMED)?;
    piece.prepare()?;
    piece.run(1)?;
    if entry.one_by_one {
        // Some tens of milliseconds each.
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(4))
            .warm_up_time(Duration::from_millis(200));
    } else {
        group
            .sample_size(50)
            .measurement_time(Duration::from_secs(2))
            .warm_up_time(Duration::from_millis(500));
    }
    let throughput =
        piece.written().map(|(elements, bytes)| Throughput::ElementsAndBytes { elements, bytes });
    group.throughput(throughput.unwrap_or(Throughput::Elements(1)));

    let failed = RefCell::new(None);
    group.bench_function(entry.name.as_str(), |bencher| {
        bencher.iter_custom(|times| {
            let (rounds, each) = if entry.one_by_one { (times, 1) } else { (1, times) };
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let prepared = piece.prepare();
                let start = Instant::now();
                let done = prepared.and_then(|()| piece.run(each));
                total += start.elapsed();
                if let Err(error) = done {
                    failed.borrow_mut().get_or_insert(error);
                }
            }
            total.max(Duration::from_nanos(1))
        });
    });
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pieces");
    for entry in all() {
        time(&mut group, &entry).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
