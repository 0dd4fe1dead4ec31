//! The crash simulator against small histories whose possible outcomes can be listed by hand.

#![expect(clippy::unwrap_used, clippy::needless_for_each, reason = "test code")]

use bifold_page_source::testing::pages::{Rng, noise};
use bifold_page_source::testing::{CrashPlan, Crashes, Image, Op, RecordingFs, SECTOR, sync_points};
use bifold_page_source::{Access, File, FileSystem, MemFs};
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn recorder() -> RecordingFs {
    RecordingFs::new(Arc::new(MemFs::new()))
}

fn db() -> &'static Path {
    Path::new("/dir/db")
}

/// A file that is there and durable with this content.
fn existing(content: &[u8]) -> (RecordingFs, Arc<dyn File>) {
    let fs = MemFs::from_files([(db().to_owned(), content.to_vec())]).unwrap();
    let fs = RecordingFs::new(Arc::new(fs));
    let file = fs.open(db(), Access::ReadWrite).unwrap();
    (fs, file)
}

/// Sectors each filled with one byte.
fn sectors(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|b| [*b; SECTOR]).collect()
}

/// Everything that random plans find at the end of a log.
fn outcomes(ops: &[Op]) -> BTreeSet<Image> {
    let mut crashes = Crashes::new(ops);
    crashes.advance_to(ops.len());
    let random = (0..3000).map(CrashPlan::random);
    let plain = (0..3000).map(|seed| CrashPlan::Random { seed, keep: 0.4, grain: SECTOR });
    random.chain(plain).map(|plan| crashes.image(&plan)).collect()
}

/// The outcomes of a log with the one file: each content as the first byte of each of its sectors.
fn contents(ops: &[Op]) -> BTreeSet<Vec<u8>> {
    outcomes(ops)
        .into_iter()
        .map(|image| {
            assert_eq!(image.len(), 1, "one file");
            assert_eq!(image[0].0, db());
            image[0].1.chunks(SECTOR).map(|sector| sector[0]).collect()
        })
        .collect()
}

