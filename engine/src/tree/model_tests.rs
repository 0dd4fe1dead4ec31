//! The tree against a `BTreeMap`: random changes on small pages, the shape checked after each.

use super::change::{Changes, Descriptors, TreeEdit};
use crate::delta::Slab;
use crate::node;
use crate::root::TreeRoot;
use crate::walk::Store;
use bifold_page_source::{FileSystem, MemFs, MemSource, PageSize, PageSource, SourceConfig};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn store(page_size: u32) -> Store<MemSource> {
    let page_size = PageSize::new(page_size).unwrap();
    let file = MemFs::new().create_new(Path::new("/db")).unwrap();
    let config = SourceConfig { page_size, file_id: 1, validate: node::validate };
    let source = MemSource::open(file, config, &Default::default()).unwrap();
    Store::new(source, Slab::new(), 1, page_size)
}

/// Walks the whole tree, checks fences, counts, levels and fill, and returns its entries.
pub(super) fn check(edit: &TreeEdit<'_, MemSource>, tree: &TreeRoot) -> Model {
    fn visit(
        edit: &TreeEdit<'_, MemSource>,
        word: crate::word::Word,
        level: u8,
        fences: (&[u8], Option<&[u8]>),
        out: &mut Model,
    ) -> u64 {
        let held = edit.walk().hold(word).unwrap();
        let node = held.node();
        assert_eq!(node.level(), level);
        let mut total = 0;
        if level == 0 {
            assert!(node.count() > 0, "an empty leaf stayed");
            for index in 0..node.count() {
                let key = node.key(index).unwrap();
                assert!(
                    key.as_slice() >= fences.0 && fences.1.is_none_or(|u| key.as_slice() < u),
                    "key outside fences"
                );
                let entry = node.entry(index).unwrap();
                out.insert(key, node.value(&entry).unwrap().to_vec());
            }
            return node.count() as u64;
        }
        assert!(node.count() > 1, "a branch with one child stayed");
        for index in 0..node.count() {
            let lower = if index == 0 { fences.0.to_vec() } else { node.key(index).unwrap() };
            let upper = if index + 1 < node.count() {
                Some(node.key(index + 1).unwrap())
            } else {
                fences.1.map(<[u8]>::to_vec)
            };
            let below = visit(edit, node.child(index).unwrap(), level - 1, (&lower, upper.as_deref()), out);
            assert_eq!(Some(below), node.count_below(index));
            total += below;
        }
        total
    }
    let mut out = Model::new();
    if !tree.word.is_null() {
        let total = visit(edit, tree.word, tree.height, (&[], None), &mut out);
        assert_eq!(total, tree.len);
    }
    assert_eq!(out.len() as u64, tree.len);
    out
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>, usize),
    Remove(Vec<u8>),
    Cut(Option<Vec<u8>>, Option<Vec<u8>>),
    Freeze,
}

/// Keys that share prefixes, empty ones, long ones.
pub(super) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(0u8..4, 0..6),
        2 => (0u32..500).prop_map(|n| n.to_be_bytes().to_vec()),
        2 => (0u32..200).prop_map(|n| format!("a long prefix that many keys share/{n:04}").into_bytes()),
        1 => (0u8..3, 90usize..=128).prop_map(|(b, n)| vec![b; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let bound = || prop::option::weighted(0.9, key());
    prop_oneof![
        12 => (key(), 0usize..100).prop_map(|(k, n)| { let n = n.min(128 - k.len()); Op::Insert(k, n) }),
        6 => key().prop_map(Op::Remove),
        1 => (bound(), bound()).prop_map(|(a, b)| Op::Cut(a, b)),
        1 => Just(Op::Freeze),
    ]
}

fn run(ops: &[Op]) {
    let store = store(512);
    let (mut descriptors, mut changes) = (Descriptors::default(), Changes::default());
    let mut edit = TreeEdit { store: &store, descriptors: &mut descriptors, changes: &mut changes };
    let (mut tree, mut model) = (TreeRoot::EMPTY, Model::new());
    for (step, op) in ops.iter().enumerate() {
        match op {
            Op::Insert(key, n) => {
                let value = vec![step as u8; *n];
                let was = edit.insert(&mut tree, key, &value, None).unwrap();
                assert_eq!(was, model.insert(key.clone(), value).is_some());
            }
            Op::Remove(key) => {
                assert_eq!(edit.remove(&mut tree, key).unwrap(), model.remove(key).is_some());
            }
            Op::Cut(from, to) => {
                let before = model.len();
                model.retain(|k, _| {
                    from.as_ref().is_some_and(|f| k < f) || to.as_ref().is_some_and(|t| k >= t)
                });
                let cut = edit.delete_range(&mut tree, from.as_deref(), to.as_deref()).unwrap();
                assert_eq!(cut, (before - model.len()) as u64);
            }
            Op::Freeze => {
                let mark = edit.changes.pages.mark();
                edit.changes.pages.freeze(mark);
            }
        }
        if step % 16 == 0 || matches!(op, Op::Cut(..)) {
            assert_eq!(check(&edit, &tree), model);
        }
    }
    assert_eq!(check(&edit, &tree), model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_a_sorted_map(ops in prop::collection::vec(op(), 1..800)) {
        run(&ops);
    }
}

/// Ordered loads leave pages full, in either direction and in the middle of other keys.
#[test]
fn ordered_loads_leave_full_pages() {
    let fill = |keys: &mut dyn Iterator<Item = u64>| {
        let store = store(4096);
        let (mut descriptors, mut changes) = (Descriptors::default(), Changes::default());
        let mut edit = TreeEdit { store: &store, descriptors: &mut descriptors, changes: &mut changes };
        let mut tree = TreeRoot::EMPTY;
        let mut bytes = 0;
        for n in keys {
            edit.insert(&mut tree, format!("{n:016}").as_bytes(), &[7; 100], None).unwrap();
            bytes += 116;
        }
        edit.changes.pages.bytes() as f64 / f64::from(bytes)
    };
    let up = fill(&mut (0..40_000));
    assert!(up < 1.1, "ascending: {up:.3} times the data");
    let middle = fill(
        &mut (0..100)
            .map(|n| n * 100_000)
            .chain((1..9).flat_map(|t| (1..5000).map(move |n| t * 1_000_000 + n))),
    );
    assert!(middle < 1.15, "runs in the middle: {middle:.3} times the data");
}

#[test]
fn deep_trees_shrink_to_nothing() {
    let keys: Vec<Vec<u8>> = (0..3000u32)
        .map(|n| format!("{:05}{}", n * 7919 % 3000, "x".repeat(n as usize % 90)).into_bytes())
        .collect();
    let mut ops: Vec<Op> = keys.iter().map(|k| Op::Insert(k.clone(), 20)).collect();
    ops.extend(keys.iter().rev().map(|k| Op::Remove(k.clone())));
    run(&ops);
}
