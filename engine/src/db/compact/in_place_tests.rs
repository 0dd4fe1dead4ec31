//! What only the inside shows: how much a step does, and what goes on between two.

use super::*;
use crate::background::Stepper;
use crate::db::Builder;
use bifold_page_source::{MemFs, MemSource, PageRef};

fn builder(page_size: usize) -> Builder<MemSource> {
    let builder = Db::<MemSource>::builder().file_system(Arc::new(MemFs::new())).background(Stepper::new());
    builder.page_size(page_size).delta_size(64 << 10)
}

#[test]
fn a_step_writes_no_more_than_its_share_however_many_leaves_a_branch_has() {
    let db = builder(4096).open("/db").unwrap();
    // In no order, so that all leaves are to be rewritten.
    for n in 0..200u32 {
        db.update(|txn| {
            let table = txn.table("t")?;
            (0..100u32).try_for_each(|m| {
                table.insert(((n * 100 + m).wrapping_mul(0x9E37_79B1)).to_be_bytes(), vec![7; 50])
            })
        })
        .unwrap();
    }
    db.checkpoint().unwrap();
    let mut compaction = Compaction {
        db: &db,
        tables: vec![Arc::from("t")],
        goal: Goal::Order,
        limit: 0,
        chunk: 0,
        end: 0,
        report: CompactReport::default(),
    };
    let (mut at, mut steps) = (Position::default(), 0);
    let written = || Counters::get(&db.shared().counters.checkpoint_pages);
    let begun = written();
    while at.table == 0 {
        let before = written();
        assert!(compaction.step(&mut at).unwrap());
        let (pages, chunk) = (written() - before, compaction.chunk >> 12);
        assert!(pages <= 2 * chunk + 8, "{pages} pages in one step, of {chunk}");
        steps += 1;
    }
    assert!(steps > 20 && written() - begun > 200, "{steps} steps, {} pages", written() - begun);
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn what_was_cut_is_not_walked_while_a_checkpoint_is_under_way() {
    let stepper = Stepper::new();
    let db = builder(512).background(stepper.clone()).open("/db").unwrap();
    let fill = |name: &str| {
        db.update(|txn| {
            let table = txn.table(name)?;
            (0..300u32).try_for_each(|n| table.insert(n.to_be_bytes(), vec![7; 50]))
        })
        .unwrap();
    };
    fill("gone");
    db.checkpoint().unwrap();
    db.update(|txn| txn.drop_table("gone").map(drop)).unwrap();
    db.checkpoint().unwrap();
    fill("t");
    // Another has begun one.
    stepper.advance(std::time::Duration::from_hours(1));
    let under_way = || db.shared().with_writer(Wait::No, |writer| Ok(writer.under_way.is_some())).unwrap();
    while !under_way() {
        assert!(stepper.step(), "none is due");
    }
    assert!(db.walk_what_was_cut().unwrap());
    assert!(!under_way());
    db.checkpoint().unwrap();
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn a_value_is_not_moved_to_what_commits_have_set_aside() {
    let db = builder(512).delta_size(1 << 20).open("/db").unwrap();
    let put = |key: &str, len| db.update(|txn| txn.table("t")?.insert(key, vec![7; len])).unwrap();
    for n in 0..20 {
        put(&format!("before {n}"), 3000);
    }
    put("hole", 100_000);
    put("value", 100_000);
    db.checkpoint().unwrap();
    db.update(|txn| txn.table("t")?.remove("hole").map(drop)).unwrap();
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    let (first, len) = {
        let reader = db.read().unwrap();
        let store = &db.shared().store;
        let root = crate::txn::state::lookup_table(store, reader.root(), "t").unwrap().unwrap();
        let group = group_at(&mut crate::walk::Walk::new(store, None), &root, b"value").unwrap();
        let writer = db.take_writer(Wait::No).unwrap();
        let state = WriteState::new(db.shared(), writer);
        let far = far_values(&state, store, &group, &Arc::from("t"), 0).unwrap();
        let far = far.iter().find(|far| far.key == b"value").unwrap();
        let found: (PageRef, u64) = (far.first, far.len);
        db.shared().gate.release(state.writer);
        found
    };
    let far = Far { table: Arc::from("t"), key: b"value".to_vec(), first, len };
    // Nothing but the hole is free, and there is no more than commits need.
    let end = db.shared().with_writer(Wait::No, |writer| {
        let space = writer.space()?;
        let runs: Vec<_> = space.free_runs().collect();
        let hole = runs.iter().find(|run| run.len >= 190 && run.end() <= first.page().get());
        for run in &runs {
            assert!(space.allocate_below(run.len, run.end())?.is_some());
        }
        space.give_back(*hole.unwrap())?;
        Ok(space.end())
    });
    for n in 0..20 {
        put(&format!("after {n}"), 600);
    }
    let taken = db.take_lower(std::slice::from_ref(&far)).unwrap();
    // That what is committed waits for no room is asserted where its places are taken.
    db.checkpoint().unwrap();
    assert!(taken.is_empty());
    let now = db.shared().with_writer(Wait::No, |writer| Ok(writer.space()?.end()));
    assert_eq!(now.unwrap(), end.unwrap(), "the file grew: this tests nothing");
}

#[test]
fn what_a_crash_between_meta_and_cut_has_left_is_cut_off_later() {
    let db = builder(512).open("/db").unwrap();
    db.update(|txn| txn.table("t")?.insert("a", "b")).unwrap();
    db.checkpoint().unwrap();
    let end = db.shared().with_writer(Wait::No, |writer| Ok(writer.space()?.end())).unwrap();
    // The file is longer than its meta says.
    db.shared().grow_file(end + 100).unwrap();
    let report = db.compact().unwrap();
    assert!(report.bytes_after <= end * 512, "{report:?}");
    assert!(db.check().unwrap().is_clean());
}
