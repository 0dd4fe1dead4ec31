//! Tests of the registry: holding, retiring, accounting of drops, and readers beside a publisher.
#![forbid(unsafe_code)]

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

/// A root that is counted when it is dropped, and spoilt by it.
#[derive(Debug)]
struct Root {
    version: u64,
    check: AtomicUsize,
    drops: Arc<AtomicUsize>,
}

/// What an unspoilt root's `check` is.
const WHOLE: usize = 0x600D;

impl Root {
    fn new(version: u64, drops: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self { version, check: AtomicUsize::new(WHOLE), drops: Arc::clone(drops) })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        assert_eq!(self.check.swap(0xDEAD, Ordering::Relaxed), WHOLE, "dropped twice");
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted() -> (Arc<AtomicUsize>, Registry<Root>) {
    let drops = Arc::new(AtomicUsize::new(0));
    let registry = Registry::new(Root::new(0, &drops));
    (drops, registry)
}

fn live(registry: &Registry<Root>) -> Vec<u64> {
    let mut versions = Vec::new();
    registry.live(&mut |root| versions.push(root.version));
    versions
}

#[test]
fn a_snapshot_keeps_its_root_and_no_other() {
    let (drops, registry) = counted();
    let first = Snapshot::new(&registry);
    registry.publish(Root::new(1, &drops));
    registry.publish(Root::new(2, &drops));
    let third = Snapshot::new(&registry);
    registry.publish(Root::new(3, &drops));
    assert_eq!((first.version, third.version, registry.current().version), (0, 2, 3));
    assert_eq!(live(&registry), [0, 2, 3]);

    assert_eq!(registry.collect(), 1);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(first);
    assert_eq!(live(&registry), [2, 3]);
    assert_eq!(registry.collect(), 1);
    assert_eq!(registry.collect(), 0);
    assert_eq!((third.version, third.check.load(Ordering::Relaxed)), (2, WHOLE));
    drop(third);
    assert_eq!(registry.collect(), 1);
    assert_eq!(live(&registry), [3]);
    drop(registry);
    assert_eq!(drops.load(Ordering::Relaxed), 4);
}

#[test]
fn many_snapshots_grow_the_slots_and_free_them_again() {
    let (drops, registry) = counted();
    let mut held = Vec::new();
    for version in 1..=1_000 {
        held.push(Snapshot::new(&registry));
        registry.publish(Root::new(version, &drops));
    }
    assert_eq!(live(&registry), (0..=1_000).collect::<Vec<u64>>());
    assert_eq!(registry.collect(), 0);
    for (version, root) in held.iter().enumerate() {
        assert_eq!(root.version, version as u64);
    }
    let mut version = 0;
    held.retain(|_| {
        version += 1;
        version % 3 == 0
    });
    assert_eq!(registry.collect(), 667);
    assert_eq!(live(&registry).len(), 334);
    drop(held);
    assert_eq!(registry.collect(), 333);
    assert_eq!(drops.load(Ordering::Relaxed), 1_000);
}

#[test]
fn a_forgotten_snapshot_keeps_one_root_for_ever() {
    let (drops, registry) = counted();
    std::mem::forget(Snapshot::new(&registry));
    for version in 1..=100 {
        registry.publish(Root::new(version, &drops));
        drop(Snapshot::new(&registry));
        registry.collect();
        assert_eq!(live(&registry), [0, version]);
    }
    drop(registry);
    assert_eq!(drops.load(Ordering::Relaxed), 101);
}

#[test]
fn a_snapshot_ends_on_any_thread() {
    let (drops, registry) = counted();
    let held = Snapshot::new(&registry);
    registry.publish(Root::new(1, &drops));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(held.version, 0);
            drop(held);
        });
    });
    assert_eq!(registry.collect(), 1);
}