fn set<const N: usize>(of: [&[u8]; N]) -> BTreeSet<Vec<u8>> {
    of.into_iter().map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_synced_is_certain() {
    let (fs, file) = existing(&sectors(b"abc"));
    assert_eq!(contents(&fs.ops()), set([b"abc"]));
    file.write_at(&sectors(b"X"), SECTOR as u64).unwrap();
    file.sync().unwrap();
    assert_eq!(contents(&fs.ops()), set([b"aXc"]));
    assert_eq!(Crashes::new(&fs.ops()).choices(), 0);
}

#[test]
fn sectors_written_choose_each_for_itself_among_all_their_writes() {
    let (fs, file) = existing(&sectors(b"abc"));
    file.write_at(&sectors(b"XY"), 0).unwrap();
    file.write_at(&sectors(b"Z"), 0).unwrap();
    assert_eq!(contents(&fs.ops()), set([b"abc", b"aYc", b"Xbc", b"XYc", b"Zbc", b"ZYc"]));
}

#[test]
fn part_of_a_sector_carries_what_was_there_before_it() {
    let (fs, file) = existing(&sectors(b"a"));
    file.write_at(b"1", 0).unwrap();
    file.write_at(b"2", 1).unwrap();
    let found: BTreeSet<_> = outcomes(&fs.ops()).into_iter().map(|image| image[0].1[..3].to_vec()).collect();
    assert_eq!(found, set([b"aaa", b"1aa", b"12a"]));
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let (fs, file) = existing(&sectors(b"ab"));
    file.write_at(&sectors(b"X"), 0).unwrap();
    file.sync().unwrap();
    let mut ops = fs.ops();
    let id = match ops[0] {
        Op::Exists { file, .. } => file,
        ref other => panic!("{other:?}"),
    };
    let write = |offset: u64, byte: u8| Op::Write { file: id, offset, bytes: sectors(&[byte]).into() };
    // Between begin and end: another write of the same sector, and one of the other.
    ops.insert(3, write(0, b'Y'));
    ops.insert(4, write(512, b'Z'));
    assert!(matches!((&ops[2], &ops[5]), (Op::SyncBegin { .. }, Op::SyncEnd { .. })));
    assert_eq!(contents(&ops), set([b"Xb", b"XZ", b"Yb", b"YZ"]));
    assert_eq!(contents(&ops[..5]), set([b"ab", b"aZ", b"Xb", b"XZ", b"Yb", b"YZ"]));
}

#[test]
fn a_durable_write_is_certain_and_says_nothing_of_others() {
    let (fs, file) = existing(&sectors(b"abcd"));
    file.write_at(&sectors(b"XY"), 0).unwrap();
    file.write_at_durably(&sectors(b"PQ"), SECTOR as u64).unwrap();
    let ops = fs.ops();
    assert_eq!(contents(&ops), set([b"aPQd", b"XPQd"]));
    // In flight it may be torn, and what is written meanwhile is not covered, not even in its place.
    let in_flight = ops.len() - 1;
    assert!(
        matches!(&ops[in_flight], Op::SyncEnd { only: Some(range), ok: true, .. } if *range == (512..1536))
    );
    assert_eq!(contents(&ops[..in_flight]).len(), 2 * 3 * 2);
    let Op::Write { file: id, .. } = ops[1] else { panic!("{ops:?}") };
    let mut meanwhile = ops.clone();
    for (offset, byte) in [(512, b'L'), (1536, b'M')] {
        meanwhile.insert(in_flight, Op::Write { file: id, offset, bytes: sectors(&[byte]).into() });
    }
    let all = [b"aPQd", b"XPQd", b"aLQd", b"XLQd", b"aPQM", b"XPQM", b"aLQM", b"XLQM"];
    assert_eq!(contents(&meanwhile), set(all.map(<[u8; 4]>::as_slice)));
    file.sync().unwrap();
    assert_eq!(contents(&fs.ops()), set([b"XPQd"]));
    assert_eq!(sync_points(&fs.ops()).len(), 2);
    let ignoring = fs.ops();
    let mut crashes = Crashes::ignoring(&ignoring, |position, _| position == in_flight);
    crashes.advance_to(in_flight + 1);
    assert_eq!(crashes.image(&CrashPlan::AllDropped)[0].1, sectors(b"abcd"));
}

#[test]
fn a_durable_write_that_failed_is_old_or_new_for_good() {
    let (fs, file) = existing(&sectors(b"ab"));
    file.write_at_durably(&sectors(b"XY"), 0).unwrap();
    let mut ops = fs.ops();
    let Some(Op::SyncEnd { ok, .. }) = ops.last_mut() else { panic!("{:?}", fs.ops()) };
    *ok = false;
    let unsure = set([b"ab", b"aY", b"Xb", b"XY"]);
    assert_eq!(contents(&ops), unsure);
    file.sync().unwrap();
    ops.extend_from_slice(&fs.ops()[ops.len()..]);
    assert_eq!(contents(&ops), unsure, "the next sync has done nothing");
    file.write_at_durably(&sectors(b"Z"), 0).unwrap();
    ops.extend_from_slice(&fs.ops()[ops.len()..]);
    assert_eq!(contents(&ops), set([b"Zb", b"ZY"]));
}

#[test]
fn a_durable_write_takes_the_files_length_with_it() {
    let zeros = |of: &str| of.replace('0', "\0").into_bytes();
    let (fs, file) = existing(&sectors(b"a"));
    file.write_at_durably(&sectors(b"X"), SECTOR as u64).unwrap();
    assert_eq!(contents(&fs.ops()), set([b"aX"]));
    let ops = fs.ops();
    let mut crashes = Crashes::new(&ops);
    crashes.advance_to(ops.len());
    assert_eq!(crashes.choices(), 0, "nothing is open");
    // Within a longer write that is pending, the file is as long as this one needs, or longer.
    file.write_at(&sectors(b"PQR"), 2 * SECTOR as u64).unwrap();
    file.write_at_durably(&sectors(b"D"), 3 * SECTOR as u64).unwrap();
    let expected = ["aX0D", "aXPD", "aX0D0", "aXPD0", "aX0DR", "aXPDR"].map(zeros);
    assert_eq!(contents(&fs.ops()), expected.into_iter().collect());
    file.sync().unwrap();
    assert_eq!(contents(&fs.ops()), set([b"aXPDR"]));
    file.set_len(6 * SECTOR as u64).unwrap();
    file.write_at_durably(&sectors(b"E"), 0).unwrap();
    let expected = ["EXPDR", "EXPDR0"].map(zeros);
    assert_eq!(contents(&fs.ops()), expected.into_iter().collect());
}

#[test]
fn a_file_has_any_length_it_has_had() {
    let (fs, file) = existing(&sectors(b"a"));
    file.write_at(&sectors(b"XY"), 512).unwrap();
    let zeros = |of: [&str; 6]| of.iter().map(|s| s.replace('0', "\0").into_bytes()).collect::<BTreeSet<_>>();
    // One sector is a length on the way to three.
    assert_eq!(
        contents(&fs.ops()),
        zeros(["a", "aX", "a0", "aXY", "a0Y", "aX0"]).union(&zeros(["a00"; 6])).cloned().collect()
    );
    file.sync().unwrap();
    file.set_len(512).unwrap();
    file.allocate(0, 1024).unwrap();
    // Cut and grown again: its old bytes or zeros, and at each of three lengths.
    let expected = zeros(["aXY", "aX0", "a0Y", "a00", "a", "aX"]).union(&zeros(["a0"; 6])).cloned().collect();
    assert_eq!(contents(&fs.ops()), expected);
    file.sync().unwrap();
    assert_eq!(contents(&fs.ops()), zeros(["a0"; 6]));
}

#[test]
fn after_a_failed_sync_nothing_but_a_new_write_is_certain() {
    let (fs, file) = existing(&sectors(b"ab"));
    file.write_at(&sectors(b"XY"), 0).unwrap();
    file.sync().unwrap();
    let mut ops = fs.ops();
    for op in &mut ops {
        if let Op::SyncEnd { ok, .. } = op {
            *ok = false;
        }
    }
    let unsure = set([b"ab", b"aY", b"Xb", b"XY"]);
    assert_eq!(contents(&ops), unsure);
    file.sync().unwrap();
    ops.extend_from_slice(&fs.ops()[ops.len()..]);
    assert_eq!(contents(&ops), unsure, "the next sync succeeds and has done nothing");
    file.write_at(&sectors(b"Z"), 0).unwrap();
    file.sync().unwrap();
    ops.extend_from_slice(&fs.ops()[ops.len()..]);
    assert_eq!(contents(&ops), set([b"Zb", b"ZY"]));
}

#[test]
fn names_are_certain_after_a_sync_of_their_directory() {
    let fs = recorder();
    let names = |ops: &[Op]| -> BTreeSet<Vec<PathBuf>> {
        outcomes(ops).into_iter().map(|image| image.into_iter().map(|(path, _)| path).collect()).collect()
    };
    let path = |name: &str| Path::new("/dir").join(name);
    let lists = |of: &[&[&str]]| -> BTreeSet<Vec<PathBuf>> {
        of.iter().map(|list| list.iter().map(|name| path(name)).collect()).collect()
    };
    let unnamed = fs.create_unnamed(db()).unwrap();
    assert_eq!(names(&fs.ops()), lists(&[&[]]));
    fs.publish(&*unnamed, db()).unwrap();
    assert_eq!(names(&fs.ops()), lists(&[&[], &["db"]]));
    fs.sync_dir(Path::new("/other/db")).unwrap();
    assert_eq!(names(&fs.ops()), lists(&[&[], &["db"]]), "another directory's sync");
    fs.sync_dir(db()).unwrap();
    assert_eq!(names(&fs.ops()), lists(&[&["db"]]));
    fs.create_new(&path("log")).unwrap();
    fs.rename(db(), &path("db2")).unwrap();
    let all: &[&[&str]] = &[&["db"], &["db", "log"], &["db2"], &["db2", "log"]];
    assert_eq!(names(&fs.ops()), lists(all), "a rename is one change, apart from others");
    fs.sync_dir(db()).unwrap();
    assert_eq!(names(&fs.ops()), lists(&[&["db2", "log"]]));
    fs.unlink(&path("log")).unwrap();
    assert_eq!(names(&fs.ops()), lists(&[&["db2"], &["db2", "log"]]));
}

#[test]
fn a_name_may_be_durable_before_its_data() {
    let fs = recorder();
    let file = fs.create_new(db()).unwrap();
    file.write_at(&sectors(b"a"), 0).unwrap();
    fs.sync_dir(db()).unwrap();
    assert_eq!(contents(&fs.ops()), set([b"", b"a", b"\0"]));
}

#[test]
fn single_choices_are_numbered_and_told_apart() {
    let (fs, file) = existing(&sectors(b"abcd"));
    file.write_at(&sectors(b"XY"), 512).unwrap();
    fs.create_new(Path::new("/dir/log")).unwrap();
    let ops = fs.ops();
    let mut crashes = Crashes::new(&ops);
    assert_eq!((crashes.position(), crashes.choices()), (0, 0));
    crashes.advance_to(ops.len());
    assert!(crashes.advance().is_none());
    assert_eq!(crashes.choices(), 3);
    let show = |plan| {
        let image = crashes.image(&plan);
        let bytes: Vec<u8> = image[0].1.chunks(SECTOR).map(|s| s[0]).collect();
        (String::from_utf8(bytes).unwrap(), image.len())
    };
    assert_eq!(show(CrashPlan::AllDropped), ("abcd".into(), 1));
    assert_eq!(show(CrashPlan::AllKept), ("aXYd".into(), 2));
    let dropped = [0, 1, 2].map(|i| show(CrashPlan::DropOne(i)));
    assert_eq!(dropped, [("abYd".into(), 2), ("aXcd".into(), 2), ("aXYd".into(), 1)]);
    let kept = [0, 1, 2].map(|i| show(CrashPlan::KeepOne(i)));
    assert_eq!(kept, [("aXcd".into(), 1), ("abYd".into(), 1), ("abcd".into(), 2)]);
}

#[test]
fn an_ignored_sync_has_not_happened() {
    let (fs, file) = existing(&sectors(b"a"));
    file.write_at(&sectors(b"X"), 0).unwrap();
    file.sync().unwrap();
    fs.create_new(Path::new("/dir/log")).unwrap();
    fs.sync_dir(db()).unwrap();
    let ops = fs.ops();
    let points = sync_points(&ops);
    assert_eq!(points.len(), 2);
    let dropped = |ignored: &[usize]| {
        let mut crashes = Crashes::ignoring(&ops, |position, _| ignored.contains(&position));
        crashes.advance_to(ops.len());
        let image = crashes.image(&CrashPlan::AllDropped);
        (image[0].1[0], image.len())
    };
    assert_eq!(dropped(&[]), (b'X', 2));
    assert_eq!(dropped(&points[..1]), (b'a', 2));
    assert_eq!(dropped(&points[1..]), (b'X', 1));
}

#[test]
fn direct_and_reopened_handles_record_as_the_same_file() {
    let (fs, file) = existing(&vec![0; 8192]);
    fs.rename(db(), Path::new("/dir/x")).unwrap();
    fs.rename(Path::new("/dir/x"), db()).unwrap();
    let again = fs.open(db(), Access::ReadWrite).unwrap();
    again
        .write_vectored_at(&[IoSlice::new(&sectors(b"1")), IoSlice::new(b""), IoSlice::new(b"2")], 0)
        .unwrap();
    let ops = fs.ops();
    let Op::Exists { file: id, .. } = &ops[0] else { panic!("{ops:?}") };
    let mut expected = sectors(b"1");
    expected.push(b'2');
    assert_eq!(ops[3], Op::Write { file: *id, offset: 0, bytes: expected.into() });
    assert_eq!(ops.len(), 4, "a file is met once");
    fs.mark("commit", 7);
    assert_eq!(fs.ops()[4], Op::Mark { what: "commit", number: 7 });
    match file.direct().unwrap() {
        None => println!("skipped: no direct handles on files in memory here"),
        Some(direct) => {
            let buffer = AlignedPage(vec![3; 8192]);
            direct.file.write_at(buffer.aligned(), 4096).unwrap();
            assert!(
                matches!(&fs.ops()[5], Op::Write { file, offset: 4096, bytes } if file == id && bytes.len() == 4096)
            );
        }
    }
}

/// A buffer that holds one page at an address that is a multiple of its size.
struct AlignedPage(Vec<u8>);

impl AlignedPage {
    fn aligned(&self) -> &[u8] {
        let skip = self.0.as_ptr().align_offset(4096);
        &self.0[skip..skip + 4096]
    }
}

/// Against a model that is slow and plain: replay, keeping for every sector the list of what it may hold.
#[test]
fn random_histories_agree_with_a_plain_model() {
    const SECTORS: usize = 6;
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (fs, file) = existing(&noise(SECTORS * SECTOR, 1));
        let mut may: Vec<Vec<Vec<u8>>> = vec![Vec::new(); SECTORS];
        let mut cache = noise(SECTORS * SECTOR, 1);
        (0..SECTORS).for_each(|s| may[s].push(cache[s * SECTOR..(s + 1) * SECTOR].to_vec()));
        for step in 0..20 {
            let durably = rng.chance(0.2);
            if rng.chance(0.2) {
                file.sync().unwrap();
                may.iter_mut().for_each(|values| drop(values.drain(..values.len() - 1)));
            } else {
                let start = rng.below((SECTORS * SECTOR) as u64) as usize;
                let len = 1 + rng.below((SECTORS * SECTOR - start) as u64) as usize;
                let bytes = noise(len, seed * 100 + step);
                if durably {
                    file.write_at_durably(&bytes, start as u64).unwrap();
                } else {
                    file.write_at(&bytes, start as u64).unwrap();
                }
                cache[start..start + len].copy_from_slice(&bytes);
                for s in start / SECTOR..(start + len).div_ceil(SECTOR) {
                    if durably {
                        may[s].clear();
                    }
                    may[s].push(cache[s * SECTOR..(s + 1) * SECTOR].to_vec());
                }
            }
        }
        let ops = fs.ops();
        let mut crashes = Crashes::new(&ops);
        crashes.advance_to(ops.len());
        for plan in 0..20 {
            let image = crashes.image(&CrashPlan::random(plan));
            for (s, sector) in image[0].1.chunks(SECTOR).enumerate() {
                assert!(may[s].iter().any(|value| value == sector), "seed {seed}, plan {plan}, sector {s}");
            }
        }
        assert_eq!(crashes.image(&CrashPlan::AllKept)[0].1, cache);
        let oldest: Vec<u8> = may.iter().flat_map(|values| values[0].clone()).collect();
        assert_eq!(crashes.image(&CrashPlan::AllDropped)[0].1, oldest);
    }
}
