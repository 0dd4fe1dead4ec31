//! The cities, loaded with one backend and queried with the other, both ways.

use crate::common::{BACKENDS, Place, cities};
use serde_json::json;

/// The lines of the cities in the order of their keys.
fn sorted() -> Vec<Vec<u8>> {
    let text = std::fs::read(cities()).unwrap();
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort_by(|a, b| key(a).cmp(key(b)));
    lines
}

fn key(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'\t').next().unwrap()
}

#[test]
fn what_one_backend_loads_the_other_reads() {
    let lines = sorted();
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let place = Place::new();
        let file = cities();
        let args = ["load", "geo.bifold", "cities", file.to_str().unwrap(), "--backend", first];
        let ran = place.feed_args(&args, b"");
        assert_eq!((ran.code, &*ran.out), (0, &b""[..]), "{}", ran.err);
        assert!(
            ran.err.starts_with("cities: 69,472 entries in ") && ran.err.ends_with(" entries/s\n"),
            "{}",
            ran.err
        );
        // A closed database is one file.
        let before = place.files();
        assert_eq!(before.len(), 1);

        let ask = |args: &str| place.run(&format!("{args} --backend {second}"));
        let zurich = ask("get geo.bifold cities Zürich").text();
        assert_eq!(zurich, "CH\tZurich\t47.36667\t8.55\t415367\tEurope/Zurich\n");
        assert!(ask("scan geo.bifold cities").good() == lines.concat(), "{first} {second}");
        let reversed: Vec<u8> = lines.iter().rev().flatten().copied().collect();
        assert!(ask("scan geo.bifold cities --reverse").good() == reversed);
        let with_z: Vec<_> = lines.iter().filter(|line| line.starts_with(b"Z")).cloned().collect();
        assert!(ask("scan geo.bifold cities --prefix Z").good() == with_z.concat());
        assert!(ask("scan geo.bifold cities --prefix Z --limit 10").good() == with_z[..10].concat());
        let last: Vec<u8> = with_z.iter().rev().take(3).flatten().copied().collect();
        assert!(ask("scan geo.bifold cities --prefix Z --limit 3 --reverse").good() == last);
        let l_to_m: Vec<u8> = lines
            .iter()
            .filter(|line| (b"L".as_slice()..b"M").contains(&key(line)))
            .flat_map(|line| [key(line), b"\n"].concat())
            .collect();
        assert!(ask("scan geo.bifold cities --from L --to M --keys-only").good() == l_to_m);
        assert_eq!(ask("tables geo.bifold").text(), "cities\t69472\n");
        let check = ask("check geo.bifold").text();
        assert!(check.starts_with("0 faults; 1 table, 69,472 entries, "), "{check}");

        // None of that wrote anything.
        assert!(place.files() == before);
    }
}

#[test]
fn stat_shows_the_tree_and_the_backend() {
    let place = Place::new();
    place.feed_args(&["load", "geo.bifold", "cities", cities().to_str().unwrap()], b"").good();
    let mut shapes = Vec::new();
    for backend in BACKENDS {
        let text = place.run(&format!("stat geo.bifold --backend {backend}")).text();
        let row = text.lines().find(|line| line.starts_with("cities ")).unwrap();
        assert_eq!(row.split_whitespace().nth(1), Some("69,472"), "{text}");
        assert!(text.contains(&format!("backend         {backend}\n")), "{text}");
        let mut json = place.run(&format!("stat geo.bifold --json --backend {backend}")).json().remove(0);
        let file = std::fs::metadata(place.path("geo.bifold")).unwrap().len();
        assert_eq!(json["file_pages"], json!(file / 4096));
        assert_eq!(json["tables"][0]["entries"], json!(69_472));
        let cities = &json["tables"][0];
        let fill = cities["leaf_fill"].as_f64().unwrap();
        assert!(fill > 0.5 && fill <= 1.0, "{fill}");
        let seen = &json["backend"];
        assert_eq!(seen["name"], json!(backend));
        assert!(seen["pages_verified"].as_u64() >= cities["leaf_pages"].as_u64());
        shapes.push(json.as_object_mut().unwrap().remove("backend").map(|_| json));
    }
    assert_eq!(shapes[0], shapes[1]);
}

#[test]
fn a_small_cache_is_enough_and_kept() {
    let place = Place::new();
    place.feed_args(&["load", "geo.bifold", "cities", cities().to_str().unwrap()], b"").good();
    let json = place.run("stat geo.bifold --json --backend pool --cache 2MiB").json();
    let backend = &json[0]["backend"];
    assert_eq!(backend["budget_bytes"], json!(2 << 20));
    assert!(backend["used_bytes"].as_u64() <= Some(2 << 20), "{backend}");
    assert!(backend["evictions"].as_u64() > Some(0), "{backend}");
    let out = place.run("scan geo.bifold cities --backend pool --cache 2MiB").good();
    assert!(out == sorted().concat());
}

#[test]
fn columns_can_be_chosen() {
    let place = Place::new();
    let file = cities();
    let file = file.to_str().unwrap();
    let load = |table, args: &[&str]| {
        place.feed_args(&[&["load", "geo.bifold", table, file], args].concat(), b"").good();
    };
    load("people", &["--value", "6"]);
    load("by_zone", &["--key", "7"]);
    assert_eq!(place.run("get geo.bifold people Zürich").text(), "415367\n");
    assert_eq!(place.run("tables geo.bifold").text().lines().count(), 2);
    // The last line of the file with this time zone.
    let text = std::fs::read_to_string(file).unwrap();
    let last = text.lines().rev().find_map(|line| line.strip_suffix("\tEurope/Zurich")).unwrap();
    assert_eq!(place.run("get geo.bifold by_zone Europe/Zurich").text().trim_end_matches('\n'), last);
}
