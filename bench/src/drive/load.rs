//! Loading a corpus into a new store, and reading all that one holds.
#![forbid(unsafe_code)]

use super::reading::hex;
use super::{Driven, STEP_MS, Tally};
use crate::corpus::Corpus;
use crate::workload::Op;
use crate::{Order, Result, Store};
use std::cell::RefCell;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// Entries that are handed over at a time by the thread that makes them, and bytes from which on fewer are: they lie in
/// the memory that the store is to have.
const PART: usize = 1000;
const PART_BYTES: usize = 128 << 10;
/// Parts that may wait.
const PARTS: usize = 16;

type Entry = (Vec<u8>, Vec<u8>);

/// Loads all entries of `corpus` into `store`, which is empty, `per_txn` a commit, and has it finish what it put off. The
/// entries are made, or read, by another thread meanwhile.
///
/// # Errors
/// The store's, or those of reading a file.
pub fn load<S: Store>(store: &S, corpus: &Corpus, sorted: bool, per_txn: u64) -> Result<Driven> {
    let order = if sorted { Order::Sorted } else { Order::Random };
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<Vec<Entry>>(PARTS);
        let made = scope.spawn(move || -> Result<()> {
            let (mut part, mut bytes) = (Vec::with_capacity(PART), 0);
            corpus.for_each(sorted, |key, value| {
                part.push((key.to_vec(), value.to_vec()));
                bytes += key.len() + value.len();
                if part.len() == PART || bytes >= PART_BYTES {
                    bytes = 0;
                    let full = std::mem::replace(&mut part, Vec::with_capacity(PART));
                    send.send(full).map_err(|_| "nobody takes the entries")?;
                }
                Ok(())
            })?;
            send.send(part).map_err(|_| "nobody takes the entries")?;
            Ok(())
        });
        let start = Instant::now();
        let state = RefCell::new((Tally::default(), start));
        let mut entries = receive.into_iter().flatten().peekable();
        if entries.peek().is_none() {
            // Some stores have no table before something is put.
            store.put(Order::Random, std::iter::empty::<Entry>())?;
        }
        while entries.peek().is_some() {
            let take = usize::try_from(per_txn).unwrap_or(usize::MAX);
            let commit = entries.by_ref().take(take).inspect(|(key, value)| {
                let (tally, _) = &mut *state.borrow_mut();
                tally.entries_written += 1;
                tally.bytes_written += (key.len() + value.len()) as u64;
                tally.note_more(Op::Insert, 1, start.elapsed());
            });
            store.put(order, commit)?;
            let (tally, begun) = &mut *state.borrow_mut();
            tally.transactions += 1;
            let ended = Instant::now();
            tally.note_latency(Op::Insert, ended - *begun);
            *begun = ended;
        }
        store.finish()?;
        let seconds = start.elapsed().as_secs_f64();
        verify(store, corpus)?;
        made.join().map_err(|_| "the thread that makes entries panicked")??;
        let mut tally = state.into_inner().0;
        let series = std::mem::take(&mut tally.series);
        debug_assert!(
            series.len() as u64 <= Duration::from_secs_f64(seconds).as_millis() as u64 / STEP_MS + 1
        );
        Ok(Driven {
            entries: tally.entries_written,
            measured: tally,
            beside: Tally::default(),
            seconds,
            series,
            checkpoints: Vec::new(),
            open_loop: None,
            history: None,
        })
    })
}

/// Entries that are looked for after a load, spread over all that are known.
const LOOKED_FOR: u64 = 2000;

/// Some of what was loaded is there, and all of it is counted by the store, if it can. No part of the time.
fn verify<S: Store>(store: &S, corpus: &Corpus) -> Result<()> {
    let known = corpus.known();
    let mut key = Vec::new();
    for number in (0..known).step_by(known.div_ceil(LOOKED_FOR).max(1) as usize).chain(known.checked_sub(1)) {
        corpus.key(number, &mut key);
        let mut right = false;
        let found = store.gets(std::iter::once(&key), |value| right = corpus.is_written(&key, value))?;
        if found != 1 || !right {
            return Err(format!("{}: entry {number} is not what was loaded", S::NAME).into());
        }
    }
    Ok(())
}

/// Reads all that a store holds. `is_right` checks each value, by its key. Returns how many entries there are.
///
/// # Errors
/// The store's; or which value is wrong; or if they are out of order.
pub fn read_all<S: Store>(store: &S, is_right: impl Fn(&[u8], &[u8]) -> bool) -> Result<u64> {
    let (mut wrong, mut last): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    let (mut in_order, mut shown) = (true, 0u64);
    let seen = store.scan(&[], u64::MAX, |key, value| {
        in_order &= last.as_deref().is_none_or(|last| last < key);
        key.clone_into(last.get_or_insert_default());
        if !is_right(key, value) {
            wrong.get_or_insert_with(|| key.to_vec());
        }
        shown += 1;
    })?;
    if let Some(key) = wrong {
        return Err(format!("{}: the value of key {} is wrong", S::NAME, hex(&key)).into());
    }
    if !in_order || seen != shown {
        return Err(format!("{}: a scan of all entries shows them out of order", S::NAME).into());
    }
    Ok(seen)
}
