//! Which cell is worth running next, within what is left of the budget.
//!
//! First the frame: the corners, and the diagonal around the size of memory, the smallest data first. Then, where one
//! side is faster and its neighbour shows the other to be, the cell half-way between them, so that the border is found
//! by bisection. Then a second repeat of what was run once; the borders by other measures, and those of being equal;
//! the cells farthest from any that was run; and more repeats where the difference is within the noise. It is all a function of what was measured so far, so that a sweep that is resumed goes on as if
//! it had never ended.
#![forbid(unsafe_code)]

use super::grid::{Grid, Measure, Place, Repeat, Standing, standing};
use std::collections::{BTreeMap, BTreeSet};

/// Sizes at either side of the size of memory that the diagonal goes through.
const AROUND: usize = 2;
/// Repeats that every cell gets, if the budget allows.
const ENOUGH: usize = 3;
/// Repeats of a cell whose sides differ by no more than the noise.
const MOST: usize = 7;

/// Why a cell is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is a corner, or on the diagonal.
    Frame,
    /// The winner changes between its neighbours.
    Border,
    /// It was run once only.
    Again,
    /// Nothing near it was run.
    Gap,
    /// Its repeats do not agree.
    Noise,
}

impl Why {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Frame => "the frame",
            Self::Border => "the border",
            Self::Again => "once more",
            Self::Gap => "a gap",
            Self::Noise => "within the noise",
        }
    }
}

/// A repeat of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The cell.
    pub place: Place,
    /// Why it.
    pub why: Why,
}

/// The next repeat that costs no more than `left`; `None` if there is none, or nothing more to be told. `cost` is
/// what a repeat takes, in the unit of `left`, loading included where it comes to that.
pub fn next(grid: &Grid, repeats: &[Repeat], left: f64, cost: impl Fn(Place) -> f64) -> Option<Step> {
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    for repeat in repeats {
        *counts.entry(repeat.place).or_default() += 1;
    }
    let count = |place: Place| counts.get(&place).copied().unwrap_or(0);
    let affordable = |places: Vec<Place>, why| {
        places.into_iter().find(|place| cost(*place) <= left).map(|place| Step { place, why })
    };
    // The cheapest first; of those, the one in front.
    let cheapest = |mut places: Vec<Place>| {
        places.sort_by(|a, b| cost(*a).total_cmp(&cost(*b)).then(a.cmp(b)));
        places
    };
    let with = |repeats: usize| grid.places().filter(|place| count(*place) == repeats).collect::<Vec<_>>();
    let not_run = |places: Vec<Place>| places.into_iter().filter(|p| count(*p) == 0).collect::<Vec<_>>();
    let border = |measure, opposite| {
        affordable(cheapest(not_run(border(grid, repeats, measure, opposite))), Why::Border)
    };
    // What was run once may be the other way round the next time: the finer borders, of which noise makes many, wait.
    let finer = || {
        let ranks = [true, false].into_iter().flat_map(|o| Measure::ALL.map(|m| (m, o)));
        ranks.into_iter().find_map(|(measure, opposite)| border(measure, opposite))
    };
    affordable(not_run(frame(grid)), Why::Frame)
        .or_else(|| border(Measure::Rate, true))
        .or_else(|| affordable(cheapest(with(1)), Why::Again))
        .or_else(finer)
        .or_else(|| affordable(gaps(grid, &counts, &cost), Why::Gap))
        .or_else(|| {
            (2..MOST).find_map(|repeated| {
                let unsure =
                    |place: &Place| repeated < ENOUGH || !standing(repeats, *place, Measure::Rate).sure();
                let places = with(repeated).into_iter().filter(unsure).collect();
                affordable(cheapest(places), Why::Noise)
            })
        })
}

