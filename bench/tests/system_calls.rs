//! Every system call is counted once, in whatever thread. Alone in its program: other tests would make calls as well.
#![forbid(unsafe_code)]

use bifold_bench::usage::{Usage, count_system_calls};
use std::hint::black_box;
use std::thread;

#[test]
fn each_is_counted_once() {
    const CALLS: u64 = 10_000;
    let make_calls = || (0..CALLS).for_each(|_| _ = black_box(rustix::process::getppid()));
    if let Err(why) = count_system_calls() {
        println!("skipped: {why}");
        return;
    }
    let before = Usage::now();
    let alone = Usage::now().since(&before).system_calls.expect("both were counted");
    assert!(alone.all && alone.count < 100, "{alone:?} for looking alone");

    let before = Usage::now();
    make_calls();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(make_calls);
        }
    });
    let used = Usage::now().since(&before).system_calls.expect("both were counted");
    assert!(used.all && (4 * CALLS..4 * CALLS + 500).contains(&used.count), "{used:?}");
}
