//! The child's side: it does what it is told to one store, and says what came of it.
#![forbid(unsafe_code)]

use super::{Beside, Message, Outcome, REPLAY, SERIES_STEP_MS, Spec, Start, done_of};
use crate::corpus::Corpus;
use crate::drive::{self, Checked, Driven, Job, Moment, Pace, Tally, Until};
use crate::memory::{Group, How, drop_caches, drop_files};
use crate::trace::Recording;
use crate::usage::{Disk, Transfers, Usage, count_system_calls, reset_peak};
use crate::workload::{Op, Replay, Role, Work};
use crate::{Result, Setup, Store, for_each_store, store};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Instant;

/// The main function of a child: reads its [`Spec`] from standard input. Returns whether all went well.
pub fn child() -> bool {
    // Whatever becomes of the parent, no child goes on without it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let said = read_spec().and_then(|spec| {
        if let Some(group) = &spec.group {
            Group::from_path(group)?.join()?;
        }
        dispatch(&spec)
    });
    let message = match said {
        Ok(outcome) => Message::Done(Box::new(outcome)),
        Err(error) => Message::Failed(error.to_string()),
    };
    let well = matches!(message, Message::Done(_));
    say(&message) && well
}

fn read_spec() -> Result<Spec> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Tells the parent; `false` if it is gone.
fn say(message: &Message) -> bool {
    let Ok(mut line) = serde_json::to_string(message) else { return false };
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_ok()
}

fn phase(what: &str) -> Result<()> {
    if say(&Message::Phase(what.into())) { Ok(()) } else { Err("the parent is gone".into()) }
}

/// Runs the cell on the store that the side is.
fn dispatch(spec: &Spec) -> Result<Outcome> {
    for_each_store!(S => if spec.side == S::NAME {
        return cell::<S>(spec);
    });
    Err(format!("no side of this build is called {}", spec.side).into())
}

fn cell<S: Store>(spec: &Spec) -> Result<Outcome> {
    let corpus = spec.source.open()?;
    if let Work::Load { sorted, per_txn } = spec.workload.work {
        return load::<S>(spec, &corpus, sorted, per_txn);
    }
    if let (Work::Replay(replay), Corpus::Traced(traced)) = (&spec.workload.work, &corpus) {
        return replayed::<S>(spec, &corpus, traced.recording(), replay);
    }
    let Work::Run(roles) = &spec.workload.work else { return Err("nothing to do".into()) };
    if spec.read_only && (spec.own_file().is_none() || roles.iter().any(Role::writes) || spec.aged > 0.0) {
        return Err("only a named table of a file can be read in place, and only read".into());
    }
    let mut entries = spec.entries;
    if spec.aged > 0.0 {
        phase("ageing")?;
        entries = age::<S>(spec, &corpus, entries)?;
    }
    let cold = emptied(spec);
    phase("opening")?;
    let begun = Instant::now();
    let readers = roles.iter().map(|role| role.threads.count(spec.pace.threads)).sum();
    let setup = Setup { readers, ..spec.setup };
    let store = match spec.own_file() {
        Some((file, table)) => S::open_read_only(file, table, &setup)?,
        None => S::open(&spec.dir, &setup)?,
    };
    let open_seconds = begun.elapsed().as_secs_f64();
    let mut entries_before = None;
    if spec.start == Start::Warm {
        phase("reading all entries")?;
        entries_before = Some(warm(&store, &corpus, entries)?);
    }
    phase("running")?;
    let mut meter = Meter::new(spec.own_file().map_or(&spec.dir, |(file, _)| file));
    let job = Job { store: &store, corpus: &corpus, roles, entries, pace: &spec.pace };
    let driven = drive::run(&job, &mut |moment| meter.tell(moment))?;
    let finish = Instant::now();
    // What commits put off belongs to them.
    if roles.iter().any(Role::writes) {
        store.finish()?;
    }
    // Only where those who put it off are measured is it part of their time.
    let theirs = roles.iter().any(|role| role.measured && role.writes());
    let finish = if theirs { finish.elapsed().as_secs_f64() } else { 0.0 };
    let mut measured = Measured { cold, ..meter.end(open_seconds, finish) };
    read_again(&store, &corpus, &driven, &mut measured)?;
    let counters = store.counters();
    let outcome = close(spec, store, driven, measured)?;
    Ok(Outcome { entries_before, counters, ..outcome })
}

/// Reads again what was written and is followed; a note says if that is not all.
fn read_again<S: Store>(store: &S, corpus: &Corpus, driven: &Driven, measured: &mut Measured) -> Result<()> {
    phase("reading again what was written")?;
    let Checked { entries: again, of } = driven.read_again(store, corpus)?;
    if again < of {
        let said =
            format!("{}: of {of} entries that were written and followed, {again} were read again", S::NAME);
        measured.notes.push(said);
    }
    Ok(())
}

