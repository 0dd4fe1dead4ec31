//! Right histories are never accused, and wrong ones are; the rule is what a search through all that happened says.

use super::*;
use proptest::prelude::*;

/// All that happened to one key, from which the rule is computed anew.
#[derive(Default)]
struct All(Vec<Written>);

impl All {
    /// The rule, with nothing forgotten. Version 0 of `base` is what was there before.
    fn may_show(&self, content: Content, first: Content, since: u64) -> bool {
        let before = self.0.iter().filter(|write| write.acknowledged < since);
        let floor = before.map(|write| write.begun).max().unwrap_or(0);
        let shown = self.0.iter().any(|write| write.content == content && write.acknowledged >= floor);
        shown || floor == 0 && content == first
    }
}

const KEY: &[u8] = b"key";
const FIRST: Content = Content::Version(1_000_000_000);

/// A thread amid its call.
enum Call {
    Write { batch: Batch, content: Content, at: usize, done: bool },
    Read { since: u64, shown: Option<Content> },
}

/// A store of one key, and what threads do to it step by step: a call begins, has its effect, and ends.
struct World {
    history: History,
    all: All,
    now: Content,
    /// What each commit left, the first content before them.
    states: Vec<Content>,
    calls: Vec<Option<Call>>,
    /// Writes that are acknowledged and have no effect: each so many; 0 for none.
    drop: usize,
    dropped: u64,
    writes: usize,
    accused: u64,
}

impl World {
    fn new(threads: usize, drop: usize) -> Self {
        let history = History { base: 0, ..History::new(1, None, 1) };
        let calls = (0..threads).map(|_| None).collect();
        let (now, states, all) = (FIRST, vec![FIRST], All::default());
        Self { history, all, now, states, calls, drop, dropped: 0, writes: 0, accused: 0 }
    }

    fn write(&mut self, puts: bool) -> Call {
        let mut batch = Batch::default();
        let version = self.history.begin(std::iter::once((0, KEY)), puts, &mut batch).unwrap();
        let content = if puts { Content::Version(version) } else { Content::Nothing };
        self.all.0.push(Written { begun: batch.begun, acknowledged: UNDER_WAY, content });
        Call::Write { batch, content, at: self.all.0.len() - 1, done: false }
    }

    /// The next step of a thread; `what` chooses its next call, if it is between two.
    fn step(&mut self, thread: usize, what: u8) {
        let thread = thread % self.calls.len();
        let next = match self.calls[thread].take() {
            None if what < 100 => Some(self.write(true)),
            None if what < 120 => Some(self.write(false)),
            None => Some(Call::Read { since: self.history.now(), shown: None }),
            Some(Call::Write { batch, content, at, done: false }) => {
                self.writes += 1;
                if self.drop == 0 || !self.writes.is_multiple_of(self.drop) {
                    self.now = content;
                    self.states.push(content);
                } else {
                    self.dropped += 1;
                }
                Some(Call::Write { batch, content, at, done: true })
            }
            Some(Call::Write { mut batch, at, done: true, .. }) => {
                self.all.0[at].acknowledged = self.history.now();
                self.history.acknowledge(&mut batch);
                None
            }
            Some(Call::Read { since, shown: None }) => Some(Call::Read { since, shown: Some(self.now) }),
            Some(Call::Read { since, shown: Some(shown) }) => {
                self.judge(shown, since);
                None
            }
        };
        self.calls[thread] = next;
    }

    /// Never harder than the rule, and as hard where nothing was forgotten that it needs.
    fn judge(&mut self, shown: Content, since: u64) -> bool {
        let forgotten = self.history.stripe(0).get(&0).map_or(u64::MAX, |entry| entry.forgotten);
        let may = self.history.may_show(0, KEY, shown, since);
        let rule = self.all.may_show(shown, FIRST, since);
        assert!(may || !rule, "{shown:?} at {since} is accused: {:?}", self.all.0);
        assert!(!may || rule || since <= forgotten, "{shown:?} at {since}: {:?}", self.all.0);
        self.accused += u64::from(!may);
        may
    }

