//! Sizes of keys and values: all the same, or spread.
#![forbid(unsafe_code)]

use super::mix;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The largest size, in bytes, that a key or a value can have here.
const MOST: u32 = 64 << 20;

/// How long keys or values are, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sizes {
    /// All the same.
    Fixed(u32),
    /// Each size from the first to the second as often.
    Uniform(u32, u32),
    /// Many short ones and a few long ones: exponential with this mean, cut at twenty times the mean.
    Exponential(u32),
}

impl Sizes {
    /// The size that belongs to a number that looks random.
    #[inline]
    pub fn of(self, random: u64) -> usize {
        let size = match self {
            Self::Fixed(size) => size,
            Self::Uniform(least, most) => {
                let span = u64::from(most - least) + 1;
                least + ((u128::from(mix(random)) * u128::from(span)) >> 64) as u32
            }
            Self::Exponential(mean) => {
                // (0, 1], of 53 bits.
                let part = ((mix(random) >> 11) + 1) as f64 / (1u64 << 53) as f64;
                (-part.ln() * f64::from(mean)).min(f64::from(mean) * 20.0) as u32
            }
        };
        size as usize
    }

    /// The mean.
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(size) | Self::Exponential(size) => f64::from(size),
            Self::Uniform(least, most) => f64::midpoint(f64::from(least), f64::from(most)),
        }
    }

    /// The largest.
    pub fn most(self) -> u32 {
        match self {
            Self::Fixed(size) | Self::Uniform(_, size) => size,
            Self::Exponential(mean) => mean.saturating_mul(20),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Uniform(least, most) => write!(f, "{least}-{most}"),
            Self::Exponential(mean) => write!(f, "~{mean}"),
        }
    }
}

impl From<Sizes> for String {
    fn from(sizes: Sizes) -> Self {
        sizes.to_string()
    }
}

impl TryFrom<String> for Sizes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| match text.parse::<u32>() {
            Ok(size) if (1..=MOST).contains(&size) => Ok(size),
            Ok(size) => Err(format!("{size} is not a size from 1 to {MOST} bytes")),
            Err(error) => Err(format!("'{text}' is not a size in bytes: {error}")),
        };
        if let Some(mean) = text.strip_prefix('~') {
            return size(mean).map(Self::Exponential);
        }
        match text.split_once('-') {
            None => size(text).map(Self::Fixed),
            Some((least, most)) => match (size(least)?, size(most)?) {
                (least, most) if least <= most => Ok(Self::Uniform(least, most)),
                (least, most) => Err(format!("{least}-{most} ends before it begins")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for text in ["16", "10-200", "~100"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "5-3", "a", "1-b", "~", "~0", "99999999999", "70000000"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_lie_where_they_should() {
        for sizes in [Sizes::Fixed(16), Sizes::Uniform(10, 20), Sizes::Exponential(100)] {
            let all: Vec<usize> = (0..20_000).map(|n| sizes.of(n)).collect();
            let mean = all.iter().sum::<usize>() as f64 / all.len() as f64;
            assert!((mean / sizes.mean() - 1.0).abs() < 0.05, "{sizes}: {mean}");
            assert!(all.iter().all(|size| *size <= sizes.most() as usize));
        }
        let all: Vec<usize> = (0..1000).map(|n| Sizes::Uniform(10, 20).of(n)).collect();
        assert!((10..=20).all(|size| all.contains(&size)));
    }
}
