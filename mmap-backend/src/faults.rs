//! Counts of page faults, as the kernel keeps them for the process.
#![forbid(unsafe_code)]

/// Page faults of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Served without a read.
    pub(crate) minor: u64,
    /// Waited for a read.
    pub(crate) major: u64,
}

impl Faults {
    /// The process's counts now; zeros where `/proc` does not say.
    pub(crate) fn now() -> Self {
        std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| parse(&text)).unwrap_or_default()
    }

    /// The faults since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            minor: self.minor.saturating_sub(earlier.minor),
            major: self.major.saturating_sub(earlier.major),
        }
    }
}

/// Fields 10 and 12 of `proc_pid_stat(5)`. The second field, the program's name, is in parentheses and may hold
/// anything, so fields are counted behind the last parenthesis.
fn parse(text: &str) -> Option<Faults> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some(Faults { minor, major })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_fields_are_read() {
        let text = "12 (a ) b) S 1 12 12 0 -1 4194304 345 6789 12 34 1 2 3 4\n";
        assert_eq!(parse(text), Some(Faults { minor: 345, major: 12 }));
        assert_eq!(parse("12 (x) S 1"), None);
    }

    #[test]
    fn touching_fresh_memory_is_counted() {
        let before = Faults::now();
        let touched = std::hint::black_box(vec![1u8; 4 << 20]);
        let after = Faults::now().since(before);
        assert!(after.minor > 0, "{after:?} for {} bytes", touched.len());
    }
}