    /// Lets all calls end.
    fn settle(&mut self) {
        for thread in 0..self.calls.len() {
            while self.calls[thread].is_some() {
                self.step(thread, 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn right_histories_are_never_accused(
        threads in 1usize..6,
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..400),
    ) {
        let mut world = World::new(threads, 0);
        for (thread, what) in steps {
            world.step(usize::from(thread), what);
        }
        world.settle();
        let (now, since) = (world.now, world.history.now());
        world.judge(now, since);
        prop_assert_eq!(world.accused, 0);
    }

    #[test]
    fn whatever_is_shown_is_judged_by_the_rule(
        threads in 1usize..6,
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<prop::sample::Index>()), 0..200),
    ) {
        let mut world = World::new(threads, 3);
        for (thread, what, earlier) in steps {
            world.step(usize::from(thread), what);
            let since = world.history.now();
            let shown = *earlier.get(&world.states);
            world.judge(shown, since);
        }
    }

    /// A writer alone: what the last commit left is there, or it is told.
    #[test]
    fn a_lone_writers_lost_update_is_always_noticed(writes in 2usize..60, drop in 2usize..10) {
        let mut world = World::new(1, drop);
        for _ in 0..writes {
            let dropped = world.dropped;
            (0..3).for_each(|_| world.step(0, 0));
            let (now, since) = (world.now, world.history.now());
            prop_assert_eq!(world.judge(now, since), world.dropped == dropped);
        }
        let stale: Vec<Content> = world.states[..world.states.len() - 1].to_vec();
        let since = world.history.now();
        for shown in stale {
            prop_assert!(!world.judge(shown, since));
        }
    }
}

#[test]
fn writes_side_by_side_may_be_in_either_order_and_no_earlier_one_may_be_shown() {
    let mut world = World::new(3, 0);
    let step = |world: &mut World, thread: usize| world.step(thread, 0);
    (0..3).for_each(|_| step(&mut world, 0));
    let before = world.now;
    let early = world.history.now();
    // Two at once; the one that has its effect first is acknowledged last.
    for thread in [1, 2, 1, 2, 2, 1] {
        step(&mut world, thread);
    }
    let since = world.history.now();
    let (first, second) = (world.states[2], world.states[3]);
    assert!(world.judge(first, since) && world.judge(second, since));
    assert!(!world.judge(before, since), "both of them came after it");
    assert!(world.judge(before, early), "a read that had begun before them");
    assert!(!world.judge(FIRST, since) && !world.judge(Content::Nothing, since));
}

#[test]
fn what_was_there_before_is_learnt_and_must_stay() {
    let mut world = World::new(1, 0);
    world.step(0, 0);
    let since = world.history.now();
    for (shown, may) in [(7, true), (8, false), (7, true)] {
        assert_eq!(world.history.may_show(0, KEY, Content::Version(shown), since), may);
    }
    assert!(world.history.may_show(0, b"another key of this tag", Content::Nothing, since));
}

#[test]
fn memory_is_bounded_and_the_rest_is_not_judged() {
    let history = History::new(1_000_000, None, 1);
    let followed = (0..1 << 20).filter(|n| history.follows(crate::corpus::mix(*n))).count();
    assert!((15_000..18_000).contains(&followed), "{followed} of a million");
    let every = |entries, memory| History::new(entries, memory, 1).mask + 1;
    assert_eq!((every(1 << 30, None), every(500, None)), (1 << 14, 1));
    let (all, mut batch) = (History::new(1, None, 1), Batch::default());
    for number in 0..4 * MOST {
        let key = number.to_be_bytes();
        all.begin(std::iter::once((crate::corpus::mix(number), key.as_slice())), true, &mut batch).unwrap();
        all.acknowledge(&mut batch);
    }
    assert_eq!(all.keys().len() as u64, MOST);
    let since = all.now();
    let accused = (0..4 * MOST).filter(|number| {
        !all.may_show(crate::corpus::mix(*number), &number.to_be_bytes(), Content::Nothing, since)
    });
    assert_eq!(accused.count() as u64, MOST);
    // A small part of a small memory.
    let small = History::new(1, Some(64 << 20), 1);
    for number in 0..MOST {
        let key = number.to_be_bytes();
        small.begin(std::iter::once((crate::corpus::mix(number), key.as_slice())), true, &mut batch).unwrap();
        small.acknowledge(&mut batch);
    }
    assert!((3000..3500).contains(&small.keys().len()), "{}", small.keys().len());
    assert_eq!((every(1 << 30, Some(1 << 40)), every(1 << 20, Some(64 << 20))), (1 << 14, 512));
    // One entry, written often: what may not be shown is forgotten.
    for _ in 0..10_000 {
        history.begin(std::iter::once((0, KEY)), true, &mut batch).unwrap();
        history.acknowledge(&mut batch);
    }
    assert!(history.stripe(0)[&0].writes.len() <= WRITES);
}

#[test]
fn of_few_entries_about_a_thousand_are_followed() {
    for entries in (1..200).map(|n| n * 777) {
        let followed = entries / (History::new(entries, None, 1).mask + 1);
        assert!(followed >= LEAST.min(entries) && followed >= entries / EVERY, "{followed} of {entries}");
        assert!(followed <= (2 * LEAST).max(entries / EVERY), "{followed} of {entries}");
    }
}

#[test]
fn values_that_say_no_version_are_told_by_their_lengths() {
    let (history, mut batch) = (History::new(1, None, 1), Batch::default());
    let all = [Content::Short(5), Content::Short(6), Content::Nothing, Content::of(0, 8)];
    // What was there before is learnt from the first read, and is not there any more after the first write.
    let write = |content, batch: &mut Batch| {
        history.begin_each(std::iter::once((0, KEY, Some(content))), batch).unwrap();
        history.acknowledge(batch);
    };
    for content in [all[0], all[1], all[2], all[0]] {
        write(content, &mut batch);
        let since = history.now();
        for shown in all {
            assert_eq!(history.may_show(0, KEY, shown, since), shown == content, "{shown:?} of {content:?}");
        }
    }
    assert_eq!([Content::of(7, 7), Content::of(7, 8)], [Content::Short(7), Content::Version(7)]);
    // Of a transaction, those that say no version and those that do.
    let keys = [(0, KEY, Some(Content::Short(3))), (1, &b"other"[..], None)];
    let version = history.begin_each(keys.into_iter(), &mut batch).unwrap();
    history.acknowledge(&mut batch);
    let since = history.now();
    assert!(history.may_show(0, KEY, Content::Short(3), since));
    assert!(history.may_show(1, b"other", Content::Version(version), since));
    assert!(!history.may_show(1, b"other", Content::Short(3), since));
}
