//! What `bifold-bench compare` may be told.
#![forbid(unsafe_code)]

use super::run::{Outputs, PartPlan};
use super::setup::{Memory, setup_for};
use super::sides::choose_sides;
use crate::cell::{Interrupt, Source};
use crate::corpus::{Corpus, KEY_LEAST, Made, Sizes, VALUE_LEAST, database_of};
use crate::drive::{self, Pace, Until};
use crate::report::{Part, size};
use crate::workload::{self, Distribution, Op, Role, Work, Workload, ycsb};
use crate::{Result, Sabotage};
use std::path::{Path, PathBuf};

/// The options of a comparison.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What is done; `bifold-bench list` says what there is. With no workload at all, a quick tour: the data set that
    /// comes with Bifold, and data four times a small memory limit; ycsb-c if data are asked for
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<String>,
    /// A comparison that is ready made
    #[arg(long, value_enum, conflicts_with_all = ["workloads", "ycsb", "entries", "data", "from", "keys", "values", "rate", "operations", "per_txn", "distribution"])]
    pub preset: Option<Preset>,
    /// Measure what the machine can do, too, and say how near the sides come (some seconds; see `bifold-bench limits`)
    #[arg(long)]
    pub limits: bool,
    /// A file of YCSB properties, whose workload is run too; its counts are taken where no option says otherwise
    #[arg(long, value_name = "FILE")]
    pub ycsb: Vec<PathBuf>,
    /// Replay a trace that a Bifold database recorded (`record_trace`), on what was there when the recording began: what its
    /// calls found then, or --from a copy of the database
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workloads", "preset", "ycsb", "entries", "data", "keys", "values", "per_txn", "distribution", "threads", "warmup", "duration", "operations", "rate", "aged"])]
    pub trace: Option<PathBuf>,
    /// Replay it at so many times the recorded pace, latencies counting from when a call was due; as fast as the side
    /// can by default
    #[arg(long, value_name = "TIMES", requires = "trace", value_parser = speed)]
    pub trace_speed: Option<f64>,
    /// The sides: mmap, pool, pread, other stores of this build, or all; Bifold's by default
    #[arg(long, value_delimiter = ',')]
    pub sides: Vec<String>,
    /// The side that ratios refer to; the first by default
    #[arg(long)]
    pub baseline: Option<String>,
    /// Entries
    #[arg(long, conflicts_with = "data", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub entries: Option<u64>,
    /// Bytes of keys and values: a size, or a multiple of --memory, as 4x [default: 256MiB]
    #[arg(long)]
    pub data: Option<String>,
    /// Bytes of a key: 16, 10-30 (each as often), or ~20 (exponential with this mean); at least 8 [default: 16]
    #[arg(long)]
    pub keys: Option<Sizes>,
    /// Bytes of a value, in the same way [default: 100]
    #[arg(long)]
    pub values: Option<Sizes>,
    /// The data, instead of made entries: a Bifold database, which is only read, or what bifold load takes: TSV, JSON
    /// lines, or a dump of LMDB or Berkeley DB
    #[arg(long, value_name = "FILE", conflicts_with_all = ["entries", "data", "keys", "values"])]
    pub from: Option<PathBuf>,
    /// Its table; the largest by default
    #[arg(long, requires = "from")]
    pub table: Option<String>,
    /// Operations a transaction, of gets and of writes: 1 begins one for each, 100 holds it for so many [default: the
    /// workload's]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub per_txn: Option<u64>,
    /// How requests are spread over the entries [default: the workload's]
    #[arg(long, value_enum)]
    pub distribution: Option<Distribution>,
    /// Threads
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: Option<u64>,
    /// Rounds of each workload, which follow each other; in each, every side does it once, and another side goes first
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// Seconds before anything counts [default: 1, and with --memory 1 more for each 60 MB of it, at most 60]
    #[arg(long, value_parser = seconds)]
    pub warmup: Option<f64>,
    /// Seconds of a run [default: 5]
    #[arg(long, value_parser = seconds, conflicts_with = "operations")]
    pub duration: Option<f64>,
    /// Operations of a run, instead of a time
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub operations: Option<u64>,
    /// Operations a second that begin at even times whether or not the side keeps up, each a transaction of its own;
    /// latencies count from when they were due. As many as the side can by default
    #[arg(long, value_parser = rate, conflicts_with = "per_txn")]
    pub rate: Option<f64>,
    /// Random overwrites of a store that was loaded, before its first run, as a multiple of the entries
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub aged: f64,
    /// Other data and choices for each
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long it may take, as 90s, 10m or 1.5h: what is estimated to take longer is refused, and when the time has come no
    /// other run is begun
    #[arg(long, value_name = "TIME", value_parser = crate::crossover::budget)]
    pub budget: Option<f64>,
    /// Memory that each side's process has in all, page cache included: it runs in a memory cgroup
    #[arg(long, value_parser = crate::sizes::bytes)]
    pub memory: Option<u64>,
    /// Cache of a store that has one of its own; by the rule that is printed otherwise
    #[arg(long, value_parser = crate::sizes::bytes)]
    pub cache: Option<u64>,
    /// Changes that a store may hold back; by the rule that is printed otherwise
    #[arg(long, value_parser = crate::sizes::bytes)]
    pub delta: Option<u64>,
    /// Empty the caches before each run, as far as that is permitted
    #[arg(long)]
    pub cold: bool,
    /// Where a directory for the stores is made; the current one by default
    #[arg(long, value_parser = crate::sizes::directory)]
    pub dir: Option<PathBuf>,
    /// Leave the stores there
    #[arg(long)]
    pub keep: bool,
    /// Write all figures to this file; rewritten after every run, so that nothing is lost
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write a page to this file
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Break a side of Bifold's on purpose, to see that it is noticed: SIDE=HOW with wrong-byte, lost-updates, stale-reads
    /// or slow-reads:MILLISECONDS
    #[cfg_attr(not(feature = "testing"), arg(skip))]
    #[cfg_attr(feature = "testing", arg(long, value_parser = sabotage))]
    pub sabotage: Option<(String, Sabotage)>,
}

