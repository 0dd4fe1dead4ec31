//! The read side against `BTreeMap`, on trees in every kind of place, whole and damaged.
#![forbid(unsafe_code)]

use super::access::{Access, ReadAccess};
use super::cursor::Cursor;
use super::gap::Gap;
use super::get;
use super::get_many::get_many;
use super::scan::{Scan, prefix_upper};
use super::test_tree::{Forest, Grown, Map, PAGE, Placing, grow, numbered};
use crate::error::{Error, Result};
use crate::root::TreeRoot;
use crate::value::Value;
use crate::walk::{Store, Walk};
use crate::word::{Target, Word};
use bifold_page_source::MemSource;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Bound;

type Entry = (Vec<u8>, Vec<u8>);

fn access<'t>(grown: &'t Grown, root: &TreeRoot) -> ReadAccess<'t, MemSource> {
    ReadAccess::new(&grown.store, *root)
}

fn owned(entry: Option<(&[u8], &[u8])>) -> Option<Entry> {
    entry.map(|(key, value)| (key.to_vec(), value.to_vec()))
}

fn item(item: Result<(Vec<u8>, Value<'_, MemSource>)>) -> Result<Entry> {
    item.map(|(key, value)| (key, value.to_vec()))
}

/// Keys that share prefixes, one of them empty, some as long as they may be.
fn a_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(0u8..3, 0..8),
        2 => prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..5),
        1 => prop::collection::vec(0u8..2, 3).prop_map(|head| {
            let mut key = vec![7; 125];
            key.extend(head);
            key
        }),
    ]
}

fn a_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        8 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (130usize..1500).prop_map(|len| vec![len as u8; len]),
    ]
}

fn a_map() -> impl Strategy<Value = Map> {
    prop::collection::btree_map(a_key(), a_value(), 0..160)
}

fn a_placing() -> impl Strategy<Value = Placing> {
    prop_oneof![Just(Placing::File), Just(Placing::Delta), Just(Placing::Mixed)]
}

fn a_bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), a_key().prop_map(Bound::Included), a_key().prop_map(Bound::Excluded),]
}