#[test]
fn an_owned_snapshot_outlives_every_other_handle() {
    let (drops, registry) = counted();
    let registry = Arc::new(registry);
    let owned: Snapshot<Root, Arc<Registry<Root>>> = Snapshot::new(Arc::clone(&registry));
    registry.publish(Root::new(1, &drops));
    drop(registry);
    let reader = std::thread::spawn(move || {
        assert_eq!(owned.registry().collect(), 0);
        owned.version
    });
    assert_eq!(reader.join().unwrap(), 0);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
fn a_root_may_be_published_again() {
    let (drops, registry) = counted();
    let first = registry.current();
    let held = Snapshot::new(&registry);
    registry.publish(Root::new(1, &drops));
    registry.publish(Arc::clone(&first));
    drop(first);
    assert_eq!(live(&registry), [0]);
    assert_eq!(registry.collect(), 1);
    registry.publish(Root::new(2, &drops));
    assert_eq!(live(&registry), [0, 2]);
    assert_eq!(registry.collect(), 0);
    drop(held);
    assert_eq!(registry.collect(), 2);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
fn registries_do_not_mix_up_their_hints() {
    let registries: Vec<_> = (0..32).map(|_| counted()).collect();
    for _ in 0..3 {
        let held: Vec<_> = registries.iter().map(|(_, registry)| Snapshot::new(registry)).collect();
        let more: Vec<_> = registries.iter().rev().map(|(_, registry)| Snapshot::new(registry)).collect();
        for (drops, registry) in &registries {
            let before = registry.current().version;
            registry.publish(Root::new(before + 1, drops));
            assert_eq!(live(registry), [before, before + 1]);
        }
        drop((held, more));
        for (_, registry) in &registries {
            assert_eq!(registry.collect(), 1);
        }
    }
}

#[test]
#[should_panic(expected = "not its own")]
fn a_slot_is_not_read_through_another_registry() {
    let ((_, one), (_, other)) = (counted(), counted());
    let slot = one.register();
    let _ = other.get(&slot);
}

#[test]
fn handles_go_where_their_roots_may_go() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    let (_, registry) = counted();
    is_send_and_sync(&registry);
    let slot = registry.register();
    is_send_and_sync(&slot);
    is_send_and_sync(&Snapshot::new(&registry));
    registry.release(slot);
}

/// Readers come and go, pass snapshots on, and find every root whole; the writer publishes and collects. What it
/// was not shown by `live` it marks, and no reader holds a marked root.
#[test]
fn readers_beside_a_publisher_never_see_a_freed_root() {
    const VERSIONS: u64 = 20_000;
    const READERS: usize = 3;
    let (drops, registry) = counted();
    let marked: Vec<AtomicBool> = (0..=VERSIONS).map(|_| AtomicBool::new(false)).collect();
    let done = AtomicBool::new(false);
    let start = Barrier::new(READERS + 1);
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (registry, marked, done, start) = (&registry, &marked, &done, &start);
            scope.spawn(move || {
                let mut held = Vec::new();
                let mut newest = 0;
                start.wait();
                while !done.load(Ordering::Acquire) {
                    let snapshot = Snapshot::new(registry);
                    assert!(snapshot.version >= newest, "a reader went back in time");
                    newest = snapshot.version;
                    held.push(snapshot);
                    for root in &held {
                        assert_eq!(root.check.load(Ordering::Relaxed), WHOLE);
                        assert!(!marked[root.version as usize].load(Ordering::Relaxed));
                    }
                    if held.len() > 4 * reader {
                        held.clear();
                    }
                }
            });
        }
        start.wait();
        let mut suspects: Vec<u64> = vec![0];
        for version in 1..=VERSIONS {
            registry.publish(Root::new(version, &drops));
            suspects.push(version);
            if version % 3 == 0 {
                let live = live(&registry);
                for dead in suspects.extract_if(.., |version| !live.contains(version)) {
                    marked[dead as usize].store(true, Ordering::Relaxed);
                }
            } else {
                registry.collect();
            }
        }
        done.store(true, Ordering::Release);
    });
    registry.collect();
    assert_eq!(live(&registry), [VERSIONS]);
    assert_eq!(drops.load(Ordering::Relaxed), VERSIONS as usize);
    drop(registry);
    assert_eq!(drops.load(Ordering::Relaxed), VERSIONS as usize + 1);
}