/// The corners, and a diagonal from few threads below the size of memory to many above it; by size.
pub fn frame(grid: &Grid) -> Vec<Place> {
    let (Some(last_size), Some(last_threads)) =
        (grid.sizes.len().checked_sub(1), grid.threads.len().checked_sub(1))
    else {
        return Vec::new();
    };
    let mut places = BTreeSet::new();
    for size in [0, last_size] {
        for threads in [0, last_threads] {
            places.insert(Place { size, threads });
        }
    }
    let from_one = |size: f64| size.max(1e-9).ln().abs();
    let nearest = (0..=last_size)
        .min_by(|a, b| from_one(grid.sizes[*a]).total_cmp(&from_one(grid.sizes[*b])))
        .unwrap_or(0);
    let (from, to) = (nearest.saturating_sub(AROUND), (nearest + AROUND).min(last_size));
    for size in from..=to {
        let threads = (last_threads * (size - from)).checked_div(to - from).unwrap_or(last_threads / 2);
        places.insert(Place { size, threads });
    }
    places.into_iter().collect()
}

/// The cells half-way between two of a row or a column that were run, with none between them that was, and that one
/// side wins and the other does not. `opposite`: the other side wins there, it is not only even.
fn border(grid: &Grid, repeats: &[Repeat], measure: Measure, opposite: bool) -> Vec<Place> {
    let mut between = BTreeSet::new();
    let mut line = |places: &[Place]| {
        let standings = places.iter().map(|place| standing(repeats, *place, measure));
        let known: Vec<(usize, Standing)> = standings.enumerate().filter(|(_, s)| s.known()).collect();
        for pair in known.windows(2) {
            let [(from, a), (to, b)] = pair else { continue };
            let (a, b) = (a.winner(), b.winner());
            let differ = a != b && (!opposite || (a.is_some() && b.is_some()));
            if differ && to - from > 1 {
                between.insert(places[usize::midpoint(*from, *to)]);
            }
        }
    };
    for threads in 0..grid.threads.len() {
        line(&(0..grid.sizes.len()).map(|size| Place { size, threads }).collect::<Vec<_>>());
    }
    for size in 0..grid.sizes.len() {
        line(&(0..grid.threads.len()).map(|threads| Place { size, threads }).collect::<Vec<_>>());
    }
    between.into_iter().collect()
}

/// The cells that were not run, the ones farthest from any that was first; of those, the cheapest.
fn gaps(grid: &Grid, counts: &BTreeMap<Place, usize>, cost: &impl Fn(Place) -> f64) -> Vec<Place> {
    let far = |place: Place| {
        let to = |other: &Place| other.size.abs_diff(place.size) + other.threads.abs_diff(place.threads);
        counts.keys().map(to).min().unwrap_or(usize::MAX)
    };
    let mut places: Vec<Place> = grid.places().filter(|place| !counts.contains_key(place)).collect();
    let worse = |a: &Place, b: &Place| far(*b).cmp(&far(*a)).then(cost(*a).total_cmp(&cost(*b)));
    places.sort_by(|a, b| worse(a, b).then(a.cmp(b)));
    places
}

#[cfg(test)]
mod tests {
    use super::super::grid::tests::repeat;
    use super::*;

    fn grid() -> Grid {
        Grid { sizes: vec![0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0], threads: vec![1, 2, 4, 8, 16, 32, 64] }
    }

    /// Runs until nothing is left, on a machine where `factor` is by how much the first side wins a cell's nth repeat.
    fn sweep(grid: &Grid, mut left: f64, factor: impl Fn(Place, usize) -> f64) -> (Vec<Step>, Vec<Repeat>) {
        let (mut steps, mut repeats): (Vec<Step>, Vec<Repeat>) = (Vec::new(), Vec::new());
        let cost = |place: Place| 1.0 + grid.sizes[place.size];
        while let Some(step) = next(grid, &repeats, left, cost) {
            left -= cost(step.place);
            assert!(left >= 0.0);
            let nth = repeats.iter().filter(|r| r.place == step.place).count();
            repeats.push(repeat(step.place.size, step.place.threads, factor(step.place, nth)));
            steps.push(step);
            assert!(steps.len() < 1000, "it comes to an end");
        }
        (steps, repeats)
    }

    /// The first side wins below the size of memory, the second above it.
    fn at_one(place: Place, _: usize) -> f64 {
        if place.size < 4 { 2.0 } else { 0.5 }
    }

