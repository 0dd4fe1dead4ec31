//! What options take: sizes, and directories that are there.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// A directory, which must be there: one that was mistyped is not made, perhaps on another disk than was meant.
///
/// # Errors
/// If there is none.
pub fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such directory".into()) }
}

/// A number of bytes: `4096`, `64KiB`, `1.5GiB`; K, M, G and T mean the same as KiB and so on.
///
/// # Errors
/// What is wrong with it.
pub fn bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(format!("'{unit}' is no unit: KiB, MiB, GiB or TiB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is no size"))?;
    let bytes = number * (1u64 << shift) as f64;
    if (1.0..=(1u64 << 60) as f64).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(format!("{text} is out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!([bytes("64K"), bytes("64KiB"), bytes("64 kib")], [Ok(65536), Ok(65536), Ok(65536)]);
        for bad in ["", "x", "1XB", "0", "-1", "9999999T", "1.2.3"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
