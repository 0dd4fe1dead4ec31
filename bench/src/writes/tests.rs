//! The workloads at a small size: they run on every store, and they notice a store that loses entries.
#![forbid(unsafe_code)]

use super::contest::{Contest, Contestant};
use super::written::{Share, Written};
use super::{Options, WORKLOADS, run};
use crate::data::{Numbers, sorted};
use crate::{Order, Result, Setup, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

fn options(dir: &Path) -> Options {
    Options {
        entries: 3000,
        rounds: 2,
        seconds: 1,
        longest_seconds: None,
        dir: dir.join("stores"),
        stores: Vec::new(),
        workloads: Vec::new(),
        baseline: "lmdb".into(),
        cache_mib: None,
        delta_mib: 16,
        no_limits: false,
        json: Some(dir.join("figures.json")),
    }
}

#[test]
fn every_store_does_what_takes_no_fixed_time() {
    let dir = tempfile::tempdir().unwrap();
    let workloads = vec!["load-sorted".into(), "insert-random".into(), "commit-100".into()];
    let options = Options { workloads, ..options(dir.path()) };
    run(&options).unwrap();
    let text = std::fs::read_to_string(dir.path().join("figures.json")).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rounds = &figures["workloads"][1]["stores"][0]["rounds"];
    assert_eq!(rounds.as_array().map(Vec::len), Some(2));
    assert_eq!((&rounds[0]["puts"], &rounds[0]["commits"]), (&3000.into(), &3.into()));
    assert!(figures["workloads"][2]["stores"][0]["rounds"][1]["counters"]["log_bytes"].as_u64() > Some(0));
    assert_eq!(std::fs::read_dir(&options.dir).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn names_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let unknown = Options { workloads: vec!["commit-2".into()], ..options(dir.path()) };
    assert!(run(&unknown).unwrap_err().to_string().contains("commit-100"));
    let unknown = Options { stores: vec!["bifold".into()], ..options(dir.path()) };
    assert!(run(&unknown).unwrap_err().to_string().contains("no store called bifold"));
}

#[test]
fn draws_of_threads_do_not_meet_and_keys_of_a_commit_differ() {
    let (written, mut drawn) = (Written::new(100), Vec::new());
    let mut seen = Vec::new();
    for index in 0..2 {
        written.draw(&mut Numbers::new(index), Share { index, of: 2 }, 25, &mut drawn);
        assert!(drawn.iter().all(|(_, version)| *version == 1));
        seen.extend(drawn.iter().map(|(seed, _)| *seed));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 50);
    // It ends even if more is asked for than there is.
    written.draw(&mut Numbers::new(2), Share { index: 0, of: 1 }, 1000, &mut drawn);
    assert_eq!(drawn.len(), 50);
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory that forgets each `LOSES`th put that is not one of a load, and deletes nothing.
struct Lossy<const LOSES: u64> {
    path: PathBuf,
    /// What it holds, and how many puts it has seen.
    entries: Mutex<(Entries, u64)>,
}

impl<const LOSES: u64> Store for Lossy<LOSES> {
    const NAME: &'static str = "lossy";
    const SYNCED: Option<&'static str> = None;
    const UNSYNCED: Option<&'static str> = Some("nothing");
    const CHECKPOINTS: bool = false;

    fn open(dir: &Path, _: &Setup) -> Result<Self> {
        let path = dir.join("entries.json");
        let entries: Vec<(Vec<u8>, Vec<u8>)> =
            std::fs::read(&path).map_or(Ok(Vec::new()), |text| serde_json::from_slice(&text))?;
        Ok(Self { path, entries: Mutex::new((entries.into_iter().collect(), 0)) })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in entries {
            held.1 += 1;
            if order == Order::Sorted || !held.1.is_multiple_of(LOSES) {
                held.0.insert(key.as_ref().to_vec(), value.as_ref().to_vec());
            }
        }
        Ok(())
    }

    fn delete<K: AsRef<[u8]>>(&self, _: impl Iterator<Item = K>) -> Result<()> {
        Ok(())
    }

    fn gets<K: AsRef<[u8]>>(&self, keys: impl Iterator<Item = K>, visit: impl FnMut(&[u8])) -> Result<u64> {
        let held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.filter_map(|key| held.0.get(key.as_ref())).map(Vec::as_slice).map(visit).count() as u64)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(held.0.range(from.to_vec()..).take(limit as usize).map(|(k, v)| visit(k, v)).count() as u64)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = held.0.range(..=from.to_vec()).rev().take(limit as usize);
        Ok(entries.map(|(k, v)| visit(k, v)).count() as u64)
    }

    fn hold<R>(&self, _: impl FnOnce(&mut crate::store::GetHeld<'_>) -> Result<R>) -> Result<R> {
        Err("no snapshots".into())
    }

    fn finish(&self) -> Result<()> {
        let held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Vec<_> = held.0.iter().collect();
        Ok(std::fs::write(&self.path, serde_json::to_vec(&entries)?)?)
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_store_that_loses_entries_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let (options, sorted) = (options(dir.path()), sorted(3000));
    let workload = |name| WORKLOADS.into_iter().find(|w| w.name == name).unwrap();

    let mut honest = Contest::<Lossy<{ u64::MAX }>>::new(&options, &sorted);
    assert!(honest.run(&workload("insert-random"), 0).unwrap().is_some_and(|o| o.puts == 3000));
    assert!(honest.run(&workload("overwrite-random"), 0).unwrap().is_some_and(|o| o.commits > 0));
    assert!(honest.run(&workload("commit-1"), 0).unwrap().is_none(), "it has no durable commits");
    assert_eq!((honest.synced(), honest.unsynced()), (None, Some("nothing")));
    honest.verify().unwrap();

    let mut lossy = Contest::<Lossy<500>>::new(&options, &sorted);
    for name in ["insert-random", "overwrite-random"] {
        let error = lossy.run(&workload(name), 0).unwrap_err().to_string();
        assert!(error.starts_with("lossy: of 1000 entries"), "{error}");
    }
}
