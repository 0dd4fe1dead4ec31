//! Many pages at a time: views whose misses overlap, and reading ahead.
//!
//! Pages that are missing are claimed first, in the order of their numbers, then read in one batch; neighbours go
//! in one transfer. What another thread is loading is waited for only after the own loads have ended, so two
//! batches never wait for each other.
#![forbid(unsafe_code)]

use crate::access;
use crate::io::{Buffer, Completion, Op, Queue, Request, Sink};
use crate::shared::{Shared, matches};
use crate::ticket::Ticket;
use crate::visit::PoolVisit;
use bifold_page_source::{Error, PageRef, Result, Visit};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Pages of a batch that are on their way at once.
const SLICE: usize = 64;
/// Pages read ahead that are on their way at once.
const AHEAD: usize = 256;
/// The longest transfer of neighbouring pages, in bytes.
const RUN_BYTES: usize = 256 << 10;

/// Shows one page, by its index, to the caller of `view_each`.
type Show<'f> = &'f mut dyn FnMut(usize, &[u8]) -> Result<()>;

/// What came of one page of a transfer.
enum Arrival {
    Good,
    /// Not what was written; the page is not to be shown.
    Bad(Error),
    /// The transfer failed; reading the page alone will say how.
    Unread,
}

impl Shared {
    /// How many of `most` pages may be on their way in a pool of this size.
    fn at_once(&self, most: usize) -> usize {
        (self.plan.frames as usize / 8).clamp(1, most)
    }

    /// Shows all `pages` to `show`, misses overlapped.
    ///
    /// # Errors
    /// The first one met.
    pub(crate) fn view_each(self: &Arc<Self>, pages: &[PageRef], show: Show<'_>) -> Result<()> {
        let slice = self.at_once(SLICE);
        let mut missing = Vec::new();
        // Several slices' worth of resident pages go by before any I/O; only what is missing is sliced.
        let mut inside = Some(self.participate());
        for (i, &at) in pages.iter().enumerate() {
            let sight = inside.get_or_insert_with(|| self.participate());
            if let Some((seen, word)) = access::find(&self.memory, at.page(), sight) {
                if !word.is_used()
                    && let Some(cell) = self.memory.words.get(at.page())
                {
                    cell.touch(word);
                }
                let bytes = access::seen(&self.memory, seen, sight);
                matches(at, bytes)?;
                show(i, bytes)?;
                continue;
            }
            missing.push((at, i));
            if missing.len() == slice {
                inside = None; // never across I/O
                self.view_missing(&mut missing, show)?;
                missing.clear();
            }
        }
        drop(inside);
        if missing.is_empty() { Ok(()) } else { self.view_missing(&mut missing, show) }
    }

    /// Reads and shows a slice of pages that were not resident a moment ago.
    fn view_missing(self: &Arc<Self>, missing: &mut [(PageRef, usize)], show: Show<'_>) -> Result<()> {
        missing.sort_unstable_by_key(|(at, _)| at.page());
        let mut tickets = Vec::new();
        for same in missing.chunk_by(|(a, _), (b, _)| a.page() == b.page()) {
            let cell = self.cell(same[0].0.page())?;
            if let Ok(ticket) = self.begin(same[0].0, cell, false) {
                tickets.push(ticket);
            }
        }
        let mut shown = vec![false; missing.len()];
        let mut outcome = Ok(());
        self.read_all(tickets, &mut |ticket, arrival| {
            if outcome.is_err() {
                return; // what has come is kept or dropped, but not shown
            }
            outcome = match arrival {
                Arrival::Good => self.show_arrived(ticket, missing, &mut shown, show),
                Arrival::Bad(error) => Err(error),
                Arrival::Unread => Ok(()),
            };
        });
        outcome?;
        // What others are loading, and what no frame or no good transfer was to be had for.
        let mut visit = PoolVisit::new(self);
        for (&(at, i), _) in missing.iter().zip(&shown).filter(|(_, shown)| !**shown) {
            show(i, visit.view(at)?)?;
        }
        Ok(())
    }

    /// Publishes a page and shows it under all its indices.
    fn show_arrived(
        &self,
        ticket: Ticket,
        missing: &[(PageRef, usize)],
        shown: &mut [bool],
        show: Show<'_>,
    ) -> Result<()> {
        let page = ticket.at().page();
        let inside = self.participate();
        let Some(seen) = ticket.publish(&inside) else {
            return Ok(()); // doomed: to be looked for anew
        };
        let bytes = access::seen(&self.memory, seen, &inside);
        let first = missing.partition_point(|(at, _)| at.page() < page);
        for (at, i) in missing[first..].iter().take_while(|(at, _)| at.page() == page) {
            matches(*at, bytes)?;
            show(*i, bytes)?;
        }
        let shown = &mut shown[first..];
        let same = missing[first..].iter().zip(shown).take_while(|((at, _), _)| at.page() == page);
        same.for_each(|(_, shown)| *shown = true);
        Ok(())
    }