/// Comparisons that are ready made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Preset {
    /// What comes without any option: the data set of Bifold in memory, and data four times a small memory limit
    Quick,
    /// What every article on mmap argues about: a descent a query in memory and beyond it, what it costs in system calls,
    /// copies and faults, and what writing through a mapping costs
    Article,
}

/// The page of a tour, unless it is said.
const PAGE: &str = "bifold-bench.html";
/// What is done to data that are asked for, unless it is said.
const WORKLOAD: &str = "ycsb-c";
/// Bytes of made data, unless it is said.
const DATA: u64 = 256 << 20;
/// Bytes of a key and of a value, unless it is said.
const KEY: u32 = 16;
const VALUE: u32 = 100;
/// Seconds of a warm-up and of a run, unless it is said.
const SECONDS: (f64, f64) = (1.0, 5.0);
/// Bytes of pages that random reads of one thread bring into a cache in a second, about, and what is waited at most.
const FILLED: f64 = 60e6;
const FILL_MOST: f64 = 60.0;

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(_) => Err(format!("not from {least} to {most}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(feature = "testing")]
fn sabotage(text: &str) -> Result<(String, Sabotage), String> {
    let (side, how) = text.split_once('=').ok_or("not SIDE=HOW")?;
    let how = match how.split_once(':') {
        None if how == "wrong-byte" => Sabotage::WrongByte,
        None if how == "lost-updates" => Sabotage::LostUpdates,
        None if how == "stale-reads" => Sabotage::StaleReads,
        Some(("slow-reads", ms)) => {
            Sabotage::SlowReads(ms.parse().map_err(|error| format!("{ms}: {error}"))?)
        }
        _ => return Err("not wrong-byte, lost-updates, stale-reads or slow-reads:MILLISECONDS".into()),
    };
    Ok((side.into(), how))
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e6)
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1e9)
}

fn speed(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1e6)
}

fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1000.0)
}

/// Makes each operation that is due a transaction of its own, and says so; what reads many at once still does.
fn singly(workload: &mut Workload) {
    let Work::Run(roles) = &mut workload.work else { return };
    let due = |role: &&mut Role| role.measured && !role.in_snapshot;
    let mut held = false;
    for role in roles.iter_mut().filter(due).filter(|role| role.mix.iter().all(|(op, _)| *op != Op::ReadMany))
    {
        held |= role.per_txn > 1 || role.per_commit.is_some_and(|entries| entries > 1);
        (role.per_txn, role.per_commit) = (1, None);
    }
    if held {
        workload.about =
            format!("{}; here each operation that is due is a transaction of its own", workload.about);
    }
}

