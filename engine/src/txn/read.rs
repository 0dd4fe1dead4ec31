//! The read transaction: one commit, for as long as it lives.
#![forbid(unsafe_code)]

use super::state::lookup_table;
use super::table::Table;
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::root::{Root, TableState};
use crate::snapshot::{Registry, Snapshot};
use crate::trace::Op;
use crate::trace::calls::TxnCalls;
use crate::tree::access::ReadAccess;
use crate::tree::scan::Scan;
use crate::walk::damaged;
use bifold_page_source::PageSource;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Bound, Deref};
use std::sync::Arc;

/// The way from a transaction to its database: borrowed, or held.
pub(crate) enum Owner<'db, S> {
    /// The database outlives the transaction by the borrow checker's word.
    Borrowed(&'db Shared<S>),
    /// The transaction keeps the database alive.
    Held(Arc<Shared<S>>),
}

impl<S> Owner<'_, S> {
    fn shared(&self) -> &Shared<S> {
        match self {
            Self::Borrowed(shared) => shared,
            Self::Held(shared) => shared,
        }
    }
}

impl<S> Deref for Owner<'_, S> {
    type Target = Registry<Root>;

    #[inline]
    fn deref(&self) -> &Registry<Root> {
        &self.shared().registry
    }
}

/// A read transaction: a snapshot of one commit.
///
/// It neither waits for the writer nor makes it wait; beginning one takes no lock, and allocates only when more are
/// open than ever before. What it can see stays in the file
/// and is not reused while it lives, so a transaction held for hours costs the space of what has been replaced since
/// *and was there when it began*, which `stats` shows, and no more. It is `Send` and `Sync`; a thread may hold any
/// number. Forgotten (`mem::forget`), it holds its snapshot for as long as the database is open, and breaks nothing.
pub struct ReadTxn<'db, S: PageSource> {
    snapshot: Snapshot<Root, Owner<'db, S>>,
    /// What records it, if anything does.
    calls: Option<Box<TxnCalls>>,
}

impl<'db, S: PageSource> ReadTxn<'db, S> {
    #[inline]
    pub(crate) fn new(owner: Owner<'db, S>) -> Self {
        Self { snapshot: Snapshot::new(owner), calls: None }
    }

    /// The same, recorded if calls on its database are.
    #[inline]
    pub(crate) fn recorded(mut self) -> Self {
        self.calls = self.shared().store.trace.as_ref().map(|recorder| Box::new(TxnCalls::read(recorder)));
        self
    }

    fn shared(&self) -> &Shared<S> {
        self.snapshot.registry().shared()
    }

    /// The table with this name.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`]; damage and I/O errors met on the way.
    #[inline]
    pub fn table(&self, name: &str) -> Result<Table<'_, S, ReadAccess<'_, S>>> {
        self.find_table(name)?.ok_or_else(|| Error::NoSuchTable(Arc::from(name)))
    }

    /// The table with this name, or `None` if there is none.
    ///
    /// # Errors
    /// Damage and I/O errors met on the way.
    pub fn find_table(&self, name: &str) -> Result<Option<Table<'_, S, ReadAccess<'_, S>>>> {
        let store = &self.shared().store;
        let calls = self.calls.as_deref();
        let at = calls.map_or(0, TxnCalls::now);
        let root = lookup_table(store, &self.snapshot, name)?;
        let table = calls.map_or(0, |calls| calls.open_table(at, name, root.is_some()));
        Ok(root.map(|root| Table::new(ReadAccess::new(store, root).recorded_as(table))))
    }

    /// The names of all tables, in order.
    ///
    /// # Errors
    /// Damage and I/O errors met on the way.
    pub fn tables(&self) -> Result<Vec<String>> {
        if let Some(calls) = &self.calls {
            calls.record(calls.now(), |txn| Op::ListTables { txn });
        }
        list_tables(self.shared(), &self.snapshot)
    }

    /// The number of the commit that this transaction sees. Commits are numbered from 1 in the order they are made.
    pub fn commit_number(&self) -> u64 {
        self.snapshot.seq
    }

    /// The root that this transaction sees.
    pub(crate) fn root(&self) -> &Root {
        &self.snapshot
    }
}

impl<S: PageSource> fmt::Debug for ReadTxn<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTxn").field("commit_number", &self.commit_number()).finish_non_exhaustive()
    }
}

/// The names of the tables of `root`: those of the catalog, and what the map says of them since.
pub(crate) fn list_tables<S: PageSource>(shared: &Shared<S>, root: &Root) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    let access = ReadAccess::new(&shared.store, root.catalog);
    for name in Scan::new(access, Bound::Unbounded, Bound::Unbounded).keys() {
        let name = String::from_utf8(name?);
        names.insert(name.map_err(|_| damaged(root.catalog.word, "a table's name below it is not UTF-8"))?);
    }
    for (name, state) in root.tables.iter() {
        if *state == TableState::Dropped {
            names.remove(&**name);
        } else {
            names.insert(name.to_string());
        }
    }
    Ok(names.into_iter().collect())
}
