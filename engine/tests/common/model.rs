//! The content of a database as ordered maps, and changes that are made to both.

use super::TestSource;
use bifold::{Error, ReadTxn, WriteTxn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One table.
pub(crate) type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;
/// All tables. A clone is cheap.
pub(crate) type State = BTreeMap<String, Arc<Rows>>;

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Inserts or replaces; makes the table if it is not there.
    Put(&'static str, Vec<u8>, Arc<[u8]>),
    /// Removes a key, if it is there.
    Remove(&'static str, Vec<u8>),
    /// Removes from (inclusive) to (exclusive).
    RemoveRange(&'static str, Vec<u8>, Vec<u8>),
    /// Drops a table, if it is there.
    Drop(&'static str),
    /// Gives a table, if it is there, the name of another, which is dropped first, if it is there.
    Rename(&'static str, &'static str),
    /// Loads sorted entries, all behind those that the table has; makes the table if it is not there.
    Load(&'static str, Arc<Rows>),
}

impl Change {
    pub(crate) fn put(table: &'static str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put(table, key.into(), value.into().into())
    }

    /// Makes the change to the model.
    pub(crate) fn apply(&self, state: &mut State) {
        fn rows<'s>(state: &'s mut State, table: &str) -> &'s mut Rows {
            Arc::make_mut(state.entry(table.to_owned()).or_default())
        }
        match self {
            Self::Put(table, key, value) => {
                rows(state, table).insert(key.clone(), Arc::clone(value));
            }
            Self::Remove(table, key) => {
                rows(state, table).remove(key);
            }
            Self::RemoveRange(table, from, to) => rows(state, table).retain(|key, _| key < from || key >= to),
            Self::Drop(table) => {
                state.remove(*table);
            }
            Self::Rename(table, new) => {
                if let Some(rows) = state.remove(*table) {
                    state.insert((*new).to_owned(), rows);
                }
            }
            Self::Load(table, loaded) => {
                let loaded = loaded.iter().map(|(key, value)| (key.clone(), Arc::clone(value)));
                rows(state, table).extend(loaded);
            }
        }
    }

    /// Makes the change in a transaction.
    pub(crate) fn perform<S: TestSource>(&self, txn: &WriteTxn<'_, S>) -> Result<(), Error> {
        match self {
            Self::Put(table, key, value) => txn.table(table)?.insert(key, value),
            Self::Remove(table, key) => txn.table(table)?.remove(key).map(drop),
            Self::RemoveRange(table, from, to) => {
                txn.table(table)?.remove_range(&from[..]..&to[..]).map(drop)
            }
            Self::Drop(table) => txn.drop_table(table).map(drop),
            Self::Rename(table, new) => {
                if table == new || txn.find_table(table)?.is_none() {
                    return Ok(());
                }
                txn.drop_table(new)?;
                txn.rename_table(table, new)
            }
            Self::Load(table, rows) => {
                let mut load = txn.table(table)?.bulk_load()?;
                rows.iter().try_for_each(|(key, value)| load.push(key, value))?;
                load.finish().map(drop)
            }
        }
    }
}

/// The state after some changes more.
pub(crate) fn after(state: &State, changes: &[Change]) -> State {
    let mut state = state.clone();
    for change in changes {
        change.apply(&mut state);
    }
    state
}

/// How what a transaction sees differs from the model; `None` if it does not.
pub(crate) fn difference<S: TestSource>(
    txn: &ReadTxn<'_, S>,
    state: &State,
) -> Result<Option<String>, Error> {
    let (found, expected) = (txn.tables()?, state.keys().cloned().collect::<Vec<_>>());
    if found != expected {
        return Ok(Some(format!("tables {found:?} instead of {expected:?}")));
    }
    for (name, rows) in state {
        let table = txn.table(name)?;
        let len = table.len()?;
        if len != rows.len() as u64 {
            return Ok(Some(format!("{len} entries in {name:?} instead of {}", rows.len())));
        }
        let mut expected = rows.iter();
        for entry in &table {
            let (key, value) = entry?;
            if expected.next().is_none_or(|(k, v)| *k != key || **v != *value) {
                let (key, len) = (String::from_utf8_lossy(&key), value.len());
                return Ok(Some(format!("in {name:?}, {key:?} with {len} bytes is not what was written")));
            }
        }
        if expected.next().is_some() {
            return Ok(Some(format!("{name:?} ends too early")));
        }
    }
    Ok(None)
}
