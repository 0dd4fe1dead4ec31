//! What a first touch costs: of anonymous memory, of a mapped page that is in the page cache, and of one that is not.
#![forbid(unsafe_code)]

use super::file::{DataFile, PAGE, first_word, wrong_page};
use super::map::{Anonymous, FileMap, Pages};
use super::permutation::Permutation;
use super::probe::Probe;
use crate::Result;
use crate::usage::ThreadFaults;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Pages that the kernel maps at a fault if they are in the page cache, 64 KiB of them, unless it is told otherwise
/// (`fault_around_bytes` in its debug file system).
const AROUND: u64 = 16;
/// Pages of the mapping, as many as are brought into the page cache in bearable time.
const fn mapped(touched: Touched) -> u64 {
    match touched {
        Touched::WithNeighbours => 2_048,
        Touched::Alone => 8_192,
        Touched::InOrder => 16_384,
    }
}

/// What was touched, and the faults it took.
#[derive(Default)]
struct Tally {
    touches: u64,
    faults: ThreadFaults,
}

impl Tally {
    /// Runs `touch`, which touches so many pages, and returns how long it took.
    fn add(&mut self, touches: u64, touch: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let before = ThreadFaults::now();
        let start = Instant::now();
        touch()?;
        let time = start.elapsed();
        self.faults.add(before, ThreadFaults::now());
        self.touches += touches;
        Ok(time)
    }

    fn a_touch(&self, faults: u64) -> f64 {
        faults as f64 / self.touches.max(1) as f64
    }
}

/// First touches of anonymous memory.
pub(super) struct AnonymousFault {
    memory: Anonymous,
    pages: Pages,
    tally: Tally,
}

impl AnonymousFault {
    /// At most `most` bytes are touched.
    ///
    /// # Errors
    /// If huge pages are asked for and the kernel gives none.
    pub(super) fn new(pages: Pages, most: u64) -> Result<Self> {
        let len = if pages == Pages::Huge { 256 << 20 } else { 64 << 20 };
        let mut memory = Anonymous::new(len.min(most) as usize, pages)?;
        if pages == Pages::Huge {
            let bytes = memory.bytes().len();
            touch_all(&mut memory, pages);
            if memory.huge_bytes().is_some_and(|huge| huge < bytes as u64 / 2) {
                return Err("the kernel gave small pages where huge ones were asked for".into());
            }
        }
        Ok(Self { memory, pages, tally: Tally::default() })
    }
}

fn touch_all(memory: &mut Anonymous, pages: Pages) -> u64 {
    let mut touches = 0;
    for page in memory.bytes_mut().chunks_mut(pages.bytes()) {
        page[0] = 1;
        touches += 1;
    }
    touches
}

impl Probe for AnonymousFault {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        let touches = (self.memory.bytes().len() / self.pages.bytes()) as u64;
        let (start, mut spent, mut rounds) = (Instant::now(), Duration::ZERO, 0);
        while rounds == 0 || start.elapsed() < time {
            self.memory.forget()?;
            let (memory, pages) = (&mut self.memory, self.pages);
            spent += self.tally.add(touches, || {
                touch_all(memory, pages);
                Ok(())
            })?;
            rounds += 1;
        }
        self.memory.forget()?;
        Ok(spent.as_secs_f64() * 1e9 / (touches * rounds) as f64)
    }

    fn note(&self) -> String {
        format!("{:.2} faults a touch", self.tally.a_touch(self.tally.faults.soft))
    }
}

/// Which pages of a mapping are touched, and which are in the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// One of each sixteen; all are in the page cache, so the kernel maps its neighbours with it. They were read one
    /// by one, so none is part of a large folio, of which the kernel would map still more.
    WithNeighbours,
    /// One of each sixteen, and only those are in the page cache, so there is nothing else to be mapped.
    Alone,
    /// All, one after the other; all are in the page cache, in such folios as read-ahead made.
    InOrder,
}

/// First touches of mapped pages that are in the page cache.
pub(super) struct SoftFault {
    data: Rc<DataFile>,
    map: FileMap,
    touched: Touched,
    tally: Tally,
}