/// Entries of a range, where `BTreeMap::range` would panic as well.
fn in_range(map: &Map, lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> VecDeque<Entry> {
    let above = |key: &Vec<u8>| match lower {
        Bound::Included(l) => key >= l,
        Bound::Excluded(l) => key > l,
        Bound::Unbounded => true,
    };
    let below = |key: &Vec<u8>| match upper {
        Bound::Included(u) => key <= u,
        Bound::Excluded(u) => key < u,
        Bound::Unbounded => true,
    };
    map.iter().filter(|(k, _)| above(k) && below(k)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[derive(Clone, Debug)]
enum Move {
    Next,
    Prev,
    First,
    Last,
    Seek(Vec<u8>),
    SeekExact(Vec<u8>),
    Current,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => Just(Move::Next),
        8 => Just(Move::Prev),
        1 => Just(Move::First),
        1 => Just(Move::Last),
        2 => a_key().prop_map(Move::Seek),
        2 => a_key().prop_map(Move::SeekExact),
        1 => Just(Move::Current),
    ]
}

/// A cursor over a sorted vector: on an entry, or in the gap before one.
struct Model {
    entries: Vec<Entry>,
    place: Option<(usize, bool)>,
}

impl Model {
    fn at(&mut self, index: Option<usize>) -> Option<Entry> {
        let index = index?;
        let entry = self.entries.get(index)?.clone();
        self.place = Some((index, true));
        Some(entry)
    }

    fn next(&mut self) -> Option<Entry> {
        let (index, on) = self.place.unwrap_or((0, false));
        self.place = Some((self.entries.len(), false));
        self.at(Some(index + usize::from(on)))
    }

    fn prev(&mut self) -> Option<Entry> {
        let (index, _) = self.place.unwrap_or((self.entries.len(), false));
        self.place = Some((0, false));
        self.at(index.checked_sub(1))
    }

    fn seek(&mut self, key: &[u8]) -> Option<Entry> {
        self.place = Some((self.entries.partition_point(|(k, _)| &k[..] < key), false));
        self.next()
    }

    fn seek_exact(&mut self, key: &[u8]) -> Option<Entry> {
        match self.entries.binary_search_by(|(k, _)| k[..].cmp(key)) {
            Ok(index) => self.at(Some(index)),
            Err(index) => {
                self.place = Some((index, false));
                None
            }
        }
    }

    fn play(&mut self, step: &Move) -> Option<Entry> {
        match step {
            Move::Next => self.next(),
            Move::Prev => self.prev(),
            Move::First => {
                self.place = Some((0, false));
                self.next()
            }
            Move::Last => {
                self.place = Some((self.entries.len(), false));
                self.prev()
            }
            Move::Seek(key) => self.seek(key),
            Move::SeekExact(key) => self.seek_exact(key),
            Move::Current => match self.place {
                Some((index, true)) => self.at(Some(index)),
                _ => None,
            },
        }
    }
}

fn play<'t, A: Access<'t, MemSource>>(
    cursor: &mut Cursor<'t, MemSource, A>,
    step: &Move,
) -> Result<Option<Entry>> {
    Ok(match step {
        Move::Next => owned(cursor.next()?),
        Move::Prev => owned(cursor.prev()?),
        Move::First => owned(cursor.first()?),
        Move::Last => owned(cursor.last()?),
        Move::Seek(key) => owned(cursor.seek(key)?),
        Move::SeekExact(key) => {
            let value = cursor.seek_exact(key)?.map(<[u8]>::to_vec);
            value.map(|value| (key.clone(), value))
        }
        Move::Current => owned(cursor.current()?),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn lookups_and_numbers_are_those_of_a_map(
        mut map in a_map(), placing in a_placing(), probes in prop::collection::vec(a_key(), 1..40), empty in 2usize..9,
    ) {
        let (grown, root) = grow(&mut map, placing, |leaf| leaf % empty == 1);
        let root = TreeRoot { len: map.len() as u64, ..root };
        let access = access(&grown, &root);
        let probes: Vec<_> = probes.iter().chain(map.keys()).cloned().collect();
        let many = get_many(&access, &probes).unwrap();
        prop_assert_eq!(many.len(), probes.len());
        for (key, many) in probes.iter().zip(&many) {
            let found = access.with(|walk| get::get(walk, &root, key)).unwrap();
            let value = found.map(|(leaf, index)| Value::of_entry(&access, leaf, index).unwrap());
            prop_assert_eq!(value.as_deref(), map.get(key).map(Vec::as_slice));
            prop_assert_eq!(many, &value);
            for (gap, expected) in [
                (Gap::Before(key), map.range(..key.clone()).count()),
                (Gap::After(key), map.range(..=key.clone()).count()),
            ] {
                prop_assert_eq!(access.with(|walk| get::rank(walk, &root, gap)).unwrap(), expected as u64);
            }
        }
        let key_of = |found: Option<get::Found<'_, _>>| found.map(|(leaf, at)| leaf.node().key(at).unwrap());
        for (n, key) in map.keys().map(Some).chain([None]).enumerate() {
            let found = access.with(|walk| get::nth(walk, &root, n as u64)).unwrap();
            prop_assert_eq!(key_of(found), key.cloned());
        }
        let first = access.with(|walk| get::first(walk, &root)).unwrap();
        let last = access.with(|walk| get::last(walk, &root)).unwrap();
        prop_assert_eq!(key_of(first), map.keys().next().cloned());
        prop_assert_eq!(key_of(last), map.keys().next_back().cloned());
    }

    #[test]
    fn a_cursor_moves_as_over_a_sorted_vector(
        mut map in a_map(), placing in a_placing(), steps in prop::collection::vec(a_move(), 1..120), empty in 2usize..9,
    ) {
        let (grown, root) = grow(&mut map, placing, |leaf| leaf % empty == 1);
        let mut cursor = Cursor::new(access(&grown, &root));
        let mut model = Model { entries: map.into_iter().collect(), place: None };
        for step in &steps {
            let expected = model.play(step);
            prop_assert_eq!(&play(&mut cursor, step).unwrap(), &expected, "{:?}", step);
            let on = matches!(model.place, Some((_, true)));
            prop_assert_eq!(cursor.key().is_some(), on);
            let value = cursor.value().unwrap();
            prop_assert_eq!(value.is_some(), on);
            if let (Some(value), Some((_, expected))) = (value, expected) {
                prop_assert_eq!(value, expected);
            }
        }
    }

    #[test]
    fn a_scan_gives_the_entries_of_its_range_once_from_both_ends(
        mut map in a_map(), placing in a_placing(), lower in a_bound(), upper in a_bound(),
        ends in prop::collection::vec(any::<bool>(), 170), empty in 2usize..9,
    ) {
        let (grown, root) = grow(&mut map, placing, |leaf| leaf % empty == 1);
        let root = TreeRoot { len: map.len() as u64, ..root };
        let access = access(&grown, &root);
        let mut expected = in_range(&map, &lower, &upper);
        let counted = access.with(|walk| {
            get::count_range(walk, &root, Gap::lower(lower.as_ref()), Gap::upper(upper.as_ref()))
        });
        prop_assert_eq!(counted.unwrap(), expected.len() as u64);
        let all: Result<Vec<_>> = Scan::new(access, lower.clone(), upper.clone()).map(item).collect();
        prop_assert_eq!(&all.unwrap(), &Vec::from(expected.clone()));
        let back: Result<Vec<_>> = Scan::new(access, lower.clone(), upper.clone()).keys().rev().collect();
        prop_assert!(back.unwrap().iter().eq(expected.iter().rev().map(|(key, _)| key)));
        let mut scan = Scan::new(access, lower, upper);
        for front in ends {
            let (given, due) = if front {
                (scan.next(), expected.pop_front())
            } else {
                (scan.next_back(), expected.pop_back())
            };
            prop_assert_eq!(given.map(|i| item(i).unwrap()), due);
        }
        prop_assert!(scan.next().is_none() && scan.next_back().is_none());
    }

    #[test]
    fn a_prefix_ends_where_its_last_key_does(prefix in a_key(), key in a_key()) {
        let below = match prefix_upper(&prefix) {
            Bound::Excluded(upper) => key < upper,
            _ => true,
        };
        prop_assert_eq!(key >= prefix && below, key.starts_with(&prefix));
    }

    /// A table that changes between steps: the cursor goes on from its key.
    #[test]
    fn a_cursor_finds_its_place_again_when_the_tree_has_changed(
        mut maps in prop::collection::vec(a_map(), 2..4), placing in a_placing(),
        steps in prop::collection::vec((a_move(), any::<prop::sample::Index>()), 1..80),
    ) {
        let mut forest = Forest::new();
        let roots: Vec<_> = maps.iter_mut().map(|map| forest.add(map, placing, |_| false)).collect();
        let grown = forest.open();
        let moving = Moving::new(&grown.store, roots[0]);
        let mut cursor = Cursor::new(&moving);
        let mut model = Anchored { at: Anchor::Fresh };
        for (step, which) in &steps {
            let which = which.index(roots.len());
            moving.change(roots[which]);
            let expected = model.play(&maps[which], step);
            prop_assert_eq!(play(&mut cursor, step).unwrap(), expected, "{:?} in tree {}", step, which);
        }
    }
}

/// Stands in for a write transaction: the tree is another one after each change.
struct Moving<'t> {
    store: &'t Store<MemSource>,
    root: Cell<TreeRoot>,
    version: Cell<u64>,
}

impl<'t> Moving<'t> {
    fn new(store: &'t Store<MemSource>, root: TreeRoot) -> Self {
        Self { store, root: Cell::new(root), version: Cell::new(1) }
    }

    fn change(&self, root: TreeRoot) {
        if self.root.get() != root {
            self.root.set(root);
            self.version.set(self.version.get() + 1);
        }
    }
}

impl<'t> Access<'t, MemSource> for &Moving<'t> {
    fn with<R>(&self, f: impl FnOnce(&mut Walk<'_, 't, MemSource>) -> R) -> R {
        f(&mut Walk::new(self.store, None))
    }

    fn store(&self) -> &'t Store<MemSource> {
        self.store
    }

    fn root(&self) -> Result<TreeRoot> {
        Ok(self.root.get())
    }

    fn version(&self) -> u64 {
        self.version.get()
    }
}

/// A cursor that remembers nothing but a key.
struct Anchored {
    at: Anchor,
}

#[derive(Clone)]
enum Anchor {
    Fresh,
    Start,
    Before(Vec<u8>),
    On(Vec<u8>),
    After(Vec<u8>),
    End,
}

impl Anchored {
    fn settle(&mut self, entry: Option<(&Vec<u8>, &Vec<u8>)>, none: Anchor) -> Option<Entry> {
        self.at = entry.map_or(none, |(key, _)| Anchor::On(key.clone()));
        entry.map(|(key, value)| (key.clone(), value.clone()))
    }

    fn next(&mut self, map: &Map) -> Option<Entry> {
        let (found, none) = match self.at.clone() {
            Anchor::Fresh | Anchor::Start => (map.iter().next(), Anchor::Start),
            Anchor::Before(key) => (map.range(key.clone()..).next(), Anchor::Before(key)),
            Anchor::On(key) if !map.contains_key(&key) => {
                (map.range(key.clone()..).next(), Anchor::Before(key))
            }
            Anchor::On(key) | Anchor::After(key) => {
                (map.range((Bound::Excluded(key.clone()), Bound::Unbounded)).next(), Anchor::After(key))
            }
            Anchor::End => (None, Anchor::End),
        };
        self.settle(found, none)
    }

    fn prev(&mut self, map: &Map) -> Option<Entry> {
        let (found, none) = match self.at.clone() {
            Anchor::Start => (None, Anchor::Start),
            Anchor::Before(key) | Anchor::On(key) => {
                (map.range(..key.clone()).next_back(), Anchor::Before(key))
            }
            Anchor::After(key) => (map.range(..=key.clone()).next_back(), Anchor::After(key)),
            Anchor::Fresh | Anchor::End => (map.iter().next_back(), Anchor::End),
        };
        self.settle(found, none)
    }

    fn play(&mut self, map: &Map, step: &Move) -> Option<Entry> {
        match step {
            Move::Next => self.next(map),
            Move::Prev => self.prev(map),
            Move::First => {
                self.at = Anchor::Start;
                self.next(map)
            }
            Move::Last => {
                self.at = Anchor::End;
                self.prev(map)
            }
            Move::Seek(key) => {
                self.at = Anchor::Before(key.clone());
                self.next(map)
            }
            Move::SeekExact(key) => {
                self.at = Anchor::Before(key.clone());
                if map.contains_key(key) { self.next(map) } else { None }
            }
            Move::Current => match self.at.clone() {
                Anchor::On(key) => {
                    let entry = map.get_key_value(&key);
                    self.settle(entry, Anchor::Before(key))
                }
                _ => None,
            },
        }
    }
}

#[test]
fn everything_works_on_an_empty_tree() {
    let (grown, root) = grow(&mut Map::new(), Placing::File, |_| false);
    let access = access(&grown, &root);
    let mut cursor = Cursor::new(access);
    assert!(cursor.next().unwrap().is_none() && cursor.prev().unwrap().is_none());
    assert!(cursor.last().unwrap().is_none() && cursor.seek("x").unwrap().is_none());
    assert_eq!(Scan::new(access, Bound::Unbounded, Bound::Unbounded).count(), 0);
    assert_eq!(Scan::new(access, Bound::Unbounded, Bound::Unbounded).rev().count(), 0);
    assert_eq!(get_many(&access, &["a", "b"]).unwrap(), [None, None]);
    access.with(|walk| {
        assert_eq!(get::rank(walk, &root, Gap::After(b"x")).unwrap(), 0);
        assert!(get::nth(walk, &root, 0).unwrap().is_none());
    });
}

#[test]
fn a_table_of_empty_leaves_has_no_entries() {
    let mut map = numbered(200);
    let (grown, root) = grow(&mut map, Placing::Mixed, |_| true);
    assert!(map.is_empty() && root.height > 0);
    let mut cursor = Cursor::new(access(&grown, &root));
    assert!(cursor.next().unwrap().is_none() && cursor.prev().unwrap().is_none());
    assert!(cursor.seek("some/prefix/000100").unwrap().is_none() && cursor.prev().unwrap().is_none());
}

/// A page's number, its bytes on file, with one bit turned.
fn flip(grown: &Grown, page: u64) {
    let offset = page * PAGE as u64 + 300;
    let mut byte = [0];
    grown.file.read_at(&mut byte, offset).unwrap();
    grown.file.write_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn a_damaged_page_ends_a_scan_with_one_error_and_nothing_is_skipped() {
    let mut map = numbered(400);
    let mut forest = Forest::new();
    forest.add(&mut map, Placing::File, |_| false);
    let pages = forest.next().get();
    assert!(pages > 20, "the tree has several levels");
    let entries: Vec<_> = map.clone().into_iter().collect();
    for page in 1..pages {
        for forward in [true, false] {
            let (grown, root) = grow(&mut map, Placing::File, |_| false);
            assert!(root.height >= 2);
            flip(&grown, page);
            let mut scan = Scan::new(access(&grown, &root), Bound::Unbounded, Bound::Unbounded);
            let mut seen = 0;
            let error = loop {
                match if forward { scan.next() } else { scan.next_back() } {
                    Some(Ok((key, value))) => {
                        let at = if forward { seen } else { entries.len() - 1 - seen };
                        assert_eq!((&key, &value.to_vec()), (&entries[at].0, &entries[at].1));
                        seen += 1;
                    }
                    Some(Err(error)) => break error,
                    None => panic!("page {page} is damaged and nobody noticed"),
                }
            };
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
            assert!(scan.next().is_none() && scan.next_back().is_none());
            assert!(get_many(&access(&grown, &root), &map.keys().collect::<Vec<_>>()).is_err());
        }
    }
}

#[test]
fn a_cursor_stays_failed_until_it_is_sent_elsewhere() {
    let mut map = numbered(300);
    let (grown, root) = grow(&mut map, Placing::File, |_| false);
    // Pages are written in the order of keys, so this is the third leaf.
    flip(&grown, 3);
    let mut cursor = Cursor::new(access(&grown, &root));
    let first_error = loop {
        match cursor.next() {
            Ok(entry) => assert!(entry.is_some()),
            Err(error) => break error.to_string(),
        }
    };
    for _ in 0..3 {
        assert_eq!(cursor.next().unwrap_err().to_string(), first_error);
        assert_eq!(cursor.prev().unwrap_err().to_string(), first_error);
        assert_eq!(cursor.current().unwrap_err().to_string(), first_error);
        assert!(cursor.key().is_none());
    }
    assert_eq!(cursor.first().unwrap().unwrap().0, map.keys().next().unwrap());
    assert_eq!(cursor.last().unwrap().unwrap().0, map.keys().next_back().unwrap());
}

#[test]
fn a_damaged_large_value_fails_its_reader_alone() {
    let mut map = numbered(30);
    let key = b"some/prefix/000011x".to_vec();
    map.insert(key.clone(), vec![5; 900]);
    let (grown, root) = grow(&mut map, Placing::File, |_| false);
    // The extent is the first thing on file: its header, then its data.
    flip(&grown, 2);
    let access = access(&grown, &root);
    let scanned: Vec<_> = Scan::new(access, Bound::Unbounded, Bound::Unbounded).collect();
    assert_eq!(scanned.len(), 13);
    assert!(scanned[12].is_err() && scanned[..12].iter().all(Result::is_ok));
    assert_eq!(Scan::new(access, Bound::Unbounded, Bound::Unbounded).keys().flatten().count(), 31);
    let mut cursor = Cursor::new(access);
    assert!(cursor.seek_exact(&key).is_err());
    assert!(cursor.next().is_err());
    assert!(cursor.seek(b"some/prefix/000012").unwrap().is_some());
}

#[test]
fn a_root_of_the_wrong_height_is_damage() {
    for placing in [Placing::File, Placing::Mixed] {
        let mut map = numbered(300);
        let (grown, root) = grow(&mut map, placing, |_| false);
        for height in [0, root.height - 1, root.height + 1, u8::MAX] {
            let wrong = TreeRoot { height, ..root };
            let access = access(&grown, &wrong);
            assert!(Cursor::new(access).next().is_err());
            assert!(Cursor::new(access).prev().is_err());
            assert!(Cursor::new(access).seek("some").is_err());
            assert!(get_many(&access, &["a"]).is_err());
            access.with(|walk| {
                assert!(get::rank(walk, &wrong, Gap::Before(b"some")).is_err());
                assert!(get::nth(walk, &wrong, 7).is_err());
                assert!(get::last(walk, &wrong).is_err());
            });
        }
    }
}

#[test]
fn counts_that_do_not_add_up_are_damage() {
    let mut map = numbered(100);
    let mut forest = Forest::new();
    let root = forest.add(&mut map, Placing::File, |_| false);
    let Target::File(at) = root.word.target() else { panic!("the root is on file") };
    let bytes = forest.page(at.page().get()).to_vec();
    let children = usize::from(u16::from_le_bytes([bytes[24], bytes[25]]));
    let counts = 32 + 14 * children;
    let mut crafted = |count: u64| {
        let mut bytes = bytes.clone();
        bytes[counts..counts + 8].copy_from_slice(&count.to_le_bytes());
        TreeRoot { word: forest.craft(bytes), ..root }
    };
    let (fewer, more) = (crafted(1), crafted((1 << 63) - 1));
    let grown = forest.open();
    let last = map.keys().next_back().unwrap();
    ReadAccess::new(&grown.store, root).with(|walk| {
        assert!(get::nth(walk, &fewer, 99).is_err());
        assert!(get::nth(walk, &more, 60).is_err());
        assert!(get::rank(walk, &more, Gap::After(last)).is_err());
    });
}

/// Well formed each, but the child belongs elsewhere.
#[test]
fn a_leaf_whose_prefix_does_not_fit_is_damage() {
    let mut map = numbered(200);
    let mut forest = Forest::new();
    forest.add(&mut map, Placing::File, |_| false);
    // A leaf in the middle has a prefix; as a root it must not have one.
    let stray = forest.page(5).to_vec();
    let prefix = u16::from_le_bytes([stray[26], stray[27]]);
    assert!(prefix > 0 && stray[13] == 1);
    let root = TreeRoot { word: forest.craft(stray), height: 0, len: 9, extents: false };
    let grown = forest.open();
    let access = access(&grown, &root);
    assert!(access.with(|walk| get::get(walk, &root, b"other")).is_err());
    assert!(access.with(|walk| get::rank(walk, &root, Gap::Before(b""))).is_err());
    assert!(Cursor::new(access).seek(b"other").is_err());
    assert!(get_many(&access, &["other"]).is_err());
}

#[test]
fn references_that_lead_nowhere_are_errors() {
    let (grown, _) = grow(&mut numbered(3), Placing::File, |_| false);
    for word in [Word::delta(7), Word::from_bits(12), Word::from_bits(1 << 63 | 1 << 40)] {
        let root = TreeRoot { word, height: 1, len: 4, extents: false };
        let access = access(&grown, &root);
        assert!(Cursor::new(access).next().is_err());
        assert!(get_many(&access, &["a"]).is_err());
        assert!(access.with(|walk| get::nth(walk, &root, 0)).is_err());
    }
}

/// What a page got a place on file after the snapshot was taken looks like to it.
#[test]
fn pages_of_the_delta_are_followed_to_their_homes() {
    let mut map = numbered(200);
    map.insert(b"large".to_vec(), vec![3; 2000]);
    let mut forest = Forest::new();
    let on_file = forest.add(&mut map, Placing::File, |_| false);
    let in_delta = forest.add(&mut map, Placing::Delta, |_| false);
    let grown = forest.open();
    let (Target::File(home), Target::Delta(id)) = (on_file.word.target(), in_delta.word.target()) else {
        panic!("one tree is on file, the other in the delta")
    };
    let access = access(&grown, &in_delta);
    let mut cursor = Cursor::new(access);
    let key = cursor.next().unwrap().unwrap().0.to_vec();
    assert_eq!(Some(&key), map.keys().next());
    grown.store.slab.set_home(id, home.bits());
    grown.store.slab.retire_image(id);
    let mut seen = 1;
    while cursor.next().unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, map.len());
    let keys: Vec<_> = map.keys().collect();
    assert!(
        get_many(&access, &keys).unwrap().iter().zip(map.values()).all(|(a, b)| a.as_ref().unwrap() == b)
    );
}

#[test]
fn guards_cursors_and_scans_can_be_sent() {
    fn send<T: Send>(_: &T) {}
    fn sync<T: Sync>(_: &T) {}
    let (grown, root) = grow(&mut numbered(3), Placing::Mixed, |_| false);
    let access = access(&grown, &root);
    let mut cursor = Cursor::new(access);
    cursor.next().unwrap();
    let value = cursor.value().unwrap().unwrap();
    send(&value);
    sync(&value);
    send(&cursor);
    send(&Scan::new(access, Bound::Unbounded, Bound::Unbounded));
    assert_eq!(format!("{value:?}"), "b\"\"");
    assert_eq!(value, "");
    assert_eq!(value, [0u8; 0]);
}
