//! Models of the registry, explored by loom over all orders that the memory model allows:
//! `RUSTFLAGS="--cfg loom" cargo test -p bifold --release --no-default-features --test loom`.
//!
//! Each version of the root stands for a page that only it reaches. Whoever holds the root reads the page, and the
//! writer overwrites the page as soon as it is told that nobody holds the root. Page and root are loom cells: an
//! access that is not ordered after the other side's last one is reported, so a reader of a freed root, a page given
//! away too early, and a missing ordering all fail the model.

use super::*;
use cell::Watched;
use loom::sync::Arc;
use loom::thread;

/// The loom cell, without its raw pointers.
mod cell {
    #![expect(unsafe_code, reason = "loom's cell hands out raw pointers after it has checked the access")]

    /// A value whose unordered accesses fail the model.
    pub(super) struct Watched(loom::cell::UnsafeCell<u64>);

    // SAFETY: loom checks each access below, and fails the model where two would race.
    unsafe impl Sync for Watched {}
    // SAFETY: as above.
    unsafe impl Send for Watched {}

    impl Watched {
        pub(super) fn new(value: u64) -> Self {
            Self(loom::cell::UnsafeCell::new(value))
        }

        pub(super) fn read(&self) -> u64 {
            // SAFETY: loom has checked that nobody writes it now.
            self.0.with(|value| unsafe { *value })
        }

        pub(super) fn write(&self, value: u64) {
            // SAFETY: loom has checked that nobody reads or writes it now.
            self.0.with_mut(|place| unsafe { *place = value });
        }
    }
}

const GONE: u64 = 99;

struct Root {
    version: u64,
    alive: Watched,
}

impl Drop for Root {
    fn drop(&mut self) {
        assert_eq!(self.alive.read(), self.version, "dropped twice");
        self.alive.write(GONE);
    }
}

/// A database of sorts: a registry, and one page for each version.
struct Model {
    registry: Registry<Root>,
    pages: [Watched; 3],
}

impl Model {
    fn new() -> Arc<Self> {
        let pages = [Watched::new(0), Watched::new(1), Watched::new(2)];
        Arc::new(Self { registry: Registry::new(root(0)), pages })
    }

    /// Reads through a snapshot, and says of which version.
    fn read(&self, root: &Root) -> u64 {
        assert_eq!(root.alive.read(), root.version, "a reader holds a freed root");
        assert_eq!(self.pages[root.version as usize].read(), root.version, "a page in use was overwritten");
        root.version
    }

    /// Overwrites the pages of all versions before `newest` that no reader holds, once each.
    fn reuse(&self, newest: u64, reused: &mut [bool; 3]) {
        let mut live = [false; 3];
        self.registry.live(&mut |root| live[root.version as usize] = true);
        assert!(live[newest as usize]);
        for version in 0..newest as usize {
            if !live[version] && !reused[version] {
                self.pages[version].write(GONE);
                reused[version] = true;
            }
        }
    }
}

fn root(version: u64) -> Arc<Root> {
    Arc::new(Root { version, alive: Watched::new(version) })
}

/// Explores all runs of a model, or those with at most `preemptions` forced switches.
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

#[test]
fn loom_one_reader_beside_two_publications() {
    explore(None, || {
        let model = Model::new();
        let reader = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let snapshot = Snapshot::new(&model.registry);
                model.read(&snapshot);
            })
        };
        let mut reused = [false; 3];
        for version in 1..3 {
            model.registry.publish(root(version));
            model.reuse(version, &mut reused);
            model.registry.collect();
        }
        reader.join().unwrap();
        model.reuse(2, &mut reused);
        model.registry.collect();
        assert_eq!(reused, [true, true, false]);
    });
}

#[test]
fn loom_two_readers_beside_a_publisher_that_collects() {
    explore(Some(4), || {
        let model = Model::new();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let model = Arc::clone(&model);
                thread::spawn(move || {
                    let snapshot = Snapshot::new(&model.registry);
                    model.read(&snapshot);
                })
            })
            .collect();
        let mut reused = [false; 3];
        model.registry.publish(root(1));
        model.reuse(1, &mut reused);
        model.registry.collect();
        for reader in readers {
            reader.join().unwrap();
        }
        model.reuse(1, &mut reused);
        assert!(reused[0]);
    });
}

#[test]
fn loom_a_slot_passes_from_reader_to_reader() {
    explore(None, || {
        let model = Model::new();
        let reader = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let first = model.read(&Snapshot::new(&model.registry));
                let second = model.read(&Snapshot::new(&model.registry));
                assert!(first <= second, "a reader went back in time");
            })
        };
        let mut reused = [false; 3];
        for version in 1..3 {
            model.registry.publish(root(version));
            model.reuse(version, &mut reused);
            model.registry.collect();
        }
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_snapshot_ends_on_another_thread() {
    explore(None, || {
        let model = Model::new();
        let slot = model.registry.register();
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                assert_eq!(model.read(model.registry.get(&slot)), 0);
                model.registry.release(slot);
            })
        };
        let mut reused = [false; 3];
        model.registry.publish(root(1));
        model.reuse(1, &mut reused);
        let freed = model.registry.collect();
        other.join().unwrap();
        assert_eq!(freed + model.registry.collect(), 1);
    });
}
