//! Trees built bottom-up and put behind others, against a `BTreeMap`; the shape is checked, and every key found.
#![forbid(unsafe_code)]

use super::bulk::{Builder, PageSink};
use super::change::{Changes, Descriptors, TreeEdit};
use super::get;
use super::model_tests::{Model, check, key, store};
use crate::checkpoint::write::write_pages;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::root::TreeRoot;
use crate::walk::Store;
use bifold_page_source::{MemSource, PageId, PageRef, PageSource, PageWrite, seal_page};
use proptest::prelude::*;

/// Writes each page at the file's end.
struct Sink<'a> {
    store: &'a Store<MemSource>,
    /// Pages of each level, and bytes used in them.
    written: Vec<(u64, usize)>,
}

impl<'a> Sink<'a> {
    fn new(store: &'a Store<MemSource>) -> Self {
        Self { store, written: Vec::new() }
    }
}

impl PageSink for Sink<'_> {
    fn page(&mut self, level: u8, bytes: &[u8]) -> Result<PageRef> {
        let source = &self.store.source;
        let at = source.len_pages().max(64);
        source.grow(at + 1)?;
        let mut bytes = bytes.to_vec();
        crate::node::validate(&bytes).unwrap();
        let home = seal_page(self.store.file_id, PageId::new(at).unwrap(), &mut bytes);
        write_pages(self.store, &[PageWrite { at: home, replaces: None, bytes: &bytes }])?;
        let level = usize::from(level);
        self.written.resize(self.written.len().max(level + 1), (0, 0));
        self.written[level].0 += 1;
        self.written[level].1 += Node::file(&bytes).used();
        Ok(home)
    }
}

fn build(sink: &mut Sink<'_>, entries: &[(Vec<u8>, Vec<u8>)]) -> TreeRoot {
    let mut builder = Builder::new(sink.store.page_size.bytes(), 0);
    for (key, value) in entries {
        builder.push(sink, key, value, None).unwrap();
    }
    builder.finish(sink).unwrap()
}

/// Every key is found by a descent, and those that are not there are not.
fn all_found(edit: &TreeEdit<'_, MemSource>, tree: &TreeRoot, model: &Model) {
    for (index, (key, value)) in model.iter().enumerate() {
        let (leaf, at) = get::get(&mut edit.walk(), tree, key).unwrap().unwrap();
        let node = leaf.node();
        assert_eq!(node.value(&node.entry(at).unwrap()).unwrap(), value);
        let (leaf, at) = get::nth(&mut edit.walk(), tree, index as u64).unwrap().unwrap();
        assert_eq!(leaf.node().key(at).unwrap(), *key);
        let mut behind = key.clone();
        behind.push(0);
        let found = get::get(&mut edit.walk(), tree, &behind).unwrap().is_some();
        assert_eq!(found, model.contains_key(&behind));
    }
}

fn entries(
    keys: impl IntoIterator<Item = Vec<u8>>,
    value: impl Fn(usize) -> usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys = keys.into_iter().enumerate();
    keys.map(|(i, key)| {
        let len = value(i).min(128usize.saturating_sub(key.len()));
        (key, vec![i as u8; len])
    })
    .collect()
}

