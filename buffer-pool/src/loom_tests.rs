//! The state machine of a page, together with the epoch, under every interleaving loom can find.
//!
//! A frame is a loom cell, so that a reader and a reuse that overlap are reported as a race. Run as `lib.rs` says.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use crate::epoch::Domain;
use crate::word::{Begin, Cell};
use bifold_page_source::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use bifold_page_source::sync::{Arc, thread};
use loom::cell::Cell as Frame;

/// One page, two frames, and what a pool keeps of them.
struct Pool {
    word: AtomicU64,
    epochs: Domain,
    frames: [Frame<u32>; 2],
    loads: AtomicU32,
}

impl Pool {
    /// A pool whose page is resident in frame 0, which holds `content`.
    fn resident(content: u32) -> Arc<Self> {
        let pool = Self::absent();
        pool.frames[0].set(content);
        assert_eq!(pool.cell().begin_load(), Begin::Mine(0));
        pool.cell().publish(0, false, 0).unwrap();
        pool
    }

    fn absent() -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU64::new(0),
            epochs: Domain::new(2),
            frames: [Frame::new(0), Frame::new(0)],
            loads: AtomicU32::new(0),
        })
    }

    fn cell(&self) -> Cell<'_> {
        Cell::new(&self.word)
    }

    /// Looks at the page from inside an epoch. `None` if it is not resident.
    fn view(&self, hint: usize) -> Option<u32> {
        let _inside = self.epochs.participate(hint);
        let word = self.cell().load();
        word.is_resident().then(|| {
            if !word.is_used() {
                self.cell().touch(word);
            }
            self.frames[word.frame() as usize].get()
        })
    }

    /// Evicts the page if nothing is in the way, and reuses its frame if nobody can see it any more.
    fn evict_and_reuse(&self, content: u32) -> bool {
        let word = self.cell().load();
        if !word.is_resident() || word.pins() > 0 || !self.cell().evict(word, 1) {
            return false;
        }
        let tag = self.epochs.close();
        let reusable = self.epochs.oldest() > tag;
        if reusable {
            self.frames[word.frame() as usize].set(content);
        }
        reusable
    }
}

#[test]
fn loom_an_evicted_frame_is_not_reused_in_sight() {
    loom::model(|| {
        let pool = Pool::resident(7);
        let other = Arc::clone(&pool);
        let evictor = thread::spawn(move || other.evict_and_reuse(99));
        if let Some(seen) = pool.view(0) {
            assert_eq!(seen, 7);
        }
        evictor.join().unwrap();
    });
}

#[test]
fn loom_a_participant_that_suspends_sees_only_what_is_there_after() {
    loom::model(|| {
        let pool = Pool::resident(7);
        let other = Arc::clone(&pool);
        let evictor = thread::spawn(move || other.evict_and_reuse(99));
        let mut inside = pool.epochs.participate(0);
        drop(inside.suspend());
        let word = pool.cell().load();
        if word.is_resident() {
            assert_eq!(pool.frames[word.frame() as usize].get(), 7);
        }
        drop(inside);
        evictor.join().unwrap();
    });
}

#[test]
fn loom_a_page_is_loaded_once_and_whole() {
    loom::model(|| {
        let pool = Pool::absent();
        let load = |pool: &Pool, frame: usize| match pool.cell().begin_load() {
            Begin::Mine(_) => {
                pool.loads.fetch_add(1, Ordering::Relaxed);
                pool.frames[frame].set(7);
                assert!(pool.cell().publish(frame as u32, false, 0).is_some());
            }
            Begin::Busy => assert!(pool.view(frame).is_none_or(|seen| seen == 7)),
            Begin::Resident(_) => assert_eq!(pool.view(frame), Some(7)),
        };
        let other = Arc::clone(&pool);
        let second = thread::spawn(move || load(&other, 1));
        load(&pool, 0);
        second.join().unwrap();
        assert_eq!(pool.loads.load(Ordering::Relaxed), 1);
        assert_eq!(pool.view(0), Some(7));
    });
}

#[test]
fn loom_a_pinned_frame_is_not_evicted() {
    loom::model(|| {
        let pool = Pool::resident(7);
        let other = Arc::clone(&pool);
        let evictor = thread::spawn(move || other.evict_and_reuse(99));
        let inside = pool.epochs.participate(0);
        let word = pool.cell().load();
        if word.is_pinnable() && pool.cell().pin(word, true) {
            drop(inside); // the pin alone keeps the frame now
            assert_eq!(pool.frames[0].get(), 7);
            assert_eq!(pool.cell().unpin(0), Some(0));
        } else {
            drop(inside);
        }
        evictor.join().unwrap();
    });
}

#[test]
fn loom_the_last_pin_hands_the_frame_to_the_evictor() {
    loom::model(|| {
        let pool = Pool::resident(7);
        assert!(pool.cell().pin(pool.cell().load(), false));
        let other = Arc::clone(&pool);
        let holder = thread::spawn(move || {
            assert_eq!(other.frames[0].get(), 7);
            assert_eq!(other.cell().unpin(0), Some(0));
        });
        pool.evict_and_reuse(99);
        holder.join().unwrap();
    });
}

#[test]
fn loom_a_doomed_load_is_never_seen() {
    loom::model(|| {
        let pool = Pool::absent();
        assert_eq!(pool.cell().begin_load(), Begin::Mine(0));
        let other = Arc::clone(&pool);
        // The load brings the old version; whoever writes the page dooms it or drops what it brought.
        let loader = thread::spawn(move || {
            other.frames[0].set(1);
            if other.cell().publish(0, false, 0).is_none() {
                other.cell().abandon();
            }
        });
        if !pool.cell().doom() {
            pool.cell().detach();
        }
        assert_eq!(pool.view(0), None, "the old version is gone once the write has returned");
        loader.join().unwrap();
        assert!(pool.cell().load().is_absent());
    });
}

#[test]
fn loom_a_waiter_is_always_noticed() {
    loom::model(|| {
        let pool = Pool::absent();
        assert_eq!(pool.cell().begin_load(), Begin::Mine(0));
        let other = Arc::clone(&pool);
        let loader = thread::spawn(move || other.cell().publish(0, false, 0).unwrap().is_waited());
        let announced = pool.cell().announce_wait();
        assert_eq!(loader.join().unwrap(), announced, "whoever announced itself is woken");
    });
}

#[test]
fn loom_a_page_kept_when_it_is_written_is_never_the_one_before() {
    loom::model(|| {
        let pool = Pool::absent();
        let disk = Arc::new(AtomicU32::new(1));
        let (other, beneath) = (Arc::clone(&pool), Arc::clone(&disk));
        // A read ahead that blunders into the place, before, while or after it is written.
        let loader = thread::spawn(move || {
            if matches!(other.cell().begin_load(), Begin::Mine(_)) {
                fence(Ordering::SeqCst);
                other.frames[0].set(beneath.load(Ordering::Relaxed));
                if other.cell().publish(0, true, 0).is_none() {
                    other.cell().abandon();
                }
            }
        });
        // The calls that write and read are ordered by the kernel's locks: fences, as loom knows them.
        disk.store(2, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !pool.cell().doom() {
            pool.cell().detach();
        }
        if matches!(pool.cell().begin_load(), Begin::Mine(_)) {
            pool.frames[1].set(2);
            assert!(pool.cell().publish(1, true, 0).is_some(), "nobody else dooms this load");
        }
        assert!(
            pool.view(0).is_none_or(|seen| seen == 2),
            "the version before is gone once the write has returned"
        );
        loader.join().unwrap();
        assert!(pool.view(0).is_none_or(|seen| seen == 2));
    });
}