/// The entries of a file that is known by a name, of a table or the largest: a database made of it in `dir`, if it is
/// none itself.
///
/// # Errors
/// Those of [`database_of`].
pub(super) fn source_of(
    (file, name): (&Path, String),
    table: Option<String>,
    seed: u64,
    dir: &Path,
    interrupt: &Interrupt,
) -> Result<Source> {
    let path = database_of(file, dir, interrupt)?;
    let own = file.canonicalize().is_ok_and(|file| file == path);
    Ok(Source::File { path, table, seed, made_of: (!own).then_some(name) })
}

impl Options {
    /// Whether no work and no data are asked for but what comes without any option.
    fn is_tour(&self) -> bool {
        let data = self.entries.is_some() || self.data.is_some() || self.from.is_some();
        let sizes = self.keys.is_some() || self.values.is_some();
        let ways = self.per_txn.is_some() || self.distribution.is_some();
        let work = self.preset == Some(Preset::Article)
            || !self.workloads.is_empty()
            || !self.ycsb.is_empty()
            || self.trace.is_some();
        !(data || sizes || ways || work)
    }

    /// How it is run, with so many threads, and seconds of a warm-up and of a run, unless it is said otherwise.
    pub(super) fn pace(&self, threads: u64, (warmup, run): (f64, f64)) -> Pace {
        Pace {
            threads: self.threads.unwrap_or(threads),
            warmup: self.warmup.unwrap_or(warmup),
            until: match self.operations {
                Some(operations) => Until::Operations(operations),
                None => Until::Seconds(self.duration.unwrap_or(run)),
            },
            rate: self.rate,
            seed: self.seed,
        }
    }

    /// The limits that reports refer to, in some seconds.
    pub(super) fn some_limits() -> crate::limits::Options {
        const FIGURES: [&str; 6] = [
            "read-random",
            "sync-overwrite",
            "pread-resident",
            "pread-absent",
            "fault-soft-alone",
            "fault-hard",
        ];
        crate::limits::Options {
            dir: PathBuf::new(),
            file_size: 256 << 20,
            seconds: 0.25,
            only: FIGURES.map(String::from).to_vec(),
            max_memory: None,
            threads: false,
            json: None,
        }
    }

    /// Where results go.
    pub fn outputs(&self) -> Outputs {
        // A tour ends with a page.
        let html = self.html.clone().or_else(|| self.is_tour().then(|| PathBuf::from(PAGE)));
        Outputs { json: self.json.clone(), html }
    }

    /// An option that belongs to another is refused without it. clap waives that where something conflicts with the
    /// other.
    fn check_companions(&self) -> Result<()> {
        if self.trace_speed.is_some() && self.trace.is_none() {
            return Err("--trace-speed goes with --trace".into());
        }
        if self.table.is_some() && self.from.is_none() {
            return Err("--table goes with --from".into());
        }
        Ok(())
    }

