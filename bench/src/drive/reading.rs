//! The check of what a store shows: every value while it is read, and what was written once more when all is over.
#![forbid(unsafe_code)]

use super::Driven;
use super::history::{Batch, Content, History};
use crate::corpus::Corpus;
use crate::{Result, Store};
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// The value was never written to this key.
    Value,
    /// An earlier state than the read may be shown.
    Earlier,
    /// No value, where the read must be shown one.
    Missing,
}

/// A read transaction, and what it was shown.
pub(super) struct Reading<'a> {
    corpus: &'a Corpus,
    /// With the time before it began.
    history: Option<(&'a History, u64)>,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// The first key with which something is wrong.
    wrong: Option<(Vec<u8>, Wrong)>,
}

impl<'a> Reading<'a> {
    /// For a transaction that has not begun yet.
    pub(super) fn begin(corpus: &'a Corpus, history: Option<&'a History>) -> Self {
        let history = history.map(|history| (history, history.now()));
        Self { corpus, history, entries: 0, bytes: 0, wrong: None }
    }

    #[inline]
    pub(super) fn see(&mut self, key: &[u8], value: &[u8]) {
        match (self.corpus.version(key, value), self.history) {
            (None, _) => self.note(key, Wrong::Value),
            (Some(version), Some((history, since))) => {
                let (tag, content) = (self.corpus.tag(key), Content::of(version, value.len()));
                if history.follows(tag) && !history.may_show(tag, key, content, since) {
                    self.note(key, Wrong::Earlier);
                }
            }
            _ => (),
        }
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }

    /// A key that was asked for, of which nothing was shown.
    pub(super) fn miss(&mut self, key: &[u8]) {
        let Some((history, since)) = self.history else { return };
        let tag = self.corpus.tag(key);
        if history.follows(tag) && !history.may_show(tag, key, Content::Nothing, since) {
            self.note(key, Wrong::Missing);
        }
    }

    /// An entry that was not asked for.
    pub(super) fn see_unasked(&mut self) {
        self.note(&[], Wrong::Value);
    }

    #[cold]
    fn note(&mut self, key: &[u8], wrong: Wrong) {
        self.wrong.get_or_insert_with(|| (key.to_vec(), wrong));
    }

    /// What is wrong, in words.
    pub(super) fn wrong(&self) -> Option<String> {
        let (key, wrong) = self.wrong.as_ref()?;
        let key = hex(key);
        Some(match wrong {
            Wrong::Value => format!("the value of key {key} is wrong"),
            Wrong::Earlier => {
                format!(
                    "key {key} has an earlier value than a commit acknowledged before the read left there"
                )
            }
            Wrong::Missing => {
                format!("key {key} has no value, and a commit acknowledged before the read left one there")
            }
        })
    }
}

/// How much was read again after a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Entries that were read again.
    pub entries: u64,
    /// Of so many that were written and are followed.
    pub of: u64,
}

/// Entries that are read again at once.
const AT_ONCE: usize = 64;
/// The time for it: more than is taken by all of them, if the data are in memory.
const TIME: Duration = Duration::from_secs(2);

impl Driven {
    /// Reads what the run wrote, as far as it is followed: each entry must be as one of the last commits left it. It goes
    /// through them in no order, and as far as it gets within two seconds (so far on a slow disk, all of them otherwise).
    /// No part of a measurement.
    ///
    /// # Errors
    /// The store's; or the key of an entry whose update was lost.
    pub fn read_again<S: Store>(&self, store: &S, corpus: &Corpus) -> Result<Checked> {
        let Some(history) = &self.history else { return Ok(Checked { entries: 0, of: 0 }) };
        let keys = history.keys();
        let mut checked = Checked { entries: 0, of: keys.len() as u64 };
        let (since, begun) = (history.now(), Instant::now());
        for part in keys.chunks(AT_ONCE) {
            if begun.elapsed() > TIME {
                break;
            }
            let asked: Vec<&[u8]> = part.iter().map(|(_, key)| &**key).collect();
            let mut shown = vec![Some(Content::Nothing); part.len()];
            store.get_many(&asked, |index, value| {
                if let (Some(key), Some(shown)) = (asked.get(index), shown.get_mut(index)) {
                    *shown = corpus.version(key, value).map(|version| Content::of(version, value.len()));
                }
            })?;
            for ((tag, key), shown) in part.iter().zip(shown) {
                let (name, text) = (S::NAME, hex(key));
                let Some(content) = shown else {
                    return Err(format!("{name}: after the run, the value of key {text} is wrong").into());
                };
                if !history.may_show(*tag, key, content, since) {
                    return Err(format!(
                        "{name}: after the run, the last acknowledged write of key {text} is lost"
                    )
                    .into());
                }
            }
            checked.entries += part.len() as u64;
        }
        Ok(checked)
    }
}

/// What the check of one value takes, in nanoseconds; if there are `writes` beside it, of those that are followed and those
/// that are not, as often as they are.
pub fn check_nanos(corpus: &Corpus, writes: bool) -> f64 {
    const ENTRIES: u64 = 1000;
    const TIMES: u64 = 100;
    let known = match corpus {
        Corpus::Traced(traced) => traced.recording().changed,
        Corpus::Made(_) | Corpus::Sample(_) => corpus.known(),
    };
    let known = known.max(1);
    let history = History::new(known, None, 0);
    let (mut entries, mut batch) = (Vec::new(), Batch::default());
    for number in 0..ENTRIES {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        corpus.key((u128::from(number) * u128::from(known) / u128::from(ENTRIES)) as u64, &mut key);
        let version = history.begin(std::iter::once((corpus.tag(&key), key.as_slice())), true, &mut batch);
        corpus.value(&key, version.unwrap_or(1), &mut value);
        history.acknowledge(&mut batch);
        entries.push((key, value));
    }
    let mut reading = Reading::begin(corpus, writes.then_some(&history));
    let start = Instant::now();
    for _ in 0..TIMES {
        for (key, value) in &entries {
            reading.see(black_box(key), black_box(value));
        }
    }
    let took = start.elapsed().as_secs_f64() * 1e9 / (ENTRIES * TIMES) as f64;
    black_box(reading.wrong());
    took
}

/// The first bytes of a key, for messages.
pub(super) fn hex(key: &[u8]) -> String {
    key.iter().take(40).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
