//! Tests of the images that go round: who may get one, how many are kept, and that nothing of a page is left in one.
#![forbid(unsafe_code)]

use super::*;
use crate::delta::{Entry, Slab, SlabWriter};

const PAGE: usize = 512;
const BOUND: u64 = 64 * 1024;

fn image(fill: u8) -> Arc<Image> {
    Arc::new(Image::new(vec![fill; PAGE].into_boxed_slice()))
}

/// Enters and leaves the epoch until `done`; gives up after a bound that only a leak reaches.
fn drain(slab: &Slab, done: impl Fn() -> bool) -> bool {
    for _ in 0..100_000 {
        if done() {
            return true;
        }
        slab.flush();
        std::thread::yield_now();
    }
    done()
}

#[test]
fn what_is_kept_is_bounded_and_used_up() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    for _ in 0..1_000 {
        let id = ids.allocate().unwrap();
        slab.publish(id, image(1));
        ids.free(&slab, id);
        assert!(slab.spare_bytes() <= BOUND);
    }
    let full = BOUND / image(1).size_bytes() * image(1).size_bytes();
    assert!(drain(&slab, || slab.spare_bytes() == full), "{} of {full} bytes are kept", slab.spare_bytes());
    let spare = slab.spare_bytes() / image(1).size_bytes();
    let images: Vec<_> = (0..spare).map(|_| ids.copy_of(&slab, &image(2))).collect();
    assert_eq!(slab.spare_bytes(), 0);
    assert!(images.iter().all(|image| image.bytes() == [2; PAGE]));
    // Beyond what is spare, they are new.
    assert_eq!(ids.copy_of(&slab, &image(3)).bytes(), [3; PAGE]);
    assert_eq!(slab.spare_bytes(), 0);
}

#[test]
fn an_image_goes_round() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    let id = ids.allocate().unwrap();
    let first = image(1);
    let address = first.bytes().as_ptr();
    slab.publish(id, first);
    ids.free(&slab, id);
    assert!(drain(&slab, || slab.spare_bytes() > 0));
    assert_eq!(ids.copy_of(&slab, &image(2)).bytes().as_ptr(), address);
}

#[test]
fn a_pinned_image_is_never_used_again() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    let id = ids.allocate().unwrap();
    slab.publish(id, image(1));
    let pin = slab.pin(id, &EpochGuard::enter()).unwrap();
    ids.free(&slab, id);
    assert!(drain(&slab, || slab.spare_bytes() > 0));
    for _ in 0..10 {
        let next = ids.copy_of(&slab, &image(2));
        assert_ne!(next.bytes().as_ptr(), pin.bytes().as_ptr());
    }
    assert_eq!(slab.spare_bytes(), 0);
    assert_eq!(pin.bytes(), [1; PAGE]);
    assert_eq!(Arc::strong_count(&pin), 1, "the table keeps what somebody else holds");
}

#[test]
fn an_image_a_guard_may_see_is_not_used_again() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    let id = ids.allocate().unwrap();
    slab.publish(id, image(1));
    let guard = EpochGuard::enter();
    let Entry::Image(seen) = slab.get(id, &guard) else { panic!("the image is not there") };
    ids.free(&slab, id);
    for _ in 0..1_000 {
        slab.flush();
        let copy = ids.copy_of(&slab, &image(2));
        assert_ne!(copy.bytes().as_ptr(), seen.bytes().as_ptr());
    }
    assert_eq!(seen.bytes(), [1; PAGE]);
}

#[test]
fn nothing_of_a_page_is_left_in_the_next() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    let branch = || {
        let mut image = Image::with_words(vec![0xEE; PAGE].into_boxed_slice(), 1..30);
        image.set_replaces(bifold_page_source::PageId::new(77));
        image
    };
    let leaf = || Image::new(vec![5; PAGE].into_boxed_slice());
    let words = |image: &Image| -> Vec<u64> {
        image.words().iter().map(|w| w.load(bifold_page_source::sync::atomic::Ordering::Relaxed)).collect()
    };
    let used = |ids: &mut SlabWriter| {
        let id = ids.allocate().unwrap();
        slab.publish(id, Arc::new(branch()));
        ids.free(&slab, id);
        assert!(drain(&slab, || slab.spare_bytes() > 0));
    };
    used(&mut ids);
    let copy = ids.copy_of(&slab, &leaf());
    assert_eq!(slab.spare_bytes(), 0, "it is made of the spare one");
    assert_eq!((copy.bytes(), copy.replaces()), (&[5; PAGE][..], None));
    assert!(words(&copy).is_empty());
    assert!(!copy.has_room_for_words(), "a leaf keeps no memory of a branch's");

    used(&mut ids);
    let mut other = Image::with_words(vec![6; PAGE].into_boxed_slice(), [4, 3, 2]);
    other.set_replaces(bifold_page_source::PageId::new(9));
    let copy = ids.copy_of(&slab, &other);
    assert_eq!(slab.spare_bytes(), 0);
    assert_eq!((copy.bytes(), words(&copy)), (&[6; PAGE][..], vec![4, 3, 2]));
    assert_eq!(copy.replaces(), other.replaces());

    used(&mut ids);
    let fresh = ids.image_of(&slab, &[8; PAGE], true);
    assert_eq!(slab.spare_bytes(), 0);
    assert_eq!((fresh.bytes(), fresh.replaces()), (&[8; PAGE][..], None));
    assert!(words(&fresh).is_empty());
}

#[test]
fn large_values_are_not_kept() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    let id = ids.allocate().unwrap();
    let value = Arc::new(Image::new(vec![1; 2 * PAGE].into_boxed_slice()));
    let weak = Arc::downgrade(&value);
    slab.publish(id, value);
    ids.free(&slab, id);
    assert!(drain(&slab, || weak.strong_count() == 0));
    assert_eq!(slab.spare_bytes(), 0);
    assert_eq!(ids.copy_of(&slab, &Image::new(Box::from([3; 7]))).bytes(), [3; 7]);
}

#[test]
fn all_are_freed_with_the_table() {
    let slab = Slab::with_spares(PAGE, BOUND, 16 * BOUND);
    let mut ids = SlabWriter::new();
    let mut weak = Vec::new();
    for _ in 0..100 {
        let id = ids.allocate().unwrap();
        let image = image(1);
        weak.push(Arc::downgrade(&image));
        slab.publish(id, image);
        ids.free(&slab, id);
    }
    drop((slab, ids));
    let gone = || weak.iter().all(|image| image.strong_count() == 0);
    for _ in 0..100_000 {
        if gone() {
            break;
        }
        EpochGuard::enter().flush();
        std::thread::yield_now();
    }
    assert!(gone(), "an image leaked");
}

/// What the table says of its size decides when transactions spill, and so where pages lie.
#[test]
fn the_size_does_not_tell_what_an_image_was_made_of() {
    let size = |bound| {
        let slab = Slab::with_spares(PAGE, bound, 16 * BOUND);
        let mut ids = SlabWriter::new();
        for round in 1..200 {
            let id = ids.allocate().unwrap();
            let image = Image::with_words(vec![1; PAGE].into_boxed_slice(), 0..round % 50);
            let copy = ids.copy_of(&slab, &image);
            assert_eq!(copy.size_bytes(), image.size_bytes());
            slab.publish(id, copy);
            if round % 3 > 0 {
                ids.free(&slab, id);
            }
            slab.flush();
        }
        slab.image_bytes()
    };
    assert_eq!(size(0), size(BOUND));
}