    /// What is to be run. Data that have to be brought into another form go to `dir`, unless the user ends it.
    ///
    /// # Errors
    /// What is wrong; that it was interrupted.
    pub fn parts(&self, dir: &Path, interrupt: &Interrupt) -> Result<Vec<PartPlan>> {
        self.check_companions()?;
        match self.preset {
            Some(Preset::Article) => return super::article::parts(self),
            _ if self.is_tour() => return super::quick::parts(self, dir, interrupt),
            _ if self.trace.is_some() => return super::replay::parts(self, dir, interrupt),
            _ => {}
        }
        let mut workloads: Vec<Workload> = Vec::new();
        let (mut entries, mut operations, mut threads, mut value_len) = (None, None, None, None);
        for path in &self.ycsb {
            let name =
                path.file_name().map_or_else(|| "ycsb".into(), |name| name.to_string_lossy().into_owned());
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let read = ycsb::parse(&name, &text)?;
            (entries, operations) = (entries.or(read.entries), operations.or(read.operations));
            (threads, value_len) = (threads.or(read.threads), value_len.or(read.value_len));
            workloads.push(read.workload);
        }
        for name in &self.workloads {
            workloads.push(workload::find(name)?);
        }
        if workloads.is_empty() {
            workloads.push(workload::find(WORKLOAD)?);
        }
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = workloads.iter().find(|workload| !seen.insert(workload.name.clone())) {
            return Err(format!("two workloads are called {}", twice.name).into());
        }
        for workload in &mut workloads {
            self.adapt(workload);
        }
        let values = self.values.unwrap_or(Sizes::Fixed(value_len.unwrap_or(VALUE)));
        let source = self.source(entries, values, dir, interrupt)?;
        let corpus = source.open_shown(interrupt)?;
        if matches!(source, Source::File { .. })
            && let Some(workload) = workloads.iter().find(|workload| workload.inserts())
        {
            return Err(
                format!("{} inserts new entries, which a file's data have none of", workload.name).into()
            );
        }
        if self.rate.is_some()
            && let Some(workload) =
                workloads.iter().find(|workload| matches!(workload.work, workload::Work::Load { .. }))
        {
            return Err(format!("{} is a load, which has no --rate", workload.name).into());
        }
        // A cache that begins empty has to fill.
        let fill = self.memory.map_or(0.0, |memory| (memory as f64 / FILLED).min(FILL_MOST));
        let mut pace = self.pace(threads.unwrap_or(1), (SECONDS.0 + fill, SECONDS.1));
        if let (None, Some(operations)) = (self.operations, operations.filter(|_| self.ycsb.len() == 1)) {
            pace.until = Until::Operations(operations);
        }
        Ok(vec![self.part(&corpus, source, workloads, pace)?])
    }

    /// What was asked for instead of the workload's own.
    fn adapt(&self, workload: &mut Workload) {
        match &mut workload.work {
            Work::Load { per_txn, .. } => *per_txn = self.per_txn.unwrap_or(*per_txn),
            // It has its own ways, and no option for others.
            Work::Replay(_) => {}
            Work::Run(roles) => {
                for role in roles {
                    role.per_txn = self.per_txn.unwrap_or(role.per_txn);
                    role.distribution = self.distribution.unwrap_or(role.distribution);
                }
            }
        }
        if let Some(per_txn) = self.per_txn {
            workload.about = format!("{}; here {per_txn} a transaction", workload.about);
        }
        if let Some(distribution) = self.distribution {
            workload.about =
                format!("{}; here {}", workload.about, format!("{distribution:?}").to_lowercase());
        }
    }

    pub(super) fn part(
        &self,
        corpus: &Corpus,
        source: Source,
        mut workloads: Vec<Workload>,
        pace: Pace,
    ) -> Result<PartPlan> {
        if pace.rate.is_some() {
            workloads.iter_mut().for_each(singly);
        }
        let sides = choose_sides(&self.sides)?;
        let baseline = self.baseline(&sides)?;
        let data_bytes = corpus.bytes();
        let (setup, rule) =
            setup_for(data_bytes, &Memory { group: self.memory, cache: self.cache, delta: self.delta });
        // With what a tree takes besides its data, in the smaller of page cache and a cache of its own.
        let fits = !self.cold && setup.cache_bytes >= data_bytes / 8 * 11;
        let begins = match (self.cold, fits) {
            (true, _) => "each run begins with empty caches, as far as that is permitted",
            (_, true) => "each run begins when every entry has been read once",
            (_, false) => "the data do not fit in memory; each run begins with a warm-up",
        };
        let mut notes = vec![rule, begins.into()];
        if self.aged > 0.0 {
            notes.push(format!(
                "when a store was loaded, {:.0} % of the entries are overwritten before its first run",
                self.aged * 100.0
            ));
        }
        let inserts = workloads.iter().filter(|workload| workload.inserts());
        let inserts: Vec<&str> = inserts.map(|workload| workload.name.as_str()).collect();
        if !inserts.is_empty() {
            notes.push(format!(
                "each round of {}, which inserts, and what follows begins on a store that is loaded anew",
                inserts.join(", of ")
            ));
        }
        if let Some(rate) = self.rate {
            notes.push(format!(
                "open loop: {rate} operations a second are due, each a transaction of its own; latencies count from when"
            ));
        }
        // Loads do not follow what they write.
        let followed = workloads.iter().any(|w| !matches!(w.work, Work::Load { .. }) && w.writes());
        let title = match self.memory {
            Some(memory) => format!("{} of data, {} MiB of memory", size(data_bytes), memory >> 20),
            None => format!("{} of data", size(data_bytes)),
        };
        let part = Part {
            title,
            sides,
            baseline,
            workloads,
            source,
            data_bytes,
            entries: corpus.entries(),
            rounds: self.rounds,
            pace,
            setup,
            fits,
            memory: self.memory,
            notes,
            check_nanos: drive::check_nanos(corpus, followed),
        };
        Ok(PartPlan { part, aged: self.aged, cold: self.cold, sabotage: self.sabotage.clone() })
    }

