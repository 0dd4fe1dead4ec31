//! Takes the figures that were asked for: those of a group in turn, so that whatever else the machine does meets each.
#![forbid(unsafe_code)]

use super::caches::Caches;
use super::catalog::{Kind, Spec, chosen};
use super::disk::Disk;
use super::engine::Engine;
use super::faults::{AnonymousFault, HardFault, SoftFault};
use super::file::{BESIDES, DataFile, check_room};
use super::memory::{Chase, Copy};
use super::pread::{Absent, Resident};
use super::probe::Probe;
use super::sync::{Appends, Overwrites};
use super::{Figure, Limits, Missing, Options, Progress};
use crate::Result;
use crate::memory::available_memory;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// Repeats of a figure.
pub(super) const REPEATS: usize = 5;

/// What all measurements share.
struct Context<'o> {
    dir: &'o Path,
    engine: Engine,
    data: Option<Rc<DataFile>>,
    caches: Caches,
    /// The most bytes of memory that one may take.
    most: u64,
}

impl Context<'_> {
    fn prepare(&self, kind: Kind) -> Result<Box<dyn Probe>> {
        let data = || self.data.as_ref().ok_or("the file to be read was not written");
        Ok(match kind {
            Kind::RandomReads(depth) => Box::new(Disk::random_reads(data()?, &self.engine, depth)?),
            Kind::InOrder(direction) => Box::new(Disk::in_order(data()?, &self.engine, direction)?),
            Kind::Overwrite => Box::new(Overwrites::new(self.dir, super::file::PAGE)?),
            Kind::Append => Box::new(Appends::new(self.dir)?),
            Kind::PreadResident => Box::new(Resident::new(data()?)),
            Kind::PreadAbsent => Box::new(Absent::new(data()?)?),
            Kind::Anonymous(pages) => Box::new(AnonymousFault::new(pages, self.most)?),
            Kind::Soft(touched) => Box::new(SoftFault::new(data()?, touched)?),
            Kind::Hard => Box::new(HardFault::new(data()?)?),
            Kind::CopyCached => Box::new(Copy::cached()?),
            Kind::CopyUncached => Box::new(Copy::uncached(&self.caches, self.most)?),
            Kind::Latency(level, pages) => Box::new(Chase::new(level, pages, &self.caches, self.most)?),
        })
    }
}

/// A figure being taken.
struct Taking {
    spec: &'static Spec,
    probe: Result<Box<dyn Probe>>,
    samples: Vec<f64>,
}

/// See [`Limits::measure`].
pub(super) fn measure(options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Limits> {
    let specs = chosen(&options.only)?;
    let engine =
        if options.threads { Engine::Threads("threads were asked for".into()) } else { Engine::choose() };
    check_room(&options.dir, BESIDES)?;
    let of = specs.len() * REPEATS;
    progress(Progress { name: "writing the file", done: 0, of });
    let data = if specs.iter().any(|spec| spec.needs_file()) {
        Some(Rc::new(DataFile::create(&options.dir, options.file_size)?))
    } else {
        None
    };
    let mut limits = Limits {
        file_bytes: data.as_ref().map_or(0, |data| data.bytes),
        engine: match &engine {
            Engine::Ring => "io_uring".into(),
            Engine::Threads(why) => format!("threads of pread ({why})"),
        },
        seconds: options.seconds,
        figures: Vec::new(),
        missing: Vec::new(),
    };
    let most = options.max_memory.unwrap_or_else(|| available_memory() / 8);
    let context = Context { dir: &options.dir, engine, data, caches: Caches::of_this_machine(), most };
    let time = Duration::from_secs_f64(options.seconds / REPEATS as f64);
    let mut done = 0;
    for group in specs.chunk_by(|a, b| a.in_turn_with(b)) {
        let taken = take(group, &context, time, &mut |name| {
            progress(Progress { name, done, of });
            done += 1;
        });
        for taking in taken {
            limits.add(taking)?;
        }
    }
    progress(Progress { name: "done", done: of, of });
    Ok(limits)
}

/// Takes all repeats of a group's figures.
fn take(
    group: &[&'static Spec],
    context: &Context<'_>,
    time: Duration,
    begin: &mut dyn FnMut(&str),
) -> Vec<Taking> {
    let prepare = |spec: &&'static Spec| Taking {
        spec,
        probe: context.prepare(spec.kind),
        samples: Vec::with_capacity(REPEATS),
    };
    let mut takings: Vec<Taking> = group.iter().map(prepare).collect();
    for repeat in 0..REPEATS {
        for turn in 0..takings.len() {
            let at = (repeat + turn) % takings.len();
            let taking = &mut takings[at];
            begin(taking.spec.name);
            match taking.probe.as_mut().map(|probe| probe.sample(time)) {
                Ok(Ok(sample)) => taking.samples.push(sample),
                Ok(Err(error)) => taking.probe = Err(error),
                Err(_) => (),
            }
        }
    }
    takings
}

impl Limits {
    /// Adds what was taken, or why it was not. Wrong bytes are no reason to go on.
    fn add(&mut self, taking: Taking) -> Result<()> {
        let name = taking.spec.name;
        match taking.probe {
            Ok(probe) => {
                self.figures.extend(Figure::of(name, taking.spec.unit, taking.samples, probe.note()));
            }
            Err(error) if is_wrong(&*error) => return Err(error),
            Err(error) => self.missing.push(Missing { name: name.into(), reason: error.to_string() }),
        }
        Ok(())
    }
}

/// Whether what was read is not what was written.
fn is_wrong(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}
