//! All figures: their names, units, and what they mean to a B-tree.
#![forbid(unsafe_code)]

use super::engine::Direction;
use super::faults::Touched;
use super::map::Pages;
use super::memory::Level;

/// How a figure is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RandomReads(usize),
    InOrder(Direction),
    Overwrite,
    Append,
    PreadResident,
    PreadAbsent,
    Anonymous(Pages),
    Soft(Touched),
    Hard,
    CopyCached,
    CopyUncached,
    Latency(Level, Pages),
}

/// A figure that can be measured.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) kind: Kind,
}

const fn spec(name: &'static str, unit: &'static str, kind: Kind) -> Spec {
    Spec { name, unit, kind }
}

/// All of them, in the order in which they are measured and shown.
pub(super) static ALL: [Spec; 30] = [
    spec("read-random-1", "reads/s", Kind::RandomReads(1)),
    spec("read-random-2", "reads/s", Kind::RandomReads(2)),
    spec("read-random-4", "reads/s", Kind::RandomReads(4)),
    spec("read-random-8", "reads/s", Kind::RandomReads(8)),
    spec("read-random-16", "reads/s", Kind::RandomReads(16)),
    spec("read-random-32", "reads/s", Kind::RandomReads(32)),
    spec("read-random-64", "reads/s", Kind::RandomReads(64)),
    spec("read-random-128", "reads/s", Kind::RandomReads(128)),
    spec("read-in-order", "MiB/s", Kind::InOrder(Direction::Read)),
    spec("write-in-order", "MiB/s", Kind::InOrder(Direction::Write)),
    spec("sync-overwrite", "µs", Kind::Overwrite),
    spec("sync-append", "µs", Kind::Append),
    spec("pread-resident", "ns", Kind::PreadResident),
    spec("pread-absent", "µs", Kind::PreadAbsent),
    spec("fault-soft-around", "ns", Kind::Soft(Touched::WithNeighbours)),
    spec("fault-soft-alone", "ns", Kind::Soft(Touched::Alone)),
    spec("fault-soft-in-order", "ns", Kind::Soft(Touched::InOrder)),
    spec("fault-hard", "µs", Kind::Hard),
    spec("fault-memory-4k", "ns", Kind::Anonymous(Pages::Small)),
    spec("fault-memory-2m", "ns", Kind::Anonymous(Pages::Huge)),
    spec("copy-cached", "ns", Kind::CopyCached),
    spec("copy-uncached", "ns", Kind::CopyUncached),
    spec("latency-l1-4k", "ns", Kind::Latency(Level::L1, Pages::Small)),
    spec("latency-l1-2m", "ns", Kind::Latency(Level::L1, Pages::Huge)),
    spec("latency-l2-4k", "ns", Kind::Latency(Level::L2, Pages::Small)),
    spec("latency-l2-2m", "ns", Kind::Latency(Level::L2, Pages::Huge)),
    spec("latency-l3-4k", "ns", Kind::Latency(Level::L3, Pages::Small)),
    spec("latency-l3-2m", "ns", Kind::Latency(Level::L3, Pages::Huge)),
    spec("latency-dram-4k", "ns", Kind::Latency(Level::Dram, Pages::Small)),
    spec("latency-dram-2m", "ns", Kind::Latency(Level::Dram, Pages::Huge)),
];

