//! Tests of the descriptors' table: lookups, reuse of ids, accounting, and readers beside the writer.
#![forbid(unsafe_code)]

use super::*;

/// An image of `len` bytes, all `fill`.
fn image(len: usize, fill: u8) -> Arc<Image> {
    Arc::new(Image::new(vec![fill; len].into_boxed_slice()))
}

#[cfg(not(loom))]
mod plain {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Barrier, Weak};

    /// Enters and leaves the epoch until `done`; gives up, and says so, after a bound that only a leak reaches.
    fn drain(done: impl Fn() -> bool) -> bool {
        for _ in 0..100_000 {
            if done() {
                return true;
            }
            EpochGuard::enter().flush();
            std::thread::yield_now();
        }
        done()
    }

    #[test]
    fn ids_fall_into_chunks_without_gaps() {
        let mut expected = (0, 0);
        for id in 0..1_u32 << 18 {
            assert_eq!(place(id), expected, "id {id}");
            expected.1 += 1;
            if expected.1 == chunk_len(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(place(u32::MAX), (CHUNKS - 1, chunk_len(CHUNKS - 1) - 1));
        let slots: u64 = (0..CHUNKS).map(|chunk| chunk_len(chunk) as u64).sum();
        assert_eq!(slots, 1 << 32);
    }

    #[test]
    fn a_page_goes_from_image_to_home_to_nothing() {
        let slab = Slab::new();
        let mut writer = SlabWriter::new();
        let guard = EpochGuard::enter();
        let id = writer.allocate().unwrap();
        assert!(matches!(slab.get(id, &guard), Entry::Missing));
        assert!(slab.pin(id, &guard).is_none());

        slab.publish(id, image(512, 7));
        assert!(matches!(slab.get(id, &guard), Entry::Image(page) if page.bytes() == [7; 512]));
        assert_eq!(slab.images(), 1);
        assert!(slab.image_bytes() >= 512);

        slab.set_home(id, 42);
        assert!(matches!(slab.get(id, &guard), Entry::Home(42)));
        assert_eq!(slab.pin(id, &guard).unwrap().bytes(), [7; 512]);

        slab.retire_image(id);
        assert!(matches!(slab.get(id, &guard), Entry::Home(42)));
        assert!(slab.pin(id, &guard).is_none());
        assert_eq!((slab.images(), slab.image_bytes()), (0, 0));

        writer.free(&slab, id);
        assert!(matches!(slab.get(id, &guard), Entry::Missing));
        assert_eq!(writer.in_use(), 0);
        assert_eq!(writer.allocate(), Some(id));
    }

    #[test]
    fn ids_nobody_handed_out_are_missing() {
        let slab = Slab::new();
        let guard = EpochGuard::enter();
        for id in [0, 1, 4095, 4096, u32::MAX] {
            assert!(matches!(slab.get(id, &guard), Entry::Missing));
            assert!(slab.pin(id, &guard).is_none());
            slab.retire_image(id);
        }
    }

    #[test]
    fn ids_are_unique_until_freed() {
        let slab = Slab::new();
        let mut writer = SlabWriter::new();
        let mut ids: Vec<u32> = (0..10_000).map(|_| writer.allocate().unwrap()).collect();
        for &id in &ids {
            slab.publish(id, image(16, id as u8));
        }
        for id in ids.split_off(5_000) {
            writer.free(&slab, id);
        }
        assert_eq!(writer.in_use(), 5_000);
        assert_eq!(slab.images(), 5_000);
        ids.extend((0..7_000).map(|_| writer.allocate().unwrap()));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 12_000);
        assert_eq!(*ids.last().unwrap(), 11_999);
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "not in use"))]
    fn an_id_freed_twice_is_not_handed_out_twice() {
        let slab = Slab::new();
        let mut writer = SlabWriter::new();
        let id = writer.allocate().unwrap();
        writer.free(&slab, id);
        writer.free(&slab, id);
        assert_ne!(writer.allocate(), writer.allocate());
    }

    #[test]
    fn what_a_guard_has_seen_outlives_retirement_replacement_and_the_table() {
        let slab = Slab::new();
        let images: Vec<Arc<Image>> = (0..3).map(|fill| image(64, fill)).collect();
        let weak: Vec<Weak<Image>> = images.iter().map(Arc::downgrade).collect();
        for (id, image) in images.into_iter().enumerate() {
            slab.publish(id as u32, image);
        }
        let guard = EpochGuard::enter();
        let seen: Vec<&Image> = (0..3)
            .map(|id| match slab.get(id, &guard) {
                Entry::Image(image) => image,
                other => panic!("{other:?}"),
            })
            .collect();
        slab.set_home(0, 1);
        slab.retire_image(0);
        slab.publish(1, image(64, 100));
        drop(slab);
        for _ in 0..1_000 {
            EpochGuard::enter().flush();
        }
        for (fill, image) in seen.iter().enumerate() {
            assert!(weak[fill].strong_count() > 0);
            assert_eq!(image.bytes(), [fill as u8; 64]);
        }
        drop(guard);
        assert!(drain(|| weak.iter().all(|image| image.strong_count() == 0)), "an image leaked");
    }

    #[test]
    fn a_pin_keeps_an_image_beyond_everything() {
        let slab = Slab::new();
        let shared = image(64, 5);
        let weak = Arc::downgrade(&shared);
        slab.publish(9, shared);
        let pin = slab.pin(9, &EpochGuard::enter()).unwrap();
        drop(slab);
        assert!(drain(|| weak.strong_count() == 1), "the table's count leaked");
        assert_eq!(pin.bytes(), [5; 64]);
        drop(pin);
        assert_eq!(weak.strong_count(), 0);
    }

    #[test]
    fn every_image_is_dropped_once() {
        let mut weak = Vec::new();
        let slab = Slab::new();
        let mut writer = SlabWriter::new();
        for round in 0..2_000_u32 {
            let id = writer.allocate().unwrap();
            let image = image(32, 1);
            weak.push(Arc::downgrade(&image));
            slab.publish(id, image);
            match round % 3 {
                0 => writer.free(&slab, id),
                1 => {
                    slab.set_home(id, 3);
                    slab.retire_image(id);
                    slab.retire_image(id);
                }
                _ => {}
            }
        }
        assert_eq!(slab.images(), 666);
        drop(slab);
        assert!(drain(|| weak.iter().all(|image| image.strong_count() == 0)), "an image leaked");
    }

    /// Readers look pages up and follow homes while the writer homes, retires, and makes new pages. Each page's
    /// bytes and home name its id, so a mixed-up or freed image shows.
    #[test]
    fn readers_find_each_page_in_one_place_or_the_other() {
        const PAGES: u32 = 20_000;
        const READERS: u64 = 3;
        let slab = Slab::new();
        let newest = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        let start = Barrier::new(READERS as usize + 1);
        let fill = |id: u32| (id % 251) as u8;
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                let (slab, newest, done, start) = (&slab, &newest, &done, &start);
                scope.spawn(move || {
                    let mut seed = 0x9E37_79B9_7F4A_7C15 ^ reader;
                    let mut last = false;
                    start.wait();
                    while !last {
                        last = done.load(Ordering::Acquire);
                        let pages = newest.load(Ordering::Acquire);
                        let guard = EpochGuard::enter();
                        for _ in 0..64.min(pages) {
                            seed ^= seed << 13;
                            seed ^= seed >> 7;
                            seed ^= seed << 17;
                            // The newest pages are those that change.
                            let id = (pages - 1 - seed % pages.min(256)) as u32;
                            let pin = slab.pin(id, &guard);
                            match slab.get(id, &guard) {
                                Entry::Image(page) => assert_eq!(page.bytes(), [fill(id); 96]),
                                Entry::Home(home) => assert_eq!(home, u64::from(id) + 1),
                                Entry::Missing => panic!("page {id} is nowhere"),
                            }
                            if let Some(pin) = pin {
                                assert_eq!(pin.bytes(), [fill(id); 96]);
                            }
                        }
                    }
                });
            }
            let mut writer = SlabWriter::new();
            start.wait();
            for _ in 0..PAGES {
                let id = writer.allocate().unwrap();
                slab.publish(id, image(96, fill(id)));
                newest.store(u64::from(id) + 1, Ordering::Release);
                if let Some(older) = id.checked_sub(100) {
                    slab.set_home(older, u64::from(older) + 1);
                    slab.retire_image(older);
                }
            }
            done.store(true, Ordering::Release);
        });
        assert_eq!(slab.images(), 100);
    }
}

