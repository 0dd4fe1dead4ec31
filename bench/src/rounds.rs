//! Rounds: all sides do the same work in turn, so that whatever else the machine does meets each of them.
#![forbid(unsafe_code)]

use crate::Result;
use std::time::Duration;

/// One side of a comparison, with the times it took.
pub struct Side<'s> {
    name: &'static str,
    run: Box<dyn FnMut(u64) -> Result<Duration> + 's>,
    times: Vec<Duration>,
}

impl<'s> Side<'s> {
    /// A side; `run` does the work of the round whose number it is told.
    pub fn new(name: &'static str, run: impl FnMut(u64) -> Result<Duration> + 's) -> Self {
        Self { name, run: Box::new(run), times: Vec::new() }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its median time.
    pub fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// The median over all rounds of its time divided by `other`'s in the same round.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        let ratio = |(a, b): (&Duration, &Duration)| a.as_secs_f64() / b.as_secs_f64();
        let mut ratios: Vec<f64> = self.times.iter().zip(&other.times).map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Its shortest and its longest time.
    pub fn spread(&self) -> (Duration, Duration) {
        let (least, most) = (self.times.iter().min(), self.times.iter().max());
        (least.copied().unwrap_or_default(), most.copied().unwrap_or_default())
    }
}

/// Runs `rounds` rounds. Another side goes first in each.
///
/// # Errors
/// The first that a side meets.
pub fn run(sides: &mut [Side<'_>], rounds: u64) -> Result<()> {
    let count = sides.len();
    for round in 0..rounds {
        for turn in 0..count {
            let side = &mut sides[(round as usize + turn) % count];
            let time = (side.run)(round)?;
            side.times.push(time);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn sides_take_turns_and_ratios_are_by_round() {
        let order = RefCell::new(Vec::new());
        let side = |name, millis: [u64; 3]| {
            let order = &order;
            Side::new(name, move |round| {
                order.borrow_mut().push(name);
                Ok(Duration::from_millis(millis[round as usize]))
            })
        };
        let mut sides = [side("a", [1, 20, 3]), side("b", [2, 10, 6])];
        run(&mut sides, 3).unwrap();
        assert_eq!(*order.borrow(), ["a", "b", "b", "a", "a", "b"]);
        assert_eq!(sides[0].median(), Duration::from_millis(3));
        assert!((sides[0].ratio_to(&sides[1]) - 0.5).abs() < 1e-9);
        assert_eq!(sides[1].spread(), (Duration::from_millis(2), Duration::from_millis(10)));
    }
}