/// Builds `entries` in parts that end at `cuts`, each behind what is there; the first `plain` are inserted.
fn run(all: &[(Vec<u8>, Vec<u8>)], plain: usize, cuts: &[usize]) {
    let store = store(512);
    let (mut descriptors, mut changes) = (Descriptors::default(), Changes::default());
    let mut edit = TreeEdit { store: &store, descriptors: &mut descriptors, changes: &mut changes };
    let mut sink = Sink::new(&store);
    let (mut tree, mut model) = (TreeRoot::EMPTY, Model::new());
    let plain = plain.min(all.len());
    for (key, value) in &all[..plain] {
        edit.insert(&mut tree, key, value, None).unwrap();
    }
    model.extend(all[..plain].iter().cloned());
    let mut from = plain;
    for cut in cuts.iter().copied().chain([all.len()]) {
        let part = &all[from..cut.clamp(from, all.len())];
        from += part.len();
        let Some((first, _)) = part.first() else { continue };
        let more = build(&mut sink, part);
        assert_eq!(check(&edit, &more).len(), part.len());
        edit.append_tree(&mut tree, more, first).unwrap();
        model.extend(part.iter().cloned());
        assert!(check(&edit, &tree) == model);
    }
    all_found(&edit, &tree, &model);
    let before = tree;
    if let Some((last, _)) = model.last_key_value() {
        let error = edit.append_tree(&mut tree, before, last).unwrap_err();
        assert!(matches!(error, Error::NotInOrder));
        assert_eq!(tree, before);
    }
    // What was built is a tree as any other: it can be changed, from both ends and in the middle.
    for (i, (key, value)) in all.iter().enumerate() {
        match i % 4 {
            0 => assert!(edit.remove(&mut tree, key).unwrap()),
            1 => drop(edit.insert(&mut tree, key, &[9; 3], None).unwrap()),
            2 if key.len() < 128 => {
                let more = [key.as_slice(), &[0]].concat();
                edit.insert(&mut tree, &more, &value[..value.len().min(128 - more.len())], None).unwrap();
                model.insert(more.clone(), value[..value.len().min(128 - more.len())].to_vec());
            }
            _ => {}
        }
        match i % 4 {
            0 => drop(model.remove(key)),
            1 => drop(model.insert(key.clone(), vec![9; 3])),
            _ => {}
        }
    }
    assert!(check(&edit, &tree) == model);
    all_found(&edit, &tree, &model);
    for key in model.keys() {
        assert!(edit.remove(&mut tree, key).unwrap());
    }
    assert_eq!(tree, TreeRoot::EMPTY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_and_appended_is_a_sorted_map(
        keys in prop::collection::btree_set(key(), 0..400),
        lens in prop::collection::vec(0usize..128, 1..50),
        plain in prop_oneof![Just(0usize), 0usize..200],
        mut cuts in prop::collection::vec(0usize..400, 0..5),
    ) {
        cuts.sort_unstable();
        let all = entries(keys, |i| lens[i % lens.len()]);
        run(&all, plain, &cuts);
    }
}

#[test]
fn every_size_from_nothing_on() {
    for count in (0..200).chain((200..3000).step_by(307)) {
        let keys = (0..count).map(|n| format!("some/prefix/{n:06}").into_bytes());
        run(&entries(keys, |i| i % 40), 0, &[count / 2]);
    }
}

/// Old trees lower than, as high as, and higher than what is put behind them, with the longest keys.
#[test]
fn trees_of_all_heights_are_joined() {
    for (old, new) in [(1, 2000), (30, 2000), (500, 500), (2000, 500), (2000, 30), (2000, 1)] {
        let keys = (0..old + new).map(|n| format!("{n:06}{}", "x".repeat(n % 123)).into_bytes());
        let all = entries(keys, |i| i % 30);
        run(&all, old, &[]);
        run(&all, 0, &[old]);
        run(&all, 0, &[old, old + new / 3, old + new / 2]);
    }
}

#[test]
fn built_pages_are_full() {
    let store = store(4096);
    let mut sink = Sink::new(&store);
    let keys = (0..100_000u64).map(|n| format!("{n:016}").into_bytes());
    let all: Vec<_> = keys.map(|key| (key, vec![7; 100])).collect();
    let tree = build(&mut sink, &all);
    assert_eq!((tree.len, tree.extents), (100_000, false));
    let pages: u64 = sink.written.iter().map(|(pages, _)| pages).sum();
    let times = (pages * 4096) as f64 / (100_000.0 * 116.0);
    println!("{times:.4} times the data, {:?}", sink.written);
    assert!(times < 1.08, "{times:.4} times the data");
}