/// A model of the one race there is: a lookup beside a page's way home. crossbeam-epoch is not part of the model; it
/// runs as it is, so this explores the slots' orders, and the epoch is trusted.
#[cfg(loom)]
mod model {
    use super::*;
    use loom::sync::Arc as LoomArc;

    #[test]
    fn loom_a_lookup_beside_the_way_home() {
        loom::model(|| {
            let slab = LoomArc::new(Slab::new());
            slab.publish(0, image(8, 7));
            let reader = {
                let slab = LoomArc::clone(&slab);
                loom::thread::spawn(move || {
                    let guard = EpochGuard::enter();
                    match slab.get(0, &guard) {
                        Entry::Image(page) => assert_eq!(page.bytes(), [7; 8]),
                        Entry::Home(home) => assert_eq!(home, 42),
                        Entry::Missing => panic!("the page is nowhere"),
                    }
                })
            };
            slab.set_home(0, 42);
            slab.retire_image(0);
            reader.join().unwrap();
        });
    }

    /// An image that has gone out of sight becomes the next page's while a reader may still look at it. The epoch again
    /// runs as it is; what is explored is the order of the slots and the words beside it.
    #[test]
    fn loom_a_lookup_beside_images_that_go_round() {
        loom::model(|| {
            let slab = LoomArc::new(Slab::with_spares(8, 1 << 20, 1 << 20));
            let mut ids = SlabWriter::new();
            let first = ids.allocate().unwrap();
            slab.publish(first, image(8, 7));
            let reader = {
                let slab = LoomArc::clone(&slab);
                loom::thread::spawn(move || {
                    let guard = EpochGuard::enter();
                    slab.prefetch_held(first);
                    if let Entry::Image(page) = slab.get(first, &guard) {
                        loom::thread::yield_now();
                        assert_eq!(page.bytes(), [7; 8]);
                    }
                    let pin = slab.pin(first, &guard);
                    drop(guard);
                    loom::thread::yield_now();
                    assert!(pin.is_none_or(|page| page.bytes() == [7; 8]));
                })
            };
            slab.set_home(first, 42);
            slab.retire_image(first);
            for fill in 0..3 {
                slab.flush();
                let copy = ids.copy_of(&slab, &image(8, fill));
                assert_eq!(copy.bytes(), [fill; 8]);
                let id = ids.allocate().unwrap();
                slab.publish(id, copy);
                ids.free(&slab, id);
            }
            reader.join().unwrap();
        });
    }
}
