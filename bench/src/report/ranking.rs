//! How more than two sides stand: which of all is the fastest, and how Bifold's stand to the others.
#![forbid(unsafe_code)]

use super::contest::{Contest, Doubt, Doubts, are, times};
use super::{Row, Value};

/// The rate of a side, if it has one that is more than zero.
pub(super) fn raced(row: &Row<'_>) -> Option<Value> {
    row.rate.filter(|rate| rate.median > 0.0)
}

/// The fastest of the sides of each workload, counted.
#[derive(Default, Debug)]
pub(super) struct Fastest<'r> {
    /// How often each is the fastest.
    wins: Vec<(&'r str, usize)>,
    within: usize,
    undecided: usize,
}

impl<'r> Fastest<'r> {
    /// Counts a workload, and says which side is the fastest; `None` if there are not two to compare.
    pub(super) fn say(&mut self, rows: &[Row<'r>], doubts: &mut Doubts) -> Option<String> {
        let mut racers: Vec<(&'r str, Value)> =
            rows.iter().filter_map(|row| Some((row.side, raced(row)?))).collect();
        racers.sort_by(|(_, a), (_, b)| b.median.total_cmp(&a.median));
        let ((first, rate), rest) = racers.split_first()?;
        let Some((next, behind)) = rest.first() else {
            // Not run is not lost.
            let others = rows.iter().filter(|row| row.side != *first);
            let died: Vec<&Row<'_>> =
                others.filter(|row| row.rate.is_some() || !row.died.is_empty()).collect();
            if died.is_empty() {
                return None;
            }
            count(&mut self.wins, first);
            return Some(format!("only {first} comes to a result"));
        };
        let against = |(_, other): &(&str, Value)| Contest::of(rate, other);
        let unbeaten: Vec<_> =
            rest.iter().filter(|other| !matches!(against(other), Some(Contest::First(_)))).collect();
        let doubt = unbeaten.iter().find_map(|rival| match against(rival) {
            Some(Contest::Undecided(doubt)) => Some((doubt, **rival)),
            _ => None,
        });
        if let Some((doubt, (rival, other))) = doubt {
            self.undecided += 1;
            doubts.add(doubt);
            let said = doubt.words((first, rate.median), (rival, other.median));
            let beaten = rest.len() - unbeaten.len();
            return Some(match doubt {
                // Of too few rounds no other is beaten.
                Doubt::Few(_) => said,
                _ if unbeaten.len() > 1 => {
                    format!("{said}; nor is {first} surely before {} more", unbeaten.len() - 1)
                }
                _ if beaten > 0 => format!("{said}; both are among the fastest"),
                _ => said,
            });
        }
        if !unbeaten.is_empty() {
            self.within += 1;
            let names: Vec<&str> = unbeaten.iter().map(|(name, _)| *name).collect();
            return Some(format!(
                "{first} and {} are the fastest, all their rounds within 5 %",
                names.join(", ")
            ));
        }
        count(&mut self.wins, first);
        let factor = times(rate.median / behind.median);
        Some(format!("{first} is the fastest, {factor} times as fast as the next, {next}"))
    }

    /// What it comes to; nothing if nothing was counted.
    pub(super) fn sum(mut self) -> Option<String> {
        let won: usize = self.wins.iter().map(|(_, wins)| wins).sum();
        let all = won + self.within + self.undecided;
        if all == 0 {
            return None;
        }
        if all == self.undecided {
            return Some("Nothing is decided: these rounds do not tell which side is the fastest.".into());
        }
        self.wins.sort_by_key(|(_, wins)| std::cmp::Reverse(*wins));
        let mut said: Vec<String> = Vec::new();
        for (at, (side, wins)) in self.wins.iter().enumerate() {
            said.push(if at == 0 {
                format!("{side} is the fastest in {wins} of {all}")
            } else {
                format!("{side} in {wins}")
            });
        }
        if self.within > 0 {
            let of = if self.wins.is_empty() { format!(" of {all}") } else { String::new() };
            said.push(format!("in {}{of} the fastest are within 5 %", self.within));
        }
        if self.undecided > 0 {
            said.push(format!("{} {} undecided", self.undecided, are(self.undecided)));
        }
        let mut whole = said.join(", ");
        if self.wins.is_empty()
            && let Some(first) = whole.get_mut(..1)
        {
            first.make_ascii_uppercase();
        }
        Some(format!("{whole}."))
    }
}

/// How two sides stand to all others, over the workloads.
#[derive(Default, Debug)]
pub(super) struct Peers<'r> {
    /// How often each of the others is the fastest of them, by the medians.
    best: Vec<(&'r str, usize)>,
    sides: [Beside; 2],
}

impl<'r> Peers<'r> {
    /// Counts a workload with these rows, two of which are `mine`.
    pub(super) fn add(&mut self, mine: [&Row<'r>; 2], rows: &[Row<'r>], doubts: &mut Doubts) {
        let others = rows.iter().filter(|row| mine.iter().all(|mine| mine.side != row.side));
        let others: Vec<(&'r str, Value)> = others.filter_map(|row| Some((row.side, raced(row)?))).collect();
        let Some((best, _)) = others.iter().max_by(|(_, a), (_, b)| a.median.total_cmp(&b.median)) else {
            return;
        };
        count(&mut self.best, best);
        let rates: Vec<Value> = others.iter().map(|(_, rate)| *rate).collect();
        for (side, row) in self.sides.iter_mut().zip(mine) {
            if let Some(rate) = raced(row) {
                side.add(&rate, &rates, doubts);
            }
        }
    }

    /// What it comes to, of sides of these names; nothing if there were no others.
    pub(super) fn sum(mut self, names: [&str; 2]) -> Option<String> {
        let said: Vec<String> =
            self.sides.iter().zip(names).filter_map(|(side, name)| side.words(name)).collect();
        if said.is_empty() {
            return None;
        }
        self.best.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let best: Vec<String> = match self.best.as_slice() {
            [(one, _)] => vec![(*one).to_owned()],
            all => all.iter().map(|(side, times)| format!("{side} in {times}")).collect(),
        };
        Some(format!("Against the best of the others ({}): {}.", best.join(", "), said.join("; ")))
    }
}

/// Adds one to the count of a side.
fn count<'r>(counts: &mut Vec<(&'r str, usize)>, side: &'r str) {
    match counts.iter_mut().find(|(known, _)| *known == side) {
        Some((_, count)) => *count += 1,
        None => counts.push((side, 1)),
    }
}

/// How one side stands to the best of others, over the workloads.
#[derive(Clone, Default, Debug)]
struct Beside {
    /// By what factors it is before the best of them, where it is before every one.
    ahead: Vec<f64>,
    /// By what factors the best is before it, where one is.
    behind: Vec<f64>,
    within: usize,
    undecided: usize,
}

impl Beside {
    /// Counts a workload, if both the side and others have a rate.
    fn add(&mut self, mine: &Value, others: &[Value], doubts: &mut Doubts) {
        let contests: Vec<Contest> = others.iter().filter_map(|other| Contest::of(mine, other)).collect();
        let best = others.iter().map(|other| other.median).fold(0.0, f64::max);
        let all = |test: fn(&Contest) -> bool| contests.iter().all(test);
        if contests.is_empty() {
        } else if contests.iter().any(|contest| matches!(contest, Contest::Second(_))) {
            self.behind.push(best / mine.median);
        } else if all(|contest| matches!(contest, Contest::First(_))) {
            self.ahead.push(mine.median / best);
        } else if all(|contest| matches!(contest, Contest::First(_) | Contest::Within)) {
            self.within += 1;
        } else {
            self.undecided += 1;
            for contest in contests {
                if let Contest::Undecided(doubt) = contest {
                    doubts.add(doubt);
                }
            }
        }
    }

    /// What it comes to, of a side of this name; nothing if nothing was counted.
    fn words(&self, side: &str) -> Option<String> {
        let mut said = Vec::new();
        for (what, factors) in [("ahead", &self.ahead), ("behind", &self.behind)] {
            if !factors.is_empty() {
                said.push(format!("{what} in {} ({})", factors.len(), range(factors)));
            }
        }
        for (what, count) in [("within 5 %", self.within), ("undecided", self.undecided)] {
            if count > 0 {
                said.push(format!("{what} in {count}"));
            }
        }
        (!said.is_empty()).then(|| format!("{side} is {}", said.join(", ")))
    }
}

/// From the least to the most of factors.
fn range(factors: &[f64]) -> String {
    let least = times(factors.iter().copied().fold(f64::INFINITY, f64::min));
    let most = times(factors.iter().copied().fold(0.0, f64::max));
    if least == most { format!("{least} times") } else { format!("{least} to {most} times") }
}
