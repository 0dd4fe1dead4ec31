//! A sweep as maps of characters, for a terminal.
#![forbid(unsafe_code)]

use super::document::Sweep;
use super::grid::{Measure, Place, Standing, standing};
use std::fmt::Write;

/// Characters of a cell.
const WIDTH: usize = 7;

/// The three maps, and what their signs mean.
pub fn maps(sweep: &Sweep) -> String {
    let letters = letters(&sweep.settings.sides);
    let mut text = String::new();
    for measure in Measure::ALL {
        let _ = writeln!(text, "{}", measure.name());
        let _ = write!(text, "{:>8}", "threads");
        for size in &sweep.settings.grid.sizes {
            let _ = write!(text, " {:>WIDTH$}", format!("{size}x"));
        }
        let _ = writeln!(text);
        for (index, threads) in sweep.settings.grid.threads.iter().enumerate().rev() {
            let _ = write!(text, "{threads:>8}");
            for size in 0..sweep.settings.grid.sizes.len() {
                let standing = standing(&sweep.repeats, Place { size, threads: index }, measure);
                let _ = write!(text, " {:>WIDTH$}", cell(&standing, letters));
            }
            let _ = writeln!(text);
        }
        let _ = writeln!(text);
    }
    let [first, second] = &sweep.settings.sides;
    let _ = writeln!(
        text,
        "across: bytes of data, as multiples of memory. {} {first} wins, by this factor; {} {second} does; = no \
         difference; ~ undecided; ? run once only; ! the other side has no result, x \
         neither has; . not run.",
        letters[0], letters[1]
    );
    text
}

/// A letter for each side.
pub(super) fn letters(sides: &[String; 2]) -> [char; 2] {
    let letter = |name: &String| {
        let short = name.strip_prefix("bifold-").unwrap_or(name);
        short.chars().next().unwrap_or('?').to_ascii_uppercase()
    };
    match [letter(&sides[0]), letter(&sides[1])] {
        [a, b] if a == b => ['A', 'B'],
        letters => letters,
    }
}

/// What stands in a cell.
pub(super) fn cell(standing: &Standing, letters: [char; 2]) -> String {
    match standing {
        Standing::NotRun => ".".into(),
        Standing::Neither => "x".into(),
        Standing::Even { sure: true, .. } => "=".into(),
        Standing::Even { .. } => "~".into(),
        Standing::Alone { side } => format!("{}!", letters[*side]),
        Standing::Wins { side, factor, sure } => {
            format!("{}{}{}", letters[*side], short(*factor), if *sure { "" } else { "?" })
        }
    }
}

/// A factor in four characters.
pub(super) fn short(factor: f64) -> String {
    match factor {
        f if f < 9.995 => format!("{f:.2}"),
        f if f < 99.95 => format!("{f:.1}"),
        f => format!("{:.0}", f.min(99_999.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sweep;
    use super::super::grid::tests::repeat;
    use super::*;
    use crate::cell::Died;

    #[test]
    fn maps_are_drawn_in_characters() {
        let mut died = repeat(3, 2, 1.0);
        died.sides[0] = Err(Died::ForMemory);
        let sweep = sweep(vec![
            repeat(0, 0, 1.5),
            repeat(0, 0, 1.5),
            repeat(1, 1, 1.0),
            repeat(1, 1, 1.01),
            repeat(2, 1, 0.08),
            repeat(2, 2, 1.3),
            repeat(2, 2, 0.7),
            died,
        ]);
        let wanted = "\
throughput
 threads    0.5x      1x      2x      8x
      64       .       .       ~      P!
       8       .       = P12.50?       .
       1   M1.50       .       .       .

p99 latency
 threads    0.5x      1x      2x      8x
      64       .       .       ~      P!
       8       .       = P12.50?       .
       1   M1.50       .       .       .

processor time per operation
 threads    0.5x      1x      2x      8x
      64       .       .       =      P!
       8       .       =       ~       .
       1       =       .       .       .

across: bytes of data, as multiples of memory. M bifold-mmap wins, by this factor; P bifold-pool does; = no difference; \
~ undecided; ? run once only; ! the other side has no result, x neither has; \
. not run.
";
        assert_eq!(maps(&sweep), wanted.replace("P12.50?", " P12.5?"));
    }

    #[test]
    fn letters_differ_and_factors_are_short() {
        let letters_of = |a: &str, b: &str| letters(&[a.into(), b.into()]);
        assert_eq!(letters_of("bifold-pread", "bifold-pool"), ['A', 'B']);
        assert_eq!(letters_of("lmdb", "bifold-pool"), ['L', 'P']);
        assert_eq!([1.234, 12.34, 123.4, 1e9].map(short), ["1.23", "12.3", "123", "99999"]);
    }
}
