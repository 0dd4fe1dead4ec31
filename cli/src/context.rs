//! What every command is given beside its own arguments.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use bifold::{Builder, Db, PageSource, WriteTxn};
use std::path::Path;

/// How the database is opened, and how the result is shown.
#[derive(Debug)]
pub(crate) struct Context<S: PageSource> {
    pub(crate) options: S::Options,
    pub(crate) json: bool,
}

impl<S: PageSource> Context<S> {
    /// A builder for the backend that was asked for.
    pub(crate) fn builder(&self) -> Builder<S> {
        Builder::new().backend(self.options.clone())
    }

    /// Opens the database at `path` for reading only.
    pub(crate) fn open(&self, path: &Path) -> Result<Db<S>> {
        self.builder().read_only().open(path).map_err(|error| Error::Open(path.into(), error))
    }

    /// Does `change` to the database at `path` and commits it; nothing if it fails. The database must be there, unless
    /// it may be created.
    pub(crate) fn change<R>(
        &self,
        path: &Path,
        create: bool,
        change: impl FnOnce(&WriteTxn<'_, S>) -> Result<R>,
    ) -> Result<R> {
        let failed = if create { Error::Create } else { Error::Open };
        let db: Db<S> =
            self.builder().create(create).open(path).map_err(|error| failed(path.into(), error))?;
        let txn = db.write()?;
        let result = change(&txn)?;
        txn.commit()?;
        db.close().map_err(|error| Error::Close(path.into(), error))?;
        Ok(result)
    }
}
