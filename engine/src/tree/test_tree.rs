//! Trees built by hand for tests: on file, in the delta, or half and half, in pages of 512 bytes.
#![forbid(unsafe_code)]

use crate::delta::{Image, Slab, SlabWriter};
use crate::extent;
use crate::node::{Items, NodeMut, inline_max, pack, validate};
use crate::root::TreeRoot;
use crate::value::Large;
use crate::walk::Store;
use crate::word::Word;
use bifold_page_source::{
    File, FileSystem, MemFs, MemSource, PageId, PageSize, PageSource, SourceConfig, seal_page,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const SIZE: PageSize = PageSize::MIN;
pub(crate) const PAGE: usize = SIZE.bytes();
pub(crate) const FILE_ID: u64 = 0xB1F0_1D00;
const BIRTH: u64 = 3;

pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Where a tree's pages are put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placing {
    File,
    Delta,
    /// Every third leaf in the delta, with all above it.
    Mixed,
}

/// Trees in the making.
pub(crate) struct Forest {
    bytes: Vec<u8>,
    slab: Slab,
    ids: SlabWriter,
}

/// Finished trees: what they lie in.
pub(crate) struct Grown {
    pub(crate) store: Store<MemSource>,
    /// The file, to damage it: a page once read is not read again.
    pub(crate) file: Arc<dyn File>,
}

impl Forest {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; PAGE], slab: Slab::new(), ids: SlabWriter::new() }
    }

    /// Builds the tree of `map`. Leaves for whose number `emptied` says so lose their entries, and so does `map`.
    pub(crate) fn add(
        &mut self,
        map: &mut Map,
        placing: Placing,
        emptied: impl Fn(usize) -> bool,
    ) -> TreeRoot {
        if map.is_empty() {
            return TreeRoot::EMPTY;
        }
        let mut items = self.items_of(map, placing);
        let mut level = 0;
        let mut below: Vec<bool> = Vec::new();
        loop {
            let pages = pack(&items, level, PAGE, None, None, None).unwrap();
            let mut parents = Items::default();
            let mut in_delta = Vec::new();
            let (mut totals, mut last) = ((0, false), None);
            for (number, packing) in pages.iter().enumerate() {
                let (mut bytes, mut words) = items.build(packing, level, BIRTH, PAGE);
                totals = items.totals(packing.range.clone(), level);
                if level == 0 && emptied(number) {
                    for index in packing.range.clone() {
                        NodeMut::new(&mut bytes, &mut words).remove(0).unwrap();
                        map.remove(items.key(index));
                    }
                    totals = (0, false);
                }
                let to_delta = match placing {
                    Placing::File => false,
                    Placing::Delta => true,
                    Placing::Mixed if level == 0 => number % 3 == 0,
                    Placing::Mixed => packing.range.clone().any(|child| below[child]),
                };
                let word = self.place(bytes, words, to_delta);
                last = Some(word);
                let lower = packing.lower.as_deref().unwrap_or_default();
                parents.insert_child(number, lower, word, totals.0, totals.1);
                in_delta.push(to_delta);
            }
            if let [_] = pages[..] {
                let word = last.unwrap();
                return TreeRoot { word, height: level, len: totals.0, extents: totals.1 };
            }
            (items, below) = (parents, in_delta);
            level += 1;
        }
    }

    fn items_of(&mut self, map: &Map, placing: Placing) -> Items {
        let mut items = Items::default();
        for (index, (key, value)) in map.iter().enumerate() {
            if key.len() + value.len() <= inline_max(SIZE) {
                items.insert_entry(index, key, value, None);
            } else {
                let word = self.place_large(value, placing);
                items.insert_entry(index, key, &Large::payload(value.len() as u64, BIRTH), Some(word));
            }
        }
        items
    }

    fn place_large(&mut self, value: &[u8], placing: Placing) -> Word {
        if placing == Placing::Delta {
            return self.place_image(Image::new(value.into()));
        }
        let (header, at) = extent::build_header(FILE_ID, self.next(), BIRTH, value, SIZE).unwrap();
        self.bytes.extend(header);
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE), 0);
        Word::file(at)
    }

    fn place(&mut self, mut bytes: Vec<u8>, mut words: Vec<AtomicU64>, to_delta: bool) -> Word {
        if to_delta {
            let words = words.into_iter().map(|word| word.load(Ordering::Relaxed));
            return self.place_image(Image::with_words(bytes.into(), words));
        }
        NodeMut::new(&mut bytes, &mut words).settle(&mut |word| Some(word)).unwrap();
        let at = seal_page(FILE_ID, self.next(), &mut bytes);
        self.bytes.extend(bytes);
        Word::file(at)
    }

    /// Gives a page bytes of a test's own making.
    pub(crate) fn craft(&mut self, mut bytes: Vec<u8>) -> Word {
        let at = seal_page(FILE_ID, self.next(), &mut bytes);
        self.bytes.extend(bytes);
        Word::file(at)
    }

    /// The bytes of a page that lies on file.
    pub(crate) fn page(&self, number: u64) -> &[u8] {
        &self.bytes[number as usize * PAGE..][..PAGE]
    }

    fn place_image(&mut self, image: Image) -> Word {
        let id = self.ids.allocate().unwrap();
        self.slab.publish(id, Arc::new(image));
        Word::delta(id)
    }

    /// The number of the next page.
    pub(crate) fn next(&self) -> PageId {
        PageId::new((self.bytes.len() / PAGE) as u64).unwrap()
    }

    pub(crate) fn open(self) -> Grown {
        let fs = MemFs::new();
        let file = fs.create_new(Path::new("db")).unwrap();
        file.write_at(&self.bytes, 0).unwrap();
        let config = SourceConfig { page_size: SIZE, file_id: FILE_ID, validate };
        let source = MemSource::open(Arc::clone(&file), config, &()).unwrap();
        Grown { store: Store::new(source, self.slab, FILE_ID, SIZE), file }
    }
}

/// One tree alone.
pub(crate) fn grow(map: &mut Map, placing: Placing, emptied: impl Fn(usize) -> bool) -> (Grown, TreeRoot) {
    let mut forest = Forest::new();
    let root = forest.add(map, placing, emptied);
    (forest.open(), root)
}

/// A map of `count` entries whose keys differ near their ends.
pub(crate) fn numbered(count: usize) -> Map {
    (0..count).map(|i| (format!("some/prefix/{i:06}").into_bytes(), vec![i as u8; i % 40])).collect()
}
