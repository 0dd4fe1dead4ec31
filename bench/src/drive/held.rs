//! Reading in one snapshot that is held for as long as the run takes, and that must not change meanwhile.
//!
//! Values of a sample of the entries are read when the snapshot is new, before anything is written, and their digests
//! kept. They are read again and again, and all of them at the end; each must be what it was. The end waits until
//! nobody works or is measured any more.
#![forbid(unsafe_code)]

use super::Job;
use super::reading::hex;
use super::shared::Shared;
use super::tally::Tally;
use crate::corpus::Corpus;
use crate::store::GetHeld;
use crate::workload::{Choice, Op, Role};
use crate::{Result, Store};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Entries of the sample, at most, spread over all.
const SAMPLE: u64 = 2000;
/// One get in so many is of the sample.
const OFTEN: u64 = 64;

/// Holds a snapshot and does the gets of `role` in it until the run is over. `held` hears when the snapshot is taken and
/// the sample known; it hears nothing if that fails. When the run is over, the sample is compared once `released` is
/// closed.
pub(super) fn read_held<S: Store>(
    job: &Job<'_, S>,
    role: &Role,
    shared: &Shared,
    stream: u64,
    held: Sender<()>,
    released: &Receiver<()>,
) -> Result<Tally> {
    let there = match job.corpus {
        Corpus::Made(_) => job.entries,
        Corpus::Sample(_) | Corpus::Traced(_) => job.corpus.known(),
    };
    let mut reader = Reader {
        name: S::NAME,
        corpus: job.corpus,
        there,
        sample: Vec::new(),
        key: Vec::new(),
        tally: Tally::default(),
    };
    let mut choice = Choice::new(role.distribution, job.corpus.known(), job.pace.seed, stream);
    job.store.hold(|get| {
        reader.take_sample(get)?;
        // Whoever waits for it may have failed by now.
        let _ = held.send(());
        drop(held);
        let mut numbers = Vec::new();
        let (mut gets, batch) = (0u64, role.per_txn.max(1));
        while there > 0 && !shared.stopped() {
            numbers.clear();
            for _ in 0..batch {
                gets += 1;
                numbers.push(if gets.is_multiple_of(OFTEN) {
                    reader.sampled(gets / OFTEN)
                } else {
                    choice.next(there)
                });
            }
            let since = shared.measured_since();
            reader.gets(get, &numbers, since, shared)?;
        }
        // Nothing is sent: whoever keeps the other end drops it.
        let _ = released.recv();
        reader.compare_sample(get)
    })?;
    Ok(reader.tally)
}

struct Reader<'a> {
    /// The store's.
    name: &'static str,
    corpus: &'a Corpus,
    /// Entries in the snapshot that can be asked for, by their numbers.
    there: u64,
    /// Digests of the values of every so many-th entry.
    sample: Vec<u64>,
    key: Vec<u8>,
    tally: Tally,
}

impl Reader<'_> {
    /// Between two entries of the sample.
    fn step(&self) -> u64 {
        self.there.div_ceil(SAMPLE).max(1)
    }

    /// The number of the entry that comes `nth` of the sample, over and over.
    fn sampled(&self, nth: u64) -> u64 {
        nth % (self.sample.len() as u64).max(1) * self.step()
    }

    fn take_sample(&mut self, get: &mut GetHeld<'_>) -> Result<()> {
        for number in (0..self.there).step_by(self.step() as usize) {
            let (digest, _) = self.get(get, number)?;
            self.sample.push(digest);
        }
        Ok(())
    }

    fn compare_sample(&mut self, get: &mut GetHeld<'_>) -> Result<()> {
        (0..self.sample.len() as u64).try_for_each(|nth| {
            let number = self.sampled(nth);
            let (digest, _) = self.get(get, number)?;
            self.compare(number, digest)
        })
    }

    fn compare(&self, number: u64, digest: u64) -> Result<()> {
        let known = self.sample.get((number / self.step()) as usize);
        if number.is_multiple_of(self.step()) && known.is_some_and(|known| *known != digest) {
            let (name, key) = (self.name, hex(&self.key));
            return Err(format!(
                "{name}: the snapshot has changed: the value of key {key} is another than when it was taken"
            )
            .into());
        }
        Ok(())
    }

    /// Gets the entries of these numbers, one after the other; they count if there is a beginning.
    fn gets(
        &mut self,
        get: &mut GetHeld<'_>,
        numbers: &[u64],
        since: Option<Instant>,
        shared: &Shared,
    ) -> Result<()> {
        for number in numbers {
            if shared.stopped() {
                break;
            }
            let begun = Instant::now();
            let (digest, bytes) = self.get(get, *number)?;
            let ended = Instant::now();
            self.compare(*number, digest)?;
            if let Some(start) = since {
                self.tally.note(Op::Read, ended - begun, ended.saturating_duration_since(start));
                self.tally.entries_read += 1;
                self.tally.bytes_read += bytes;
            }
        }
        Ok(())
    }

    /// Gets one entry, which must be there. Returns the digest of its value, and the bytes of both.
    fn get(&mut self, get: &mut GetHeld<'_>, number: u64) -> Result<(u64, u64)> {
        self.corpus.key(number, &mut self.key);
        let (key, corpus, step) = (&self.key, self.corpus, self.there.div_ceil(SAMPLE).max(1));
        let (mut right, mut digest, mut bytes) = (false, 0, key.len() as u64);
        let there = get(key, &mut |value| {
            right = corpus.is_written(key, value);
            bytes += value.len() as u64;
            if number.is_multiple_of(step) {
                digest = xxh3_64(value);
            }
        })?;
        if !there || !right {
            let what = if there { "the value of" } else { "the snapshot does not show" };
            let wrong = if there { " is wrong" } else { "" };
            return Err(format!("{}: a held snapshot: {what} key {}{wrong}", self.name, hex(key)).into());
        }
        Ok((digest, bytes))
    }
}
