//! Sizes in bytes, as a person writes them: `256MiB`, `64K`, `1000000`.
#![forbid(unsafe_code)]

/// Reads a size. Units are powers of 1,024, in any case of letters: `K`, `KB` and `KiB` mean the same, as do those of
/// M, G and T; without a unit, or with `B`, the number is bytes. Fractions are allowed where there is a unit.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = shift(unit.trim_start())
        .ok_or_else(|| format!("{unit:?} is no unit of size: use KiB, MiB or GiB"))?;
    let wrong = || format!("{number:?} is no number of bytes");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let bytes = whole.checked_mul(1 << shift).ok_or("more bytes than there can be")?;
    if !number.contains('.') {
        return Ok(bytes);
    }
    if shift == 0 || fraction.is_empty() || fraction.len() > 9 {
        return Err(wrong());
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let parts: u128 = fraction.parse().map_err(|_| wrong())?;
    // Less than one unit, so it fits.
    let rest = u64::try_from((parts << shift) / scale).map_err(|_| wrong())?;
    bytes.checked_add(rest).ok_or_else(|| "more bytes than there can be".into())
}

/// The power of two that a unit stands for.
fn shift(unit: &str) -> Option<u32> {
    match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        "t" | "tb" | "tib" => Some(40),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        let good = [
            ("0", 0),
            ("4096", 4096),
            ("17b", 17),
            ("64K", 64 << 10),
            ("256MiB", 256 << 20),
            ("256 mib", 256 << 20),
            ("1.5GiB", 3 << 29),
            ("0.25k", 256),
            ("2T", 2 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5",
            "1.",
            "1.MiB",
            ".5M",
            "1..5M",
            "12 parsecs",
            "1.2.3G",
            "99999999T",
            "1e6",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