/// Reads all entries, of which there must be at least so many. Returns how many there are.
fn warm<S: Store>(store: &S, corpus: &Corpus, entries: u64) -> Result<u64> {
    let there = drive::read_all(store, |key, value| corpus.is_written(key, value))?;
    if there < entries {
        return Err(format!("{}: {there} entries are there, and {entries} should be", S::NAME).into());
    }
    Ok(there)
}

/// Replays a trace, and looks at what there is in the end.
fn replayed<S: Store>(
    spec: &Spec,
    corpus: &Corpus,
    recording: &Recording,
    replay: &Replay,
) -> Result<Outcome> {
    let cold = emptied(spec);
    phase("opening")?;
    let begun = Instant::now();
    let setup =
        Setup { transaction_bytes: recording.largest, readers: spec.pace.threads.max(1), ..spec.setup };
    let store = S::open(&spec.dir, &setup)?;
    let open_seconds = begun.elapsed().as_secs_f64();
    let mut entries_before = None;
    if spec.start == Start::Warm {
        phase("reading all entries")?;
        entries_before = Some(drive::read_all(&store, |key, value| corpus.is_written(key, value))?);
    }
    phase("replaying")?;
    let mut meter = Meter::new(&spec.dir);
    let drive::Replayed { mut driven, notes } = drive::replay(&store, corpus, replay, &mut || meter.begin())?;
    let finish = Instant::now();
    if replay.commits > 0 {
        store.finish()?;
    }
    let finish = finish.elapsed().as_secs_f64();
    let mut measured = Measured { cold, ..meter.end(open_seconds, finish) };
    measured.notes.extend(notes.into_iter().map(|note| format!("{REPLAY}{note}")));
    read_again(&store, corpus, &driven, &mut measured)?;
    phase("checking all entries")?;
    driven.entries = drive::read_all(&store, |key, value| corpus.is_written(key, value))?;
    if let Some(wanted) = recording.entries_at_end.filter(|wanted| *wanted != driven.entries) {
        let entries = driven.entries;
        return Err(
            format!("{}: {entries} entries are there in the end, and {wanted} should be", S::NAME).into()
        );
    }
    let counters = store.counters();
    let outcome = close(spec, store, driven, measured)?;
    Ok(Outcome { entries_before, counters, ..outcome })
}

/// Empties caches as far as the run wants it.
fn emptied(spec: &Spec) -> Option<How> {
    let files = match spec.own_file() {
        Some((file, _)) => [file.to_owned()],
        None => [spec.dir.clone()],
    };
    match spec.start {
        Start::Cold => Some(drop_caches(&files)),
        // What an earlier child has brought into the page cache is not charged to this one's group.
        _ if spec.group.is_some() => Some(drop_files(&files)),
        _ => None,
    }
}

struct Measured {
    usage: Usage,
    disk: Option<Transfers>,
    open_seconds: f64,
    /// Seconds for what commits had put off, part of the time of a run that writes.
    finish: f64,
    cold: Option<How>,
    notes: Vec<String>,
}

/// Counts what a run costs.
struct Meter {
    disk: Option<Disk>,
    before: Used,
    /// When it was paused, and then what was used until it went on.
    apart: Option<Used>,
    notes: Vec<String>,
}

/// What was used until a moment, or between two.
type Used = (Usage, Option<Transfers>);

fn between(now: Used, then: Used) -> Used {
    (now.0.since(&then.0), now.1.zip(then.1).map(|(now, then)| now.since(&then)))
}

impl Meter {
    /// For a store in `dir`.
    fn new(dir: &Path) -> Self {
        let mut notes = Vec::new();
        if let Err(why) = count_system_calls() {
            notes.push(format!("system calls are reads and writes only: {why}"));
        }
        let disk = Disk::of(dir)
            .map_err(|none| notes.push(format!("what reached the disk is unknown: {}", none.why)));
        let disk = disk.ok();
        notes.extend(disk.as_ref().and_then(|disk| disk.note.clone()));
        Self { disk, before: (Usage::default(), None), apart: None, notes }
    }

    fn now(&self) -> Used {
        (Usage::now(), self.disk.as_ref().and_then(|disk| disk.now().ok()))
    }

    fn tell(&mut self, moment: Moment) {
        match moment {
            Moment::Begin => self.begin(),
            Moment::Pause => self.apart = Some(self.now()),
            Moment::Resume => self.apart = self.apart.map(|then| between(self.now(), then)),
        }
    }