    /// The one of `sides` that ratios are to.
    fn baseline(&self, sides: &[String]) -> Result<String> {
        let Some(name) = &self.baseline else {
            return Ok(sides.first().cloned().ok_or("no sides")?);
        };
        let name = choose_sides(std::slice::from_ref(name))?.remove(0);
        if !sides.contains(&name) {
            return Err(format!("the baseline {name} is none of the sides").into());
        }
        Ok(name)
    }

    fn source(
        &self,
        entries: Option<u64>,
        values: Sizes,
        dir: &Path,
        interrupt: &Interrupt,
    ) -> Result<Source> {
        if let Some(path) = &self.from {
            let name = path.display().to_string();
            return source_of((path, name), self.table.clone(), self.seed, dir, interrupt);
        }
        let keys = self.keys.unwrap_or(Sizes::Fixed(KEY));
        for (what, sizes, least) in [("--keys", keys, KEY_LEAST), ("--values", values, VALUE_LEAST)] {
            if let Sizes::Fixed(size) | Sizes::Uniform(size, _) = sizes
                && size < least
            {
                return Err(format!("{what} {sizes}: made ones have at least {least} bytes").into());
            }
        }
        let one = Made { entries: 1, keys, values, seed: self.seed };
        let entries = match (self.entries.or(entries), &self.data) {
            (Some(entries), None) => entries,
            (_, data) => self.data_bytes(data.as_deref())? / one.bytes().max(1),
        };
        Ok(Source::Made(Made { entries: entries.max(1), ..one }))
    }

    fn data_bytes(&self, data: Option<&str>) -> Result<u64> {
        let Some(text) = data else { return Ok(DATA) };
        if let Some(times) = text.strip_suffix(['x', 'X']) {
            let memory = self.memory.ok_or("--data as a multiple goes with --memory")?;
            return Ok((number(times, 0.001, 10_000.0)? * memory as f64) as u64);
        }
        Ok(crate::sizes::bytes(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_imported_is_known_by_what_it_was_imported_from() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("x.tsv");
        std::fs::write(&text, "a\t1\nb\t2\n").unwrap();
        let of = |file: &Path, table: Option<&str>| {
            let name = "mine/x.tsv".to_owned();
            let table = table.map(str::to_owned);
            source_of((file, name), table, 1, dir.path(), &Interrupt::default()).unwrap()
        };
        let source = of(&text, None);
        assert_eq!(source.named(), "mine/x.tsv");
        let shown = serde_json::to_string(&source.shown()).unwrap();
        assert!(shown.contains("\"mine/x.tsv\"") && !shown.contains("imported-"), "{shown}");
        let error = of(&text, Some("none")).open().unwrap_err().to_string();
        assert!(error.starts_with("mine/x.tsv: ") && !error.contains("imported-"), "{error}");
        // A database is read itself.
        let Source::File { path, .. } = source else { panic!("no file") };
        assert_eq!(of(&path, None).named(), path.canonicalize().unwrap().display().to_string());
    }

    #[test]
    fn what_is_due_at_a_rate_is_one_a_transaction() {
        for (name, per_txn, said) in
            [("get", &[1][..], true), ("long-reader", &[1, 100], true), ("get-txn", &[1], false)]
        {
            let mut workload = workload::find(name).unwrap();
            singly(&mut workload);
            let Work::Run(roles) = &workload.work else { panic!("{name} runs") };
            assert_eq!(roles.iter().map(|role| role.per_txn).collect::<Vec<_>>(), per_txn, "{name}");
            assert_eq!(workload.about.ends_with("a transaction of its own"), said, "{}", workload.about);
        }
        // One operation that is due gets 64.
        let many = workload::find("get-many").unwrap();
        let mut same = many.clone();
        singly(&mut same);
        assert_eq!(same, many);
    }
}
