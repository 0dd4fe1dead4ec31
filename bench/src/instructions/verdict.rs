//! Two sets of counts, compared.
#![forbid(unsafe_code)]

use super::Counts;
use std::fmt;

/// Counts are rounded to a hundredth, and a loop's ends are shared by its rounds: less than this is no change.
const LEAST: f64 = 0.5;

/// What became of a piece.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Change {
    /// Within the threshold.
    Same,
    /// Fewer instructions than the threshold allows for.
    Fewer,
    /// More instructions than the threshold allows for: a regression.
    More,
    /// Counted now, and not in the base.
    New,
    /// Counted in the base, and not now.
    Gone,
}

/// One piece.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Instructions an operation in the base.
    pub base: Option<f64>,
    /// Instructions an operation now.
    pub now: Option<f64>,
    /// What that means.
    pub change: Change,
}

/// A comparison of counts with those of a base.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// Percent beyond which a change counts.
    pub threshold: f64,
    /// All pieces of either side, by name.
    pub rows: Vec<Row>,
    /// What differs that the counts depend on beside the code: name, base, now.
    pub differs: Vec<(String, String, String)>,
}

impl Verdict {
    /// Compares `now` with `base`; a change beyond `threshold` percent counts.
    pub fn new(base: &Counts, now: &Counts, threshold: f64) -> Self {
        let mut rows: Vec<Row> = now
            .pieces
            .iter()
            .map(|(name, count)| row(name, base.pieces.get(name).copied(), Some(*count), threshold))
            .collect();
        let gone = base.pieces.iter().filter(|(name, _)| !now.pieces.contains_key(*name));
        rows.extend(gone.map(|(name, count)| row(name, Some(*count), None, threshold)));
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let tools = base.origin.iter().filter(|(name, _)| *name != "commit");
        let differs = tools.filter_map(|(name, value)| {
            let other = now.origin.get(name).filter(|other| *other != value)?;
            Some((name.clone(), value.clone(), other.clone()))
        });
        Self { threshold, rows, differs: differs.collect() }
    }

    /// Whether any piece takes more instructions than the threshold allows for.
    pub fn regressed(&self) -> bool {
        self.number_of(Change::More) > 0
    }

    fn number_of(&self, change: Change) -> usize {
        self.rows.iter().filter(|row| row.change == change).count()
    }
}

fn row(name: &str, base: Option<f64>, now: Option<f64>, threshold: f64) -> Row {
    let change = match (base, now) {
        (Some(base), Some(now)) if (now - base).abs() < LEAST => Change::Same,
        (Some(base), Some(now)) if percent(base, now) > threshold => Change::More,
        (Some(base), Some(now)) if percent(base, now) < -threshold => Change::Fewer,
        (Some(_), Some(_)) => Change::Same,
        (None, _) => Change::New,
        (_, None) => Change::Gone,
    };
    Row { name: name.to_owned(), base, now, change }
}

fn percent(base: f64, now: f64) -> f64 {
    (now - base) / base * 100.0
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(5);
        writeln!(f, "{:width$}  {:>14}  {:>14}  {:>8}", "piece", "base", "now", "change")?;
        for row in &self.rows {
            let number =
                |count: Option<f64>| count.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"));
            let change = match (row.base, row.now) {
                (Some(base), Some(now)) => format!("{:+.2} %", percent(base, now)),
                _ => String::new(),
            };
            let word = match row.change {
                Change::Same => "",
                Change::Fewer => "fewer",
                Change::More => "MORE",
                Change::New => "new",
                Change::Gone => "no longer counted",
            };
            let line = format!(
                "{:width$}  {:>14}  {:>14}  {change:>8}  {word}",
                row.name,
                number(row.base),
                number(row.now)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        for (name, base, now) in &self.differs {
            writeln!(f, "beware: another {name}, so that the counts say little: {base} then, {now} now")?;
        }
        let compared = self.rows.iter().filter(|row| row.base.is_some() && row.now.is_some()).count();
        write!(
            f,
            "instructions an operation; {compared} compared: {} more than the base by over {} %",
            self.number_of(Change::More),
            self.threshold
        )?;
        write!(f, ", {} fewer", self.number_of(Change::Fewer))?;
        for (change, words) in [(Change::New, "new"), (Change::Gone, "no longer counted")] {
            let number = self.number_of(change);
            if number > 0 {
                write!(f, ", {number} {words}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> Counts {
        format!("# bifold instruction counts 1\n{text}").parse().unwrap()
    }

    fn changes(base: &str, now: &str, threshold: f64) -> (Vec<(String, Change)>, bool) {
        let verdict = Verdict::new(&counts(base), &counts(now), threshold);
        let changes = verdict.rows.iter().map(|row| (row.name.clone(), row.change)).collect();
        (changes, verdict.regressed())
    }

    #[test]
    fn a_change_counts_beyond_the_threshold_alone() {
        let base = "a\t1000\n";
        for (now, threshold, change, regressed) in [
            ("a\t1000\n", 3.0, Change::Same, false),
            ("a\t1029\n", 3.0, Change::Same, false),
            ("a\t1031\n", 3.0, Change::More, true),
            ("a\t1031\n", 5.0, Change::Same, false),
            ("a\t1001\n", 0.0, Change::More, true),
            ("a\t971\n", 3.0, Change::Same, false),
            ("a\t969\n", 3.0, Change::Fewer, false),
        ] {
            assert_eq!(changes(base, now, threshold), (vec![("a".to_owned(), change)], regressed), "{now}");
        }
    }

    #[test]
    fn less_than_half_an_instruction_is_no_change() {
        assert!(!changes("a\t10\n", "a\t10.4\n", 3.0).1);
        assert!(changes("a\t10\n", "a\t11\n", 3.0).1);
    }

    #[test]
    fn pieces_of_one_side_are_told_and_fail_nothing() {
        let (changes, regressed) = changes("a\t10\nold\t10\n", "a\t10\nnew\t99\n", 3.0);
        let expected = [("a", Change::Same), ("new", Change::New), ("old", Change::Gone)];
        assert_eq!(changes, expected.map(|(name, change)| (name.to_owned(), change)));
        assert!(!regressed);
        let verdict = Verdict::new(&counts("old\t10\n"), &counts("new\t99\n"), 3.0);
        assert!(
            verdict.to_string().ends_with(
                "0 compared: 0 more than the base by over 3 %, 0 fewer, 1 new, 1 no longer counted"
            )
        );
    }

    #[test]
    fn the_table_names_what_got_worse_and_by_how_much() {
        let verdict = Verdict::new(
            &counts("mmap/get\t900\npool/get\t1000\n"),
            &counts("mmap/get\t990\npool/get\t900\n"),
            3.0,
        );
        let text = verdict.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "mmap/get           900.0           990.0  +10.00 %  MORE");
        assert_eq!(lines[2], "pool/get          1000.0           900.0  -10.00 %  fewer");
        assert_eq!(
            lines[3],
            "instructions an operation; 2 compared: 1 more than the base by over 3 %, 1 fewer"
        );
    }

    #[test]
    fn another_compiler_is_told_and_another_commit_is_not() {
        let base = counts("# commit: 1\n# rustc: 1.95\n# valgrind: 3.19\na\t10\n");
        let now = counts("# commit: 2\n# rustc: 1.96\n# valgrind: 3.19\na\t10\n");
        let verdict = Verdict::new(&base, &now, 3.0);
        assert_eq!(verdict.differs, [("rustc".to_owned(), "1.95".to_owned(), "1.96".to_owned())]);
        assert!(verdict.to_string().contains("another rustc"));
    }
}
