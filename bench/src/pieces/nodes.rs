//! The search in one page: a leaf and a branch, for keys that are there and keys that are not.
//!
//! The pages are those of a loaded file, 4 KiB each. The keys come in a random order, long enough that the processor
//! does not learn it.
#![forbid(unsafe_code)]

use super::pages::{file_pages, number_of_entries};
use super::world::{Conditions, Place, loaded_file};
use super::{Piece, Ring};
use crate::Result;
use crate::data::{Numbers, Seed};
use bifold::mmap;
use bifold::testing::{page_keys, search_page};
use std::hint::black_box;

/// Searches in a page.
#[derive(Debug)]
pub(super) struct Search {
    page: Vec<u8>,
    keys: Ring<Vec<u8>>,
    hit: bool,
}

/// Searches in a leaf.
pub(super) fn leaf(conditions: &Conditions, hit: bool) -> Result<Search> {
    let (page, keys) = fullest_page(conditions, 0)?;
    let absent = between(&keys, conditions.entries);
    Search::new(page, if hit { &keys } else { &absent }, hit)
}

/// Searches in a branch for the child to go to: a hit is a key that equals a separator, as few do.
pub(super) fn branch(conditions: &Conditions, hit: bool) -> Result<Search> {
    let (page, keys) = fullest_page(conditions, 1)?;
    // The first key stands for all that lies below the second.
    let separators = keys.get(1..).unwrap_or_default();
    let absent = between(separators, conditions.entries);
    Search::new(page, if hit { separators } else { &absent }, hit)
}

/// Keys that no entry has, but for `keys`'s first and last between them.
fn between(keys: &[Vec<u8>], entries: u64) -> Vec<Vec<u8>> {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Vec::new() };
    let absent = (entries..entries * 20).map(|number| Seed::new(number).key());
    absent.filter(|key| key[..] > first[..] && key[..] < last[..]).take(4096).map(Vec::from).collect()
}

/// The page of this level with the most entries, and its keys.
fn fullest_page(conditions: &Conditions, level: u8) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let place = Place::in_memory();
    let conditions = Conditions { steady: true, ..*conditions };
    loaded_file::<mmap::Source>(&conditions, &place)?;
    let pages = file_pages(&place, level)?;
    let fullest = pages.into_iter().map(|(_, bytes)| bytes).max_by_key(|bytes| number_of_entries(bytes));
    let page = fullest.ok_or("the file has no such page")?;
    let keys = page_keys(&page).ok_or("the page makes no sense")?;
    Ok((page, keys))
}

impl Search {
    fn new(page: Vec<u8>, keys: &[Vec<u8>], hit: bool) -> Result<Self> {
        let mut numbers = Numbers::new(1);
        let keys = if keys.is_empty() { &[][..] } else { keys };
        let order = (0..4096).filter_map(|_| keys.get(numbers.below(keys.len() as u64) as usize).cloned());
        Ok(Self { page, keys: Ring::new(order.collect())?, hit })
    }
}

impl Piece for Search {
    fn run(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            let found = search_page(black_box(&self.page), self.keys.next());
            if found.is_none_or(|found| found.is_ok() != self.hit) {
                return Err("the search gave another answer".into());
            }
        }
        Ok(())
    }
}
