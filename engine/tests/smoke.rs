//! A first look at everything, over the in-memory source.

use bifold::{Builder, Db, Error, PageSource};
use bifold_page_source::{MemFs, MemSource};
use std::collections::BTreeMap;
use std::sync::Arc;

fn builder<S: PageSource>(fs: &MemFs) -> Builder<S> {
    Db::<S>::builder().page_size(512).delta_size(8 << 20).log_size(256 << 10).file_id(7).file_system(Arc::new(fs.clone()))
}

fn run<S: PageSource>() {
    let mut fs = MemFs::new();
    let mut model = BTreeMap::new();
    for round in 0..6u32 {
        let db: Db<S> = builder(&fs).open("/db").unwrap();
        if round > 0 {
            let txn = db.read().unwrap();
            let got: BTreeMap<Vec<u8>, Vec<u8>> =
                txn.table("t").unwrap().iter().map(|e| e.map(|(k, v)| (k, v.to_vec())).unwrap()).collect();
            assert!(got == model, "round {round}");
        }
        for i in 0..40u32 {
            let txn = db.write().unwrap();
            let t = txn.table("t").unwrap();
            for j in 0..50 {
                let n = (round * 7919 + i * 104_729 + j * 1_299_709) % 5000;
                let key = format!("key {n:05}").into_bytes();
                if j % 5 == 4 {
                    assert_eq!(t.remove(&key).unwrap(), model.remove(&key).is_some());
                } else {
                    let len = if n % 97 == 0 { 70_000 } else if n % 31 == 0 { 3000 } else { 20 };
                    let value = vec![(n + i) as u8; len];
                    t.insert(&key, &value).unwrap();
                    model.insert(key, value);
                }
            }
            if i == 20 {
                let (a, b) = (b"key 01000".to_vec(), b"key 02000".to_vec());
                let n = t.remove_range(&a[..]..&b[..]).unwrap();
                let before = model.len();
                model.retain(|k, _| *k < a || *k >= b);
                assert_eq!(n, (before - model.len()) as u64);
            }
            txn.commit().unwrap();
            if i % 5 == 0 {
                let report = db.check().unwrap();
                assert!(report.is_clean(), "round {round} {i} {:#?}", report.faults);
                let shape = db.shape().unwrap();
                if i == 20 { println!("{report:?} {shape:#?}"); }
            }
            if i % 13 == 3 {
                db.checkpoint().unwrap();
            }
            let txn = db.write().unwrap();
            txn.table("t").unwrap().insert("aborted", "x").unwrap();
            txn.table("t").unwrap().clear().unwrap();
        }
        if round % 2 == 0 {
            db.close().unwrap();
        } else {
            // The process dies: nothing is closed.
            std::mem::forget(db);
            let image: Vec<_> = fs.paths().into_iter().map(|p| (p.clone(), fs.read_file(&p).unwrap())).collect();
            let other = MemFs::from_files(image).unwrap();
            let db: Db<S> = builder(&other).open("/db").unwrap();
            let txn = db.read().unwrap();
            assert_eq!(txn.table("t").unwrap().len().unwrap(), model.len() as u64);
            drop(txn);
            db.close().unwrap();
            fs = other;
        }
    }
    let db: Db<S> = builder(&fs).read_only().open("/db").unwrap();
    assert!(matches!(db.write(), Err(Error::ReadOnly)));
    assert_eq!(db.read().unwrap().tables().unwrap(), ["t"]);
}

#[test]
fn memory() {
    run::<MemSource>();
}
