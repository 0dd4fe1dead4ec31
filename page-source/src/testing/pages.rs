//! Sealed pages whose content tells which page and version they are, and a small generator of random numbers.
#![forbid(unsafe_code)]

use crate::{PageId, PageRef, PageSize, SourceConfig, seal_page};

/// The file id of test files.
pub const FILE_ID: u64 = 0xB1F0_1D5E_ED00_0001;

/// Where a test page says what it is; `0xBD` there is refused by [`validate`].
const KIND_AT: usize = 16;
const GOOD: u8 = 1;
const MALFORMED: u8 = 0xBD;

/// What [`validate`] says of a malformed page.
pub const MALFORMED_MESSAGE: &str = "a test page that is not well formed";

/// The configuration of test sources.
pub fn config(page_size: PageSize) -> SourceConfig {
    SourceConfig { page_size, file_id: FILE_ID, validate }
}

/// Accepts what [`page`] makes, refuses what [`malformed`] makes.
///
/// # Errors
/// [`MALFORMED_MESSAGE`].
pub fn validate(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.get(KIND_AT) == Some(&GOOD) { Ok(()) } else { Err(MALFORMED_MESSAGE) }
}

/// The page of that number, or a test's mistake.
///
/// # Panics
/// If the number is too large.
pub fn id(number: u64) -> PageId {
    PageId::new(number).unwrap_or_else(|| panic!("{number} is no page number"))
}

/// A whole sealed page, and the reference to it: every byte follows from its number and `version`.
pub fn page(size: PageSize, number: u64, version: u64) -> (PageRef, Vec<u8>) {
    sealed(size, number, version, GOOD)
}

/// A page with a right checksum that [`validate`] refuses.
pub fn malformed(size: PageSize, number: u64) -> (PageRef, Vec<u8>) {
    sealed(size, number, 0, MALFORMED)
}

fn sealed(size: PageSize, number: u64, version: u64, kind: u8) -> (PageRef, Vec<u8>) {
    let mut bytes = vec![0; size.bytes()];
    fill(&mut bytes, number.wrapping_mul(0x1_0000).wrapping_add(version));
    // The second word's low 40 bits become the page's own number.
    bytes[8..16].fill(0);
    bytes[KIND_AT] = kind;
    let reference = seal_page(FILE_ID, id(number), &mut bytes);
    (reference, bytes)
}

/// Fills `bytes` with noise that follows from `seed`.
pub fn fill(bytes: &mut [u8], seed: u64) {
    let mut rng = Rng::new(seed);
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&rng.next_u64().to_le_bytes()[..word.len()]);
    }
}

/// Noise of this length.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(&mut bytes, seed);
    bytes
}

/// A generator of random numbers that is the same everywhere: `SplitMix64` (Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0. (Biased by less than `bound / 2^64`.)
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        ((self.next_u64() >> 11) as f64) < p * (1u64 << 53) as f64
    }
}