    /// From now on it counts.
    fn begin(&mut self) {
        // Where that is not permitted, the peak is that since the process began.
        let _ = reset_peak();
        self.before = self.now();
    }

    fn end(self, open_seconds: f64, finish: f64) -> Measured {
        let used = between(self.now(), self.before);
        let (usage, disk) = self.apart.map_or(used, |apart| between(used, apart));
        Measured { usage, disk, open_seconds, finish, cold: None, notes: self.notes }
    }
}

fn load<S: Store>(spec: &Spec, corpus: &Corpus, sorted: bool, per_txn: u64) -> Result<Outcome> {
    if spec.dir.exists() {
        std::fs::remove_dir_all(&spec.dir)?;
    }
    std::fs::create_dir_all(&spec.dir)?;
    let begun = Instant::now();
    let setup = Setup { transaction_bytes: transaction_bytes(corpus, per_txn), ..spec.setup };
    let store = S::open(&spec.dir, &setup)?;
    let open_seconds = begun.elapsed().as_secs_f64();
    phase("loading")?;
    let mut meter = Meter::new(&spec.dir);
    meter.begin();
    let driven = drive::load(&store, corpus, sorted, per_txn)?;
    let measured = meter.end(open_seconds, 0.0);
    if driven.entries != corpus.entries() {
        return Err(format!("{} of {} entries were loaded", driven.entries, corpus.entries()).into());
    }
    let counters = store.counters();
    close(spec, store, driven, measured).map(|outcome| Outcome { counters, ..outcome })
}

/// Bytes of the largest transaction of a load.
fn transaction_bytes(corpus: &Corpus, per_txn: u64) -> u64 {
    let part = per_txn.min(corpus.entries()) as f64 / corpus.entries().max(1) as f64;
    (corpus.bytes() as f64 * part) as u64
}

fn close<S: Store>(spec: &Spec, store: S, driven: Driven, measured: Measured) -> Result<Outcome> {
    phase("closing")?;
    let begun = Instant::now();
    store.close()?;
    let close_seconds = begun.elapsed().as_secs_f64();
    let tally = &driven.measured;
    Ok(Outcome {
        operations: tally.count(),
        main: main_op(&spec.workload.work, tally),
        seconds: driven.seconds + measured.finish,
        ops: done_of(tally),
        beside: Beside {
            operations: driven.beside.count(),
            ops: done_of(&driven.beside),
            seconds: driven.beside.last.as_secs_f64(),
        },
        entries_read: tally.entries_read,
        bytes_read: tally.bytes_read,
        entries_written: tally.entries_written,
        bytes_written: tally.bytes_written,
        usage: measured.usage,
        disk: measured.disk,
        series: driven.series,
        step_ms: SERIES_STEP_MS,
        checkpoints: driven.checkpoints,
        file_bytes: match spec.own_file() {
            Some((file, _)) => file.metadata()?.len(),
            None => store::file_bytes(&spec.dir)?,
        },
        entries_before: None,
        entries: driven.entries,
        open_loop: driven.open_loop,
        counters: None,
        open_seconds: measured.open_seconds,
        close_seconds,
        cold: measured.cold,
        notes: measured.notes,
    })
}

/// What the workload is about: what measured threads do most often; of several, what is named first.
fn main_op(work: &Work, tally: &Tally) -> Op {
    let roles = match work {
        Work::Run(roles) => roles,
        Work::Load { .. } => return Op::Insert,
        // The same on every side.
        Work::Replay(_) => {
            let most = tally.ops.iter().max_by_key(|(_, done)| done.count);
            return most.map_or(Op::Read, |(op, _)| *op);
        }
    };
    let mut main = (Op::Read, 0.0);
    for role in roles.iter().filter(|role| role.measured) {
        for (op, share) in &role.mix {
            let share = share * role.at_once(*op) as f64;
            if share > main.1 {
                main = (*op, share);
            }
        }
    }
    main.0
}

/// Overwrites random entries, 1,000 a commit.
fn age<S: Store>(spec: &Spec, corpus: &Corpus, entries: u64) -> Result<u64> {
    let store = S::open(&spec.dir, &spec.setup)?;
    let overwrites = (entries as f64 * spec.aged).ceil() as u64;
    let role = Role { per_txn: 1000, ..Role::of(Op::Update) };
    let pace =
        Pace { threads: 1, warmup: 0.0, until: Until::Operations(overwrites), rate: None, ..spec.pace };
    let job = Job { store: &store, corpus, roles: &[role], entries, pace: &pace };
    let driven = drive::run(&job, &mut |_| ())?;
    store.finish()?;
    driven.read_again(&store, corpus)?;
    store.close()?;
    Ok(driven.entries)
}