impl SoftFault {
    pub(super) fn new(data: &Rc<DataFile>, touched: Touched) -> Result<Self> {
        let pages = data.pages().min(mapped(touched));
        let map = FileMap::new(&data.buffered, pages, false)?;
        Ok(Self { data: Rc::clone(data), map, touched, tally: Tally::default() })
    }

    /// Has those pages in the page cache that are to be there.
    fn bring(&self) -> Result<()> {
        let step = match self.touched {
            Touched::InOrder => return self.data.warm(self.map.pages()),
            Touched::WithNeighbours => 1,
            Touched::Alone => AROUND,
        };
        self.map.forget()?;
        self.data.evict()?;
        let mut page = vec![0; PAGE];
        for number in (0..self.map.pages()).step_by(step as usize) {
            self.data.random.read_exact_at(&mut page, number * PAGE as u64)?;
        }
        Ok(())
    }
}

fn touch(map: &FileMap, page: u64) -> Result<()> {
    if map.touch(page) == Some(first_word(page)) {
        Ok(())
    } else {
        Err(wrong_page(page * PAGE as u64).into())
    }
}

impl Probe for SoftFault {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        self.bring()?;
        let step = if self.touched == Touched::InOrder { 1 } else { AROUND };
        let touches = self.map.pages().div_ceil(step);
        let (start, mut spent, mut rounds) = (Instant::now(), Duration::ZERO, 0);
        while rounds == 0 || start.elapsed() < time {
            self.map.forget()?;
            let map = &self.map;
            spent += self.tally.add(touches, || {
                (0..map.pages()).step_by(step as usize).try_for_each(|page| touch(map, page))
            })?;
            rounds += 1;
        }
        // A page that is mapped would stay in the page cache when others want it out.
        self.map.forget()?;
        if self.touched != Touched::InOrder {
            self.data.evict()?;
        }
        Ok(spent.as_secs_f64() * 1e9 / (touches * rounds) as f64)
    }

    fn note(&self) -> String {
        format!("{:.2} faults a touch", self.tally.a_touch(self.tally.faults.soft))
    }
}

/// First touches of mapped pages that are not in the page cache, in random order, with read-ahead off.
pub(super) struct HardFault {
    data: Rc<DataFile>,
    map: FileMap,
    order: Permutation,
    tally: Tally,
}

impl HardFault {
    pub(super) fn new(data: &Rc<DataFile>) -> Result<Self> {
        data.must_leave()?;
        let map = FileMap::new(&data.buffered, data.pages(), true)?;
        let order = Permutation::new(map.pages());
        Ok(Self { data: Rc::clone(data), map, order, tally: Tally::default() })
    }

    fn put_out(&self) -> Result<()> {
        self.map.forget()?;
        self.data.evict()
    }

    /// Touches and hard faults in all.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.tally.touches, self.tally.faults.hard)
    }
}

impl Probe for HardFault {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        self.put_out()?;
        let (mut spent, mut touches) = (Duration::ZERO, 0u64);
        while touches == 0 || spent < time {
            // Until all pages have been touched, or some; the counts are not looked at after each.
            let (mut taken, mut last) = (Vec::with_capacity(16), false);
            while taken.len() < 16 && !last {
                let (page, end) = self.order.next();
                taken.push(page);
                last = end;
            }
            let map = &self.map;
            spent +=
                self.tally.add(taken.len() as u64, || taken.iter().try_for_each(|page| touch(map, *page)))?;
            touches += taken.len() as u64;
            if last {
                self.put_out()?;
            }
        }
        self.put_out()?;
        Ok(spent.as_secs_f64() * 1e6 / touches as f64)
    }

    fn note(&self) -> String {
        let hard = self.tally.a_touch(self.tally.faults.hard);
        let stays = self.data.stays_note();
        format!("MADV_RANDOM; put out by POSIX_FADV_DONTNEED; {hard:.2} hard faults a touch{stays}")
    }
}

#[cfg(test)]
impl AnonymousFault {
    /// Touches and soft faults in all.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.tally.touches, self.tally.faults.soft)
    }
}

#[cfg(test)]
impl SoftFault {
    /// Touches, soft faults and hard faults in all.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.tally.touches, self.tally.faults.soft, self.tally.faults.hard)
    }
}
