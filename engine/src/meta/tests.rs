//! Every state a crash or one fault can leave the head in, and what is opened then.
#![forbid(unsafe_code)]

use super::format::{FORMAT_VERSION, MAGIC, SECTOR};
use super::*;
use crate::error::{Error, Place, Result};
use crate::root::TreeRoot;
use crate::word::Word;
use bifold_page_source::{File, FileSystem, MemFs, PageId, PageRef, PageSize};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const FILE_ID: u64 = 0x1234_5678_9ABC_DEF0;
/// Pages of 512 bytes that the files of these tests are long.
const PAGES: u64 = 100;

fn page_ref(page: u64) -> PageRef {
    PageRef::new(PageId::new(page).unwrap(), page.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// A meta with something in every field, which differ between numbers.
fn meta(number: u64) -> Meta {
    Meta {
        incompatible: 0,
        read_only_compatible: 0,
        page_size: PageSize::MIN,
        file_id: FILE_ID,
        number,
        checkpoint: number + 1000,
        seq: number + 2000,
        catalog: TreeRoot {
            word: Word::file(page_ref(40 + number % 8)),
            height: 3,
            len: number + 3000,
            extents: true,
        },
        end: PAGES - number % 2,
        free_map: FreeMapRoot { head: Some(page_ref(50 + number % 8)), chain_pages: 2, free_pages: number },
        log: LogState::Live(crate::wal::LogStart {
            log_id: number + 4000,
            lap: number as u32 + 5,
            sector: number + 6,
            chain: u64::MAX - number,
        }),
    }
}

/// A file's bytes whose slots hold these metas.
fn bytes_of(slots: [u64; 4]) -> Vec<u8> {
    let mut bytes = vec![0; PAGES as usize * 512];
    for (slot, number) in slots.into_iter().enumerate() {
        put(&mut bytes, slot, &meta(number).encode(slot as u64));
    }
    bytes
}

fn put(bytes: &mut [u8], slot: usize, sector: &[u8]) {
    bytes[slot * 4096..][..sector.len()].copy_from_slice(sector);
}

/// Changes a sealed sector and seals it again, as a crafted file would be.
fn reseal(slot: u64, sector: &mut [u8; SECTOR]) {
    let seed = 0x6D65_7461_2073_6C6F_u64.wrapping_add(slot);
    let sum = xxh3_64_with_seed(&sector[..504], seed);
    sector[504..].copy_from_slice(&sum.to_le_bytes());
}

fn parse(bytes: &[u8]) -> Result<Head> {
    Head::parse(&bytes[..bytes.len().min(HEAD_LEN as usize)], bytes.len() as u64)
}

fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = MemFs::new().create_new(Path::new("f")).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn contents(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_meta_is_read_back_from_its_own_slot_only() {
    for slot in 0..4 {
        let sector = meta(7).encode(slot);
        assert_eq!(Meta::decode(slot, &sector).unwrap(), meta(7));
        for other in (0..4).filter(|&o| o != slot) {
            let err = Meta::decode(other, &sector).unwrap_err();
            assert!(matches!(err, Error::Corrupt { place: Place::Meta(s), .. } if s == other), "{err}");
        }
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let sector = meta(7).encode(0);
    assert_eq!(sector[..8], [0x42, 0x69, 0x66, 0x6F, 0x6C, 0x64, 0x1A, 0x0A]);
    assert_eq!(sector[8..16], [1, 0, 0, 0, 0, 2, 0, 0]);
    let word = |at: usize| u64::from_le_bytes(sector[at..at + 8].try_into().unwrap());
    assert_eq!([word(32), word(40), word(48), word(56)], [FILE_ID, 7, 1007, 2007]);
    assert_eq!([word(64), word(72)], [page_ref(47).bits(), 3007]);
    assert_eq!(sector[80..88], [3, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!([word(88), word(96), word(104), word(112)], [99, page_ref(57).bits(), 2, 7]);
    assert_eq!(sector[120..128], [1, 0, 0, 0, 12, 0, 0, 0]);
    assert_eq!([word(128), word(136), word(144)], [4007, 13, u64::MAX - 7]);
    assert!(sector[152..504].iter().all(|&b| b == 0));
    let mut again = sector;
    reseal(0, &mut again);
    assert_eq!(again, sector, "the tests' own checksum is the format's");
}

#[test]
fn a_new_head_opens_empty_for_every_page_size() {
    for shift in 9..=16 {
        let size = PageSize::new(1 << shift).unwrap();
        assert!(head_pages(size) * size.bytes() as u64 >= HEAD_LEN);
        let head = initial_head(size, FILE_ID);
        assert_eq!(head.len() as u64, HEAD_LEN);
        let file = file_of(&head);
        file.set_len(head_pages(size) * size.bytes() as u64).unwrap();
        let read = Head::read(&*file).unwrap();
        assert!(read.is_whole());
        assert_eq!(read.newest, Meta::initial(size, FILE_ID, 1));
    }
    assert_eq!(head_pages(PageSize::MIN), 32);
    assert_eq!(head_pages(PageSize::MAX), 1);
}

#[test]
fn metas_are_written_by_turns_and_the_newest_is_read() {
    let file = file_of(&bytes_of([6, 6, 7, 7]));
    let mut expected = [6, 6, 7, 7];
    for number in 8..20 {
        assert_eq!(Head::read(&*file).unwrap().newest, meta(number - 1));
        write(&*file, &meta(number)).unwrap();
        let first = number as usize % 2 * 2;
        expected[first..first + 2].fill(number);
        assert!(contents(&*file) == bytes_of(expected));
    }
}

#[test]
fn a_meta_that_could_not_be_read_back_is_not_written() {
    let bytes = bytes_of([6, 6, 7, 7]);
    let file = file_of(&bytes);
    let root = meta(8).catalog;
    let bad = [
        Meta { number: u64::MAX, ..meta(8) },
        Meta { end: 31, ..meta(8) },
        Meta { incompatible: 1, ..meta(8) },
        Meta { catalog: TreeRoot { word: Word::delta(3), ..root }, ..meta(8) },
        Meta { catalog: TreeRoot { word: Word::file(page_ref(31)), ..root }, ..meta(8) },
        Meta { catalog: TreeRoot { word: Word::file(page_ref(PAGES)), ..root }, ..meta(8) },
        Meta { catalog: TreeRoot { word: Word::NULL, ..root }, ..meta(8) },
        Meta { free_map: FreeMapRoot { head: None, ..meta(8).free_map }, ..meta(8) },
        Meta { free_map: FreeMapRoot { free_pages: PAGES + 1, ..meta(8).free_map }, ..meta(8) },
        Meta { free_map: FreeMapRoot { head: Some(page_ref(PAGES)), ..meta(8).free_map }, ..meta(8) },
    ];
    for meta in bad {
        assert!(matches!(write(&*file, &meta), Err(Error::Internal(_))), "{meta:?}");
    }
    assert!(contents(&*file) == bytes);
}

#[test]
fn a_torn_meta_write_opens_to_the_old_meta_or_the_new_and_heals() {
    for (first_new, copy_new) in [(false, false), (false, true), (true, false), (true, true)] {
        for number in [8, 9] {
            // The state before the write of `number`, then each sector old or new.
            let mut slots = if number == 8 { [6, 6, 7, 7] } else { [8, 8, 7, 7] };
            let first = number as usize % 2 * 2;
            slots[first] = if first_new { number } else { number - 2 };
            slots[first + 1] = if copy_new { number } else { number - 2 };
            let expected = if first_new || copy_new { number } else { number - 1 };
            let head = parse(&bytes_of(slots)).unwrap();
            assert_eq!(head.newest, meta(expected));
            assert_eq!(head.is_whole(), first_new == copy_new);

            let file = file_of(&bytes_of(slots));
            head.heal(&*file).unwrap();
            if first_new != copy_new {
                slots[first..first + 2].fill(number);
            }
            assert!(contents(&*file) == bytes_of(slots));
            // The next meta may be torn in its turn: what was shown stays.
            let first = (expected + 1) as usize % 2 * 2;
            for torn in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                slots[first] = expected - 1 + 2 * torn[0];
                slots[first + 1] = expected - 1 + 2 * torn[1];
                let shown = expected + u64::from(torn != [0, 0]);
                assert_eq!(parse(&bytes_of(slots)).unwrap().newest, meta(shown));
            }
        }
    }
}

#[test]
fn every_single_flipped_bit_is_borne_and_healed() {
    for slots in [[6, 6, 7, 7], [8, 8, 7, 7]] {
        let newest = meta(slots.into_iter().max().unwrap());
        let whole = bytes_of(slots);
        for slot in 0..4 {
            for bit in 0..SECTOR * 8 {
                let mut bytes = whole.clone();
                bytes[slot * 4096 + bit / 8] ^= 1 << (bit % 8);
                let head = parse(&bytes).unwrap();
                assert_eq!(head.newest, newest, "slot {slot}, bit {bit}");
                assert!(!head.is_whole());
                if bit % 61 == 0 {
                    let file = file_of(&bytes);
                    head.heal(&*file).unwrap();
                    assert!(contents(&*file) == whole);
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_the_only_new_copy_opens_to_the_meta_before() {
    // A write that never finished, and then rot: nothing acknowledged is lost.
    let mut bytes = bytes_of([8, 6, 7, 7]);
    bytes[100] ^= 1;
    assert_eq!(parse(&bytes).unwrap().newest, meta(7));
}

#[test]
fn two_damaged_copies_are_damage_and_never_a_reason_to_fall_back() {
    for slots in [[6, 6, 7, 7], [8, 8, 7, 7]] {
        for pair in [0, 2] {
            for bits in [(0, 0), (5, 4000), (64 * 8 + 3, 40 * 8), (4095, 4095)] {
                let mut bytes = bytes_of(slots);
                for (slot, bit) in [(pair, bits.0), (pair + 1, bits.1)] {
                    bytes[slot * 4096 + bit / 8] ^= 1 << (bit % 8);
                }
                let err = parse(&bytes).unwrap_err();
                let expected = pair as u64;
                assert!(
                    matches!(err, Error::Corrupt { place: Place::Meta(s), .. } if s == expected),
                    "{err}"
                );
            }
            for fill in [0, 0xFF] {
                let mut bytes = bytes_of(slots);
                bytes[pair * 4096..][..8192].fill(fill);
                assert!(matches!(parse(&bytes), Err(Error::Corrupt { .. })));
            }
        }
    }
}

#[test]
fn metas_that_contradict_each_other_are_damage() {
    let whole = bytes_of([6, 6, 7, 7]);
    let mut differ = whole.clone();
    put(&mut differ, 3, &Meta { seq: 1, ..meta(7) }.encode(3));
    let mut other_file = whole.clone();
    for slot in [2, 3] {
        put(&mut other_file, slot, &Meta { file_id: 1, ..meta(7) }.encode(slot as u64));
    }
    let mut wrong_pair = whole.clone();
    put(&mut wrong_pair, 0, &meta(9).encode(0));
    for (bytes, place) in [(differ, 2), (other_file, 0), (wrong_pair, 0)] {
        let err = parse(&bytes).unwrap_err();
        assert!(matches!(err, Error::Corrupt { place: Place::Meta(s), .. } if s == place), "{err}");
    }
}

#[test]
fn a_slot_that_lost_its_writes_does_not_hide_the_newest_meta() {
    let head = parse(&bytes_of([8, 2, 5, 7])).unwrap();
    assert_eq!(head.newest, meta(8));
    let file = file_of(&bytes_of([8, 2, 5, 7]));
    head.heal(&*file).unwrap();
    assert!(contents(&*file) == bytes_of([8, 8, 7, 7]));
}

#[test]
fn renewing_a_head_makes_it_whole_and_changes_nothing_else() {
    for (slots, after) in [([8, 8, 7, 7], [8, 8, 7, 7]), ([8, 6, 7, 7], [8, 8, 7, 7])] {
        let file = file_of(&bytes_of(slots));
        Head::read(&*file).unwrap().renew(&*file).unwrap();
        assert!(contents(&*file) == bytes_of(after));
    }
}

#[test]
fn unknown_features_and_versions_are_told_apart() {
    let with = |number: u64, at: usize, value: u8| {
        let mut bytes = bytes_of([6, 6, 7, 7]);
        let first = number % 2 * 2;
        for slot in [first, first + 1] {
            let mut sector = meta(number).encode(slot);
            sector[at] = value;
            reseal(slot, &mut sector);
            put(&mut bytes, slot as usize, &sector);
        }
        bytes
    };
    // A field of an unknown feature may break every rule that this version knows.
    let mut strange = with(7, 23, 0x80);
    for slot in [2, 3] {
        let mut sector = *strange[slot * 4096..].first_chunk::<SECTOR>().unwrap();
        sector[64..104].fill(0xFF);
        reseal(slot as u64, &mut sector);
        put(&mut strange, slot, &sector);
    }
    for bytes in [with(7, 23, 0x80), strange] {
        assert!(matches!(parse(&bytes), Err(Error::UnsupportedFeature(bits)) if bits == 1 << 63));
    }
    let older = parse(&with(6, 16, 1)).unwrap();
    assert_eq!(older.newest, meta(7), "the newest meta no longer has the feature");
    assert!(older.is_whole(), "what this version does not know it does not rewrite");
    for number in [6, 7] {
        let err = parse(&with(number, 8, FORMAT_VERSION as u8 + 1)).unwrap_err();
        assert!(matches!(err, Error::UnsupportedVersion(v) if v == FORMAT_VERSION + 1));
    }
    let read_only = parse(&with(7, 24, 4)).unwrap().newest;
    assert!(matches!(read_only.check_writable(), Err(Error::UnsupportedFeature(4))));
    assert!(meta(7).check_writable().is_ok());
}

#[test]
fn impossible_fields_under_a_right_checksum_are_damage() {
    let cases: [(usize, &[u8]); 12] = [
        (12, &0_u32.to_le_bytes()),
        (12, &4095_u32.to_le_bytes()),
        (12, &(1_u32 << 17).to_le_bytes()),
        (48, &u64::MAX.to_le_bytes()),
        (56, &u64::MAX.to_le_bytes()),
        (64, &(1_u64 << 63).to_le_bytes()),
        (64, &17_u64.to_le_bytes()),
        (80, &[65]),
        (81, &[2]),
        (88, &u64::MAX.to_le_bytes()),
        (96, &17_u64.to_le_bytes()),
        (120, &2_u32.to_le_bytes()),
    ];
    for (at, value) in cases {
        let mut sector = meta(7).encode(2);
        sector[at..at + value.len()].copy_from_slice(value);
        reseal(2, &mut sector);
        let mut bytes = bytes_of([6, 6, 7, 7]);
        put(&mut bytes, 2, &sector);
        sector = meta(7).encode(3);
        sector[at..at + value.len()].copy_from_slice(value);
        reseal(3, &mut sector);
        put(&mut bytes, 3, &sector);
        let err = parse(&bytes).unwrap_err();
        assert!(matches!(err, Error::Corrupt { place: Place::Meta(2), .. }), "byte {at}: {err}");
    }
}

#[test]
fn what_is_no_database_is_told_from_a_damaged_one() {
    let not_a_database = |bytes: &[u8]| match parse(bytes) {
        Err(Error::NotADatabase(what)) => what,
        other => panic!("{other:?}"),
    };
    let whats = [
        not_a_database(&[]),
        not_a_database(b"hello"),
        not_a_database(&[0; 16384]),
        not_a_database(&vec![b'x'; 20000]),
    ];
    for (i, what) in whats.iter().enumerate() {
        assert!(whats[..i].iter().all(|w| w != what), "{what}");
    }
    let mut ruined = vec![0xAA; PAGES as usize * 512];
    put(&mut ruined, 3, &MAGIC);
    assert!(matches!(parse(&ruined), Err(Error::Corrupt { place: Place::Meta(3), .. })));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = bytes_of([6, 6, 7, 7]);
    let file = file_of(&whole);
    // Meta 7 needs one page less than the file has.
    let enough = (PAGES as usize - 1) * 512;
    for len in (0..whole.len()).rev().filter(|len| len % 256 == 0 || len % 509 == 0) {
        file.set_len(len as u64).unwrap();
        match Head::read(&*file) {
            Ok(head) => assert!(len >= enough && head.newest == meta(7)),
            Err(Error::NotADatabase(_)) => assert!(len < MAGIC.len()),
            Err(Error::Corrupt { place: Place::Meta(slot), .. }) => {
                assert!(len < HEAD_LEN as usize && slot == len as u64 / 4096);
            }
            Err(Error::Corrupt { place: Place::Page(page), .. }) => {
                assert!(len < enough && page.get() == len as u64 / 512);
            }
            Err(other) => panic!("{len}: {other}"),
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_sealed_sector_says_is_refused_or_read_back(
        noise in proptest::collection::vec(any::<u8>(), SECTOR),
        wild in proptest::collection::vec((0_usize..63, any::<u64>()), 0..4),
        plausible in any::<bool>(),
    ) {
        let mut bytes: [u8; SECTOR] = noise.try_into().unwrap();
        if plausible {
            bytes = meta(9).encode(2);
        }
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        for (at, value) in wild {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        reseal(2, &mut bytes);
        if let Ok(meta) = Meta::decode(2, &bytes) {
            prop_assert_eq!(Meta::decode(0, &meta.encode(0)).unwrap(), meta);
        }
    }

    #[test]
    fn any_four_slots_open_to_a_meta_that_is_there_or_not_at_all(
        slots in proptest::array::uniform4((0_u64..10, 0_usize..6)),
    ) {
        let mut bytes = bytes_of([0, 0, 1, 1]);
        let mut valid = Vec::new();
        for (slot, (number, fault)) in slots.into_iter().enumerate() {
            let number = number * 2 + slot as u64 / 2;
            put(&mut bytes, slot, &meta(number).encode(slot as u64));
            if fault == 0 {
                bytes[slot * 4096 + 200] ^= 1;
            } else {
                valid.push((slot / 2, number));
            }
        }
        let both_pairs = [0, 1].iter().all(|pair| valid.iter().any(|v| v.0 == *pair));
        match parse(&bytes) {
            Ok(head) => {
                prop_assert!(both_pairs);
                prop_assert_eq!(Some(head.newest.number), valid.iter().map(|v| v.1).max());
                let file = file_of(&bytes);
                head.heal(&*file).unwrap();
                let again = Head::read(&*file).unwrap();
                prop_assert!(again.is_whole());
                prop_assert_eq!(again.newest, head.newest);
            }
            Err(err) => prop_assert!(!both_pairs, "{}", err),
        }
    }
}
