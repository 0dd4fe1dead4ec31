//! What the rounds of two sides bear out: that one is faster, that they are as fast, or neither.
//!
//! A winner is only called so if every round of it is before every round of the other: the rank test of Wilcoxon, and of
//! Mann and Whitney, at its extreme, as `diff` has it. What is missing is no proof of equality either: sides are called
//! equal only if all of their rounds are close together. Whatever is neither is undecided, and it is said why.
#![forbid(unsafe_code)]

use super::Value;

/// Rounds of each side from which anything can be told, as in `diff`: of fewer, equal sides are apart too often.
pub(super) const ROUNDS: usize = 3;
/// Two sides within this factor are called equal: machines differ more from day to day.
const EQUAL: f64 = 1.05;

/// How two sides stand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Contest {
    /// The first is so many times as fast, by the medians.
    First(f64),
    /// The second is.
    Second(f64),
    /// All rounds of both lie within 5 %.
    Within,
    /// The rounds do not tell.
    Undecided(Doubt),
}

/// Why rounds do not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doubt {
    /// One side has only so many.
    Few(usize),
    /// The medians are apart, but rounds of one lie among those of the other.
    Mixed,
    /// The medians lie within 5 %, but the rounds do not.
    Scattered,
}

impl Contest {
    /// Of two rates; `None` if one of them is zero, which nothing is so many times as fast as.
    pub(super) fn of(first: &Value, second: &Value) -> Option<Self> {
        if first.median <= 0.0 || second.median <= 0.0 {
            return None;
        }
        let factor = first.median / second.median;
        let rounds = first.rounds.min(second.rounds);
        let near = (1.0 / EQUAL..=EQUAL).contains(&factor);
        let (least, most) = (first.least.min(second.least), first.most.max(second.most));
        Some(if rounds < ROUNDS {
            Self::Undecided(Doubt::Few(rounds))
        } else if near && most <= least * EQUAL {
            Self::Within
        } else if near {
            Self::Undecided(Doubt::Scattered)
        } else if factor > 1.0 && first.least > second.most {
            Self::First(factor)
        } else if factor < 1.0 && second.least > first.most {
            Self::Second(1.0 / factor)
        } else {
            Self::Undecided(Doubt::Mixed)
        })
    }
}

impl Doubt {
    /// That it is undecided and why, with what the medians say for what they are worth: rates by names.
    pub(super) fn words(self, first: (&str, f64), second: (&str, f64)) -> String {
        let ((fast, more), (slow, less)) = if first.1 < second.1 { (second, first) } else { (first, second) };
        let factor = more / less;
        let was = if factor < 1.005 {
            format!("{fast} and {slow} were as fast")
        } else {
            format!("{fast} was {} times as fast as {slow}", times(factor))
        };
        match self {
            Self::Few(1) => format!("undecided, as of one round nothing can be said for sure; in it {was}"),
            Self::Few(rounds) => {
                format!(
                    "undecided, as of {rounds} rounds nothing can be said for sure; by their medians {was}"
                )
            }
            Self::Mixed => {
                format!("undecided: by the medians {was}, but rounds of one lie among the other's")
            }
            Self::Scattered => {
                format!("undecided: the medians of {fast} and {slow} lie within 5 %, but their rounds do not")
            }
        }
    }
}

/// Which kinds of doubt there were, for what would resolve them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Doubts {
    few: bool,
    noise: bool,
}

impl Doubts {
    /// Adds one.
    pub(super) fn add(&mut self, doubt: Doubt) {
        match doubt {
            Doubt::Few(_) => self.few = true,
            Doubt::Mixed | Doubt::Scattered => self.noise = true,
        }
    }

    /// What to do about what is undecided; nothing if nothing is.
    pub(super) fn remedy(self) -> Option<String> {
        let longer = "longer runs (--duration), with nothing else on the machine, scatter less";
        match (self.few, self.noise) {
            (false, false) => None,
            (true, false) => {
                Some(format!("To decide what is undecided: --rounds {ROUNDS} or more, which is the default."))
            }
            (false, true) => Some(format!("To decide what is undecided: {longer}.")),
            (true, true) => {
                Some(format!("To decide what is undecided: --rounds {ROUNDS} or more; {longer}."))
            }
        }
    }
}

/// A factor in few digits, of which so many are shown that it does not look like more than it is.
pub(super) fn times(factor: f64) -> String {
    match factor {
        f if f < 2.0 => format!("{f:.2}"),
        f if f < 100.0 => format!("{f:.1}"),
        f => format!("{f:.0}"),
    }
}

/// "is" or "are".
pub(super) const fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &[f64], second: &[f64]) -> Contest {
        let value = |rates: &[f64]| Value::of(rates.iter().copied()).unwrap();
        Contest::of(&value(first), &value(second)).unwrap()
    }

    #[test]
    fn who_wins_has_every_round_before_the_others() {
        assert_eq!(of(&[2.0, 2.1, 1.9], &[1.0, 1.1, 0.9]), Contest::First(2.0));
        assert_eq!(of(&[1.0, 1.1, 0.9], &[4.0, 4.1, 3.9]), Contest::Second(4.0));
        // One round among the other's, and there is no winner; nor are they equal.
        assert_eq!(of(&[2.0, 2.1, 1.05], &[1.0, 1.1, 0.9]), Contest::Undecided(Doubt::Mixed));
        assert_eq!(of(&[1.0, 1.1, 0.9], &[2.0, 2.1, 1.05]), Contest::Undecided(Doubt::Mixed));
    }

    #[test]
    fn few_rounds_are_no_evidence_of_anything() {
        assert_eq!(of(&[259e3], &[11.8e3]), Contest::Undecided(Doubt::Few(1)));
        assert_eq!(of(&[1.0], &[1.0]), Contest::Undecided(Doubt::Few(1)));
        assert_eq!(of(&[2.0, 2.0], &[1.0, 1.0, 1.0]), Contest::Undecided(Doubt::Few(2)));
    }

    #[test]
    fn equal_are_medians_and_rounds() {
        assert_eq!(of(&[1.0, 1.01, 1.02], &[1.03, 1.04, 1.045]), Contest::Within);
        // The medians are as near, and a round is not.
        assert_eq!(of(&[1.0, 1.01, 1.02], &[1.03, 1.04, 1.1]), Contest::Undecided(Doubt::Scattered));
        assert_eq!(of(&[0.8, 1.01, 1.02], &[1.03, 1.04, 1.045]), Contest::Undecided(Doubt::Scattered));
    }

    #[test]
    fn nothing_is_many_times_as_fast_as_zero() {
        let value = |rate| Value::of([rate; 3]).unwrap();
        assert_eq!(Contest::of(&value(0.0), &value(1.0)), None);
        assert_eq!(Contest::of(&value(1.0), &value(0.0)), None);
    }

    #[test]
    fn factors_do_not_look_like_more_than_they_are() {
        assert_eq!([1.06, 1.96, 2.04, 21.96, 340.2].map(times), ["1.06", "1.96", "2.0", "22.0", "340"]);
    }
}
