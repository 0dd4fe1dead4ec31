//! The cursor: a place in a table that the user moves, lending one entry at a time.
#![forbid(unsafe_code)]

use super::access::Access;
use super::gap::Gap;
use super::position::Position;
use crate::error::Result;
use crate::trace::From;
use crate::trace::calls::CursorCalls;
use crate::value::{Large, Value};
use bifold_page_source::PageSource;
use std::fmt;

/// A place in a table, which moves in both directions and anywhere.
///
/// A fresh cursor stands before the first entry: [`next`](Self::next) goes to the first, and, once,
/// [`prev`](Self::prev) to the last. Past either end it stays there, and turning round gives the last or the first
/// entry again. What it lends is valid until it moves; within a page nothing but keys is copied.
///
/// In a write transaction the table may change under a cursor. It then finds its place again by its key: if that
/// entry was removed, `next` goes to the first greater key and `prev` to the last smaller one.
///
/// After an error every step gives that error again, until the cursor is sent to a place by one of the methods that
/// do not depend on where it stands: nothing is ever skipped.
pub struct Cursor<'t, S: PageSource + 't, A> {
    access: A,
    position: Position<'t, S>,
    /// The bytes of the entry it stands on, if they are not in the leaf.
    large: Option<Value<'t, S>>,
    /// What records it, if anything does.
    calls: Option<Box<CursorCalls>>,
}

#[expect(private_bounds, reason = "only transactions make one, and they know how to be reached")]
impl<'t, S: PageSource, A: Access<'t, S>> Cursor<'t, S, A> {
    /// A fresh cursor.
    pub(crate) fn new(access: A) -> Self {
        let position = Position::new(&access);
        let calls = access.calls().map(|calls| Box::new(CursorCalls::new(calls)));
        Self { access, position, large: None, calls }
    }

    /// Moves to the next entry, key and value; `None` behind the last.
    ///
    /// # Errors
    /// I/O errors, and [`Corrupt`](crate::Error::Corrupt); the same again until the cursor is sent elsewhere.
    #[expect(clippy::should_implement_trait, reason = "it lends what it gives, which no iterator can")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.is_plain() && self.position.step_next(&self.access) {
            return Ok(self.position.entry());
        }
        self.go(true)
    }

    /// Moves to the previous entry; `None` before the first.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    #[inline]
    pub fn prev(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.is_plain() && self.position.step_prev(&self.access) {
            return Ok(self.position.entry());
        }
        self.go(false)
    }

    /// Whether a step has nothing to do but to step.
    #[inline]
    fn is_plain(&self) -> bool {
        self.large.is_none() && self.calls.is_none()
    }

    #[inline(never)]
    fn go(&mut self, forward: bool) -> Result<Option<(&[u8], &[u8])>> {
        let access = &self.access;
        let found = if forward { self.position.next(access)? } else { self.position.prev(access)? };
        self.stepped(found, forward);
        self.lend(found)
    }

    /// Moves to the first entry.
    ///
    /// # Errors
    /// I/O errors, and [`Corrupt`](crate::Error::Corrupt).
    pub fn first(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.sent(|| From::First);
        self.position.seek(&self.access, Gap::Start)?;
        self.next()
    }

    /// Moves to the last entry.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub fn last(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.sent(|| From::Last);
        self.position.seek(&self.access, Gap::End)?;
        self.prev()
    }

    /// Moves to the first entry whose key is `key` or greater. If there is none, the cursor stands behind the last.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<Option<(&[u8], &[u8])>> {
        let key = key.as_ref();
        self.sent(|| From::Seek(key.to_vec().into()));
        self.position.seek(&self.access, Gap::Before(key))?;
        self.next()
    }

    /// Moves to the entry of `key` and gives its value. If there is none, the cursor stands where it would be:
    /// [`next`](Self::next) gives the first greater entry, [`prev`](Self::prev) the last smaller one.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub fn seek_exact(&mut self, key: impl AsRef<[u8]>) -> Result<Option<&[u8]>> {
        let key = key.as_ref();
        self.sent(|| From::SeekExact(key.to_vec().into()));
        if !self.position.seek(&self.access, Gap::Before(key))? {
            return Ok(None);
        }
        Ok(self.next()?.map(|(_, value)| value))
    }

    /// The entry it stands on, as it is now; `None` if it stands on none, or that entry is gone.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn current(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.position.refresh(&self.access)?;
        let on = self.position.key().is_some();
        self.lend(on)
    }

    /// The key of the entry it moved to; `None` if it stands on none. In a write transaction that entry may have been
    /// removed since; [`current`](Self::current) knows.
    pub fn key(&self) -> Option<&[u8]> {
        self.position.key()
    }

    /// The value of the entry it stands on, as it is now, to keep while the cursor moves on.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn value(&mut self) -> Result<Option<Value<'t, S>>> {
        self.position.refresh(&self.access)?;
        let Some(current) = self.position.current() else { return Ok(None) };
        let value = if current.has_word {
            Value::large(&self.access, Large::parse(&current.leaf.node(), current.index)?)?
        } else {
            Value::in_leaf(&self.access, current.leaf.clone(), current.range)?
        };
        Ok(Some(value))
    }

    /// Notes an entry that was given.
    #[inline]
    fn stepped(&mut self, found: bool, forward: bool) {
        if let Some(calls) = &mut self.calls
            && found
        {
            calls.stepped(forward);
        }
    }

    /// Notes that it is sent elsewhere.
    #[inline]
    fn sent(&mut self, from: impl FnOnce() -> From<'static>) {
        if let Some(calls) = &mut self.calls {
            calls.sent(from());
        }
    }

    /// Lends the entry it stands on.
    #[inline]
    fn lend(&mut self, on: bool) -> Result<Option<(&[u8], &[u8])>> {
        if self.large.is_some() {
            self.large = None;
        }
        if on && self.position.on_word() {
            self.fetch()?;
        }
        let Some(current) = self.position.current() else { return Ok(None) };
        Ok(Some((current.key, self.large.as_deref().unwrap_or(current.value))))
    }

    /// Fetches a value that does not lie in the leaf. If that fails, so has the cursor.
    #[cold]
    fn fetch(&mut self) -> Result<()> {
        match self.value() {
            Ok(value) => self.large = value,
            Err(error) => {
                self.position.fail(&error);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl<S: PageSource, A> fmt::Debug for Cursor<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("key", &self.position.key()).finish_non_exhaustive()
    }
}