    #[test]
    fn the_frame_comes_first_and_the_biggest_last() {
        let places = frame(&grid());
        let all: Vec<(usize, usize)> = places.iter().map(|p| (p.size, p.threads)).collect();
        assert_eq!(all, [(0, 0), (0, 6), (1, 0), (2, 1), (3, 3), (4, 4), (5, 6), (7, 0), (7, 6)]);
        let (steps, _) = sweep(&grid(), 1e9, at_one);
        let first: Vec<Place> = steps.iter().take(places.len()).map(|s| s.place).collect();
        assert_eq!(first, places);
        assert!(steps[..9].iter().all(|s| s.why == Why::Frame) && steps[9].why == Why::Border);
        for small in
            [Grid { sizes: vec![1.0], threads: vec![1] }, Grid { sizes: vec![2.0, 4.0], threads: vec![1] }]
        {
            assert_eq!(frame(&small).len(), small.len());
        }
        assert!(frame(&Grid { sizes: vec![], threads: vec![] }).is_empty());
    }

    #[test]
    fn the_border_is_found_by_bisection() {
        let (steps, repeats) = sweep(&grid(), 1e9, at_one);
        let border: Vec<Place> = steps.iter().filter(|s| s.why == Why::Border).map(|s| s.place).collect();
        // Row by row it lies between the sizes 3 and 4; rows without a run in them wait for the gaps to be filled.
        for threads in [0, 6] {
            let row: Vec<usize> = border.iter().filter(|p| p.threads == threads).map(|p| p.size).collect();
            assert!(!row.is_empty() && row.len() <= 3 && row.iter().all(|s| (1..7).contains(s)), "{row:?}");
            for size in [3, 4] {
                assert!(repeats.iter().any(|r| r.place == Place { size, threads }));
            }
        }
        // With one winner everywhere there is none.
        let (steps, _) = sweep(&grid(), 1e9, |_, _| 2.0);
        assert!(steps.iter().all(|s| s.why != Why::Border));
    }

    #[test]
    fn all_is_run_and_repeated_and_noise_more_often() {
        let noisy = Place { size: 2, threads: 5 };
        let factor = |place: Place, nth: usize| match (place == noisy, nth % 2) {
            (true, 0) => 1.5,
            (true, _) => 0.7,
            _ => at_one(place, nth),
        };
        let (steps, repeats) = sweep(&grid(), 1e9, factor);
        for place in grid().places() {
            let count = repeats.iter().filter(|r| r.place == place).count();
            assert_eq!(count, if place == noisy { MOST } else { ENOUGH }, "{place:?}");
        }
        let last_gap = steps.iter().rposition(|s| s.why == Why::Gap).unwrap();
        let first_noise = steps.iter().position(|s| s.why == Why::Noise).unwrap();
        assert!(last_gap < first_noise);
    }

    #[test]
    fn a_budget_is_kept_and_what_is_too_dear_is_left_out() {
        for budget in [0.0, 1.0, 3.0, 10.0, 50.0, 200.0] {
            let (steps, _) = sweep(&grid(), budget, at_one);
            assert_eq!(steps.is_empty(), budget < 1.25, "{budget}");
        }
        let (steps, _) = sweep(&grid(), 8.0, at_one);
        assert!(steps.iter().all(|s| s.place.size < 7), "8x takes more than there is");
        let mut costs = steps.iter().map(|s| 1.0 + grid().sizes[s.place.size]);
        assert!(costs.by_ref().sum::<f64>() <= 8.0);
    }

    #[test]
    fn a_sweep_goes_on_where_it_ended() {
        let cost = |place: Place| 1.0 + grid().sizes[place.size];
        let (steps, repeats) = sweep(&grid(), 1e9, at_one);
        for cut in [0, 1, 5, 12, 30, 100] {
            let step = next(&grid(), &repeats[..cut], 1e9, cost);
            assert_eq!(step, steps.get(cut).copied(), "after {cut}");
        }
        assert_eq!(next(&grid(), &repeats, 1e9, cost), None);
    }
}