impl Spec {
    /// The spec of that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|spec| spec.name == name)
    }

    /// Whether `name` is this figure's, or begins it: `read` and `read-random` both take `read-random-8` in.
    pub(super) fn answers_to(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// The heading that it stands under.
    pub(super) fn group(&self) -> &'static str {
        match self.kind {
            Kind::RandomReads(_) => "Random reads of 4 KiB past the page cache, by how many are under way",
            Kind::InOrder(_) => "Reads and writes in order, past the page cache",
            Kind::Overwrite | Kind::Append => "Durable writes of 4 KiB",
            Kind::PreadResident | Kind::PreadAbsent => "Buffered pread of 4 KiB",
            Kind::Soft(_) | Kind::Hard | Kind::Anonymous(_) => "First touches of memory",
            Kind::CopyCached | Kind::CopyUncached => "Copies of 4 KiB",
            Kind::Latency(..) => "Loads that each wait for the one before",
        }
    }

    /// Whether it is measured in turn with its group. What takes much memory is not, so that only one has it.
    pub(super) fn in_turn_with(&self, other: &Self) -> bool {
        let alone = |kind| matches!(kind, Kind::CopyCached | Kind::CopyUncached | Kind::Latency(..));
        self.group() == other.group() && !alone(self.kind)
    }

    /// Whether it reads the file.
    pub(super) fn needs_file(&self) -> bool {
        match self.kind {
            Kind::RandomReads(_)
            | Kind::InOrder(_)
            | Kind::PreadResident
            | Kind::PreadAbsent
            | Kind::Soft(_)
            | Kind::Hard => true,
            Kind::Overwrite
            | Kind::Append
            | Kind::Anonymous(_)
            | Kind::CopyCached
            | Kind::CopyUncached
            | Kind::Latency(..) => false,
        }
    }

    /// What `value` of it means for a B-tree with pages of 4 KiB.
    pub(super) fn meaning(&self, value: f64) -> String {
        let a_second = |micros: f64| 1e6 / micros;
        match self.kind {
            Kind::RandomReads(1) => format!("a descent waits {:.0} µs for a page", 1e6 / value),
            Kind::RandomReads(depth) => {
                format!("{depth} descents at once: {:.1} µs a page", 1e6 / value)
            }
            Kind::InOrder(Direction::Read) => {
                format!("a scan reads a page in {:.1} µs", a_second(value * 256.0))
            }
            Kind::InOrder(Direction::Write) => {
                format!("a load or checkpoint writes a page in {:.1} µs", a_second(value * 256.0))
            }
            Kind::Overwrite => format!("{:.0} commits/s of one writer, log reused", a_second(value)),
            Kind::Append => format!("{:.0} commits/s of one writer, log growing", a_second(value)),
            Kind::PreadResident => "a page not in the pool, but in the page cache".into(),
            Kind::PreadAbsent => "a page in neither, by pread".into(),
            Kind::Soft(Touched::WithNeighbours) => "mmap: the first touch of a warm page and 15 more".into(),
            Kind::Soft(Touched::Alone) => "mmap: the first touch of a warm page among cold ones".into(),
            Kind::Soft(Touched::InOrder) => "mmap: a page of the first scan of a warm file".into(),
            Kind::Hard => "mmap: a page that is not in memory".into(),
            Kind::Anonymous(Pages::Small) => "the pool's first use of a frame".into(),
            Kind::Anonymous(Pages::Huge) => {
                format!("{:.0} ns a frame of the pool, in huge pages", value / 512.0)
            }
            Kind::CopyCached => "the least that a copy of a page costs".into(),
            Kind::CopyUncached => "a copy of a page that was not used lately".into(),
            Kind::Latency(Level::L1, _) => "a step of the search in a page just used".into(),
            Kind::Latency(Level::L2, _) => "the same in the upper branches".into(),
            Kind::Latency(Level::L3, _) => "a step in branches of a larger tree".into(),
            Kind::Latency(Level::Dram, Pages::Small) => "a line of a cold leaf in a mapped file".into(),
            Kind::Latency(Level::Dram, Pages::Huge) => "a line of a cold leaf in a pool of huge pages".into(),
        }
    }
}

/// The figures that `names` ask for; all if there are none.
///
/// # Errors
/// Words, with all names, if one asks for nothing that exists.
pub(super) fn chosen(names: &[String]) -> Result<Vec<&'static Spec>, String> {
    if let Some(name) = names.iter().find(|name| !ALL.iter().any(|spec| spec.answers_to(name))) {
        let all: Vec<_> = ALL.iter().map(|spec| spec.name).collect();
        return Err(format!("there is no figure {name:?}, but these: {}", all.join(", ")));
    }
    let wanted = |spec: &&Spec| names.is_empty() || names.iter().any(|name| spec.answers_to(name));
    Ok(ALL.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_choose_what_they_begin() {
        for (at, spec) in ALL.iter().enumerate() {
            assert!(ALL[at + 1..].iter().all(|other| other.name != spec.name), "{} twice", spec.name);
        }
        let count = |names: &[&str]| {
            chosen(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).map(|specs| specs.len())
        };
        assert_eq!(count(&[]), Ok(ALL.len()));
        assert_eq!(count(&["read-random"]), Ok(8));
        assert_eq!(count(&["read-random-1"]), Ok(1));
        assert_eq!(count(&["latency-l1", "copy-cached"]), Ok(3));
        assert!(count(&["read-rand"]).unwrap_err().contains("latency-dram-2m"));
        assert!(count(&[""]).is_err());
    }

    #[test]
    fn groups_stand_together() {
        let mut groups: Vec<_> = ALL.iter().map(Spec::group).collect();
        groups.dedup();
        let len = groups.len();
        groups.sort_unstable();
        groups.dedup();
        assert_eq!(groups.len(), len);
    }
}
