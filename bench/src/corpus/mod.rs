//! What the stores hold: made data, the user's own, or those of a recorded trace.
//!
//! Whatever a store shows is checked against it: made values are computed anew from their keys, those of a file are
//! compared by their digests. That costs the same on every side.
#![forbid(unsafe_code)]

mod import;
mod made;
mod order;
mod sample;
mod sizes;
mod traced;

pub use import::database_of;
pub use made::{KEY_LEAST, Made, VALUE_LEAST};
pub use order::Shuffle;
pub use sample::Sample;
pub use sizes::Sizes;
pub(crate) use traced::VERSIONED;
pub use traced::{Traced, made_version, make};

use crate::Result;
use xxhash_rust::xxh3::xxh3_64;

/// The entries of a run.
#[derive(Debug)]
pub enum Corpus {
    /// Computed.
    Made(Made),
    /// A file's.
    Sample(Sample),
    /// A recorded trace's.
    Traced(Box<Traced>),
}

impl Corpus {
    /// Entries that are loaded.
    pub fn entries(&self) -> u64 {
        match self {
            Self::Made(made) => made.entries,
            Self::Sample(sample) => sample.entries(),
            Self::Traced(traced) => traced.recording().entries,
        }
    }

    /// Entries that can be asked for by number: none of a trace, which says itself what is asked for.
    pub fn known(&self) -> u64 {
        match self {
            Self::Made(made) => made.entries,
            Self::Sample(sample) => sample.known(),
            Self::Traced(_) => 0,
        }
    }

    /// Bytes of all keys and values that are loaded, about.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Made(made) => made.bytes(),
            Self::Sample(sample) => sample.bytes(),
            Self::Traced(traced) => traced.recording().bytes,
        }
    }

    /// Writes the key of entry `number` over `key`: of one that is known, or of one that is inserted, from
    /// [`entries`](Self::entries) on.
    #[inline]
    pub fn key(&self, number: u64, key: &mut Vec<u8>) {
        match self {
            Self::Made(made) => made.key(number, key),
            Self::Sample(sample) => sample.key(number, key),
            Self::Traced(_) => number.to_be_bytes().as_slice().clone_into(key),
        }
    }

    /// Writes a key over `key` that no entry has, another one for each number.
    #[inline]
    pub fn missing_key(&self, number: u64, key: &mut Vec<u8>) {
        // Numbers that no run gets to by inserting.
        const BEYOND: u64 = 1 << 62;
        match self {
            Self::Made(made) => made.key(BEYOND + (number & (BEYOND - 1)), key),
            Self::Sample(sample) => sample.missing_key(number, key),
            Self::Traced(_) => number.to_be_bytes().as_slice().clone_into(key),
        }
    }

    /// Writes the value that the entry with `key` has in `version` over `value`: version 0 is what is loaded.
    #[inline]
    pub fn value(&self, key: &[u8], version: u32, value: &mut Vec<u8>) {
        match self {
            Self::Made(made) => made.value(key, version, value),
            Self::Sample(sample) => sample.value(key, version, value),
            Self::Traced(traced) => make(key, version, traced.typical(), value),
        }
    }

    /// Whether `value` is one that was loaded or written for `key`.
    #[inline]
    pub fn is_written(&self, key: &[u8], value: &[u8]) -> bool {
        self.version(key, value).is_some()
    }

    /// The version of `key`'s entry that has this `value`; nothing if none has. What was loaded is version 0, and so is a value
    /// that says no version.
    #[inline]
    pub fn version(&self, key: &[u8], value: &[u8]) -> Option<u32> {
        match self {
            Self::Made(made) => made.version(key, value),
            Self::Sample(sample) => sample.version(key, value),
            Self::Traced(_) => made_version(key, value),
        }
    }

    /// 64 bits that look random, the same ones for the same key; of made keys, other ones for each.
    #[inline]
    pub fn tag(&self, key: &[u8]) -> u64 {
        match self {
            Self::Made(_) => made::tag(key),
            Self::Sample(_) | Self::Traced(_) => xxh3_64(key),
        }
    }

    /// Shows all entries that are loaded, in the order of their keys or in a random one.
    ///
    /// # Errors
    /// The visitor's, or those of reading a file.
    pub fn for_each(&self, sorted: bool, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        match self {
            Self::Made(made) => {
                let shuffle = Shuffle::new(made.entries.max(1), made.seed);
                let (mut key, mut value) = (Vec::new(), Vec::new());
                for place in 0..made.entries {
                    made.key(if sorted { place } else { shuffle.at(place) }, &mut key);
                    made.value(&key, 0, &mut value);
                    visit(&key, &value)?;
                }
                Ok(())
            }
            Self::Sample(sample) => sample.for_each(sorted, visit),
            Self::Traced(traced) => traced.for_each(sorted, traced.recording().events, visit),
        }
    }
}

/// A bijection of 64-bit numbers whose results look random: the finaliser of `splitmix64` (Steele, Lea, Flood,
/// "Fast splittable pseudorandom number generators", 2014).
#[inline]
pub const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Numbers that look random, the same ones for the same seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: mix(!seed) }
    }

    /// The next of 64 bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// The next below `count`; 0 if that is 0.
    #[inline]
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(count)) >> 64) as u64
    }

    /// The next from 0 up to 1, which it is not.
    #[inline]
    pub fn part(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}