    /// Reads the pages of all tickets, overlapped, and hands each on as it comes.
    fn read_all(&self, tickets: Vec<Ticket>, each: &mut dyn FnMut(Ticket, Arrival)) {
        let mut requests = self.requests(tickets);
        if requests.len() <= 1 {
            if let Some(request) = requests.pop() {
                self.unpack(self.io.run(request), each);
            }
            return;
        }
        let (queue, count) = (Arc::new(Queue::default()), requests.len());
        let sink: Arc<dyn Sink> = Arc::<Queue>::clone(&queue);
        self.io.start(requests, &sink);
        for _ in 0..count {
            self.unpack(self.io.reap(&queue, Op::Read), each);
        }
    }

    /// One transfer for each run of neighbours (tickets come in the order of their pages), as far as there are
    /// buffers; one for each page otherwise.
    fn requests(&self, tickets: Vec<Ticket>) -> Vec<Request> {
        let size = self.page_bytes();
        let longest = RUN_BYTES.min(self.read_share / 4);
        let mut requests = Vec::new();
        let mut run: Vec<Ticket> = Vec::new();
        let mut flush = |run: Vec<Ticket>| {
            let Some(first) = run.first() else { return };
            let offset = self.offset(first.at().page());
            if run.len() > 1
                && let Some(staged) = self.read_staging.take(run.len() * size)
            {
                requests.push(Request { op: Op::Read, offset, buffer: Buffer::Run(run, staged) });
                return;
            }
            requests.extend(run.into_iter().map(|ticket| {
                let offset = self.offset(ticket.at().page());
                Request { op: Op::Read, offset, buffer: Buffer::Page(ticket) }
            }));
        };
        for ticket in tickets {
            let next = run.last().is_none_or(|last| last.at().page().plus(1) == ticket.at().page());
            if !next || (run.len() + 1) * size > longest {
                flush(std::mem::take(&mut run));
            }
            run.push(ticket);
        }
        flush(run);
        requests
    }

    /// Verifies the pages of a transfer and hands their tickets on.
    fn unpack(&self, completion: Completion, each: &mut dyn FnMut(Ticket, Arrival)) {
        let good = completion.result.is_ok();
        let mut judge = |mut ticket: Ticket| {
            let arrival = if good {
                let at = ticket.at();
                self.verify(at, ticket.bytes_mut()).map_or_else(Arrival::Bad, |()| Arrival::Good)
            } else {
                Arrival::Unread
            };
            each(ticket, arrival);
        };
        match completion.buffer {
            Buffer::Page(ticket) => judge(ticket),
            Buffer::Run(tickets, staged) => {
                for (mut ticket, bytes) in tickets.into_iter().zip(staged.bytes().chunks(self.page_bytes())) {
                    if good {
                        ticket.bytes_mut().copy_from_slice(bytes);
                    }
                    judge(ticket);
                }
            }
            Buffer::Piece(_) | Buffer::Owned(_) | Buffer::Staged(_) => {
                debug_assert!(false, "not a read of pages");
            }
        }
    }

    /// Starts to read `pages`, as far as there is room for more reads in flight.
    pub(crate) fn prefetch(self: &Arc<Self>, pages: &[PageRef]) {
        let absent = |at: &&PageRef| self.memory.words.get(at.page()).is_some_and(|c| c.load().is_absent());
        let mut wanted: Vec<PageRef> = pages.iter().filter(absent).take(AHEAD).copied().collect();
        if wanted.is_empty() || !self.io.runs_by_itself() {
            return;
        }
        wanted.sort_unstable_by_key(|at| at.page());
        let (most, mut tickets) = (self.at_once(AHEAD), Vec::new());
        for at in wanted {
            if self.ahead.fetch_add(1, Ordering::Relaxed) >= most {
                self.ahead.fetch_sub(1, Ordering::Relaxed);
                break;
            }
            let begun = self.cell(at.page()).ok().and_then(|cell| self.begin(at, cell, false).ok());
            match begun {
                Some(mut ticket) => {
                    ticket.is_ahead();
                    tickets.push(ticket);
                }
                None => drop(self.ahead.fetch_sub(1, Ordering::Relaxed)),
            }
        }
        let requests = self.requests(tickets);
        if !requests.is_empty() {
            let sink: Arc<dyn Sink> = Arc::new(Ahead(Arc::clone(self)));
            self.io.start(requests, &sink);
        }
    }
}

/// Publishes what was read ahead; what is wrong with a page is said when it is viewed.
struct Ahead(Arc<Shared>);

impl Sink for Ahead {
    fn complete(&self, completion: Completion) {
        self.0.unpack(completion, &mut |ticket, arrival| {
            if matches!(arrival, Arrival::Good) {
                ticket.publish_as(true);
            }
        });
    }
}
