//! The page of a report and that of a sweep, in words and in a browser.

#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod made;

use bifold_bench::cell::{Beside, Died};
use bifold_bench::corpus::Sizes;
use bifold_bench::crossover::{self, Figures, Grid, Repeat, Settings, Sweep};
use bifold_bench::drive::OpenLoop;
use bifold_bench::report::{Environment, Report, page, table, verdict};
use made::{jitter, report};
use std::path::Path;
use std::process::Command;

const SIDES: [&str; 4] = ["bifold-mmap", "bifold-pool", "lmdb", "redb"];

/// Sides that differ, at workloads that differ.
fn rate(workload: &str, side: &str, round: u64) -> f64 {
    let side = match side {
        "bifold-mmap" => 1.0,
        "bifold-pool" => 0.7,
        "lmdb" => 0.9,
        _ => 0.2,
    };
    200_000.0 * side * jitter(round) / workload.len() as f64
}

fn some() -> Report {
    report(&["get", "ycsb-a", "scan", "commit-1"], &SIDES, 3, rate)
}

/// A sweep in which pools win what does not fit, and the more the less fits; some cells were not run.
fn swept() -> Sweep {
    let settings = Settings {
        workload: bifold_bench::workload::find("get-txn").unwrap(),
        sides: ["bifold-mmap".into(), "bifold-pool".into()],
        memory: 256 << 20,
        grid: Grid {
            sizes: vec![0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0],
            threads: vec![1, 2, 4, 8, 16, 64],
        },
        keys: Sizes::Fixed(16),
        values: Sizes::Fixed(100),
        seed: 1,
        warmup: 1.0,
        duration: 2.0,
    };
    let mut sweep =
        Sweep::new(settings, Environment { made: 1_790_000_000, processors: 4, ..Environment::default() });
    let places: Vec<_> = sweep.settings.grid.places().filter(|p| (p.size + 2 * p.threads) % 5 != 4).collect();
    for (index, place) in places.into_iter().enumerate() {
        let figures = |factor: f64| Figures {
            rate: 1e6 / factor,
            p50_ns: 700.0 * factor,
            p99_ns: 3000.0 * factor,
            cpu_ns: 900.0 * factor.sqrt(),
            soft_faults: 0.1,
            hard_faults: 0.01 * factor,
            read_bytes: Some(4096.0 * factor),
            operations: 1_000_000,
        };
        let slower = (0.4 + place.size as f64 * 0.25 * (1.0 + 0.3 * place.threads as f64)).max(0.5);
        let mmap = if index == 7 { Err(Died::ForMemory) } else { Ok(figures(slower)) };
        for _ in 0..=index % 2 {
            sweep.repeats.push(Repeat { place, sides: [mmap.clone(), Ok(figures(1.0))] });
        }
    }
    sweep
}

/// A page may name nothing that lies elsewhere, and no script.
fn is_self_contained(html: &str) {
    for word in ["http:", "https:", "<script", "<link", "src=", "url(", "@import", "<img", "<iframe", " on"] {
        // Attributes that run scripts begin with `on`, in tags.
        let found = if word == " on" {
            html.split('<').filter_map(|tag| tag.split_once('>')).any(|(tag, _)| {
                tag.split(' ').skip(1).any(|name| name.starts_with("on") && name.contains('='))
            })
        } else {
            html.contains(word)
        };
        assert!(!found, "{word}");
    }
    for link in html.split("href=\"").skip(1) {
        assert!(link.starts_with('#'), "{}", &link[..20]);
    }
}

/// Every tag that opens closes, in order.
fn is_well_formed(html: &str) {
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag} does not end"));
        let name = tag.split([' ', '/', '\n']).find(|name| !name.is_empty()).unwrap();
        if tag.starts_with('!') || tag.ends_with('/') || name == "meta" {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closes {name}");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// The values of an attribute.
fn attributes<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    let begin = format!(" {name}=\"");
    html.split(begin.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn a_page_holds_what_was_measured_and_needs_nothing_else() {
    let report = some();
    let html = page(&report);
    is_self_contained(&html);
    is_well_formed(&html);
    for workload in ["get", "ycsb-a", "scan", "commit-1"] {
        assert!(html.contains(&format!(">{workload}</h3>")), "{workload}");
    }
    // Both kinds of ycsb-a have their own curve and rows.
    assert!(html.contains("ycsb-a: latency of read<") && html.contains("ycsb-a: latency of update<"));
    for text in [
        "mmap wins 4 of 4",
        "2026-09-21",
        "578\u{202f}524 entries",
        "memory is not bounded",
        "read amplification",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf\""), "numbers that are none");
    // Each picture has its own title and description, which are its label.
    let ids = attributes(&html, "id");
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "ids are unique: {ids:?}");
    let labels = attributes(&html, "aria-labelledby");
    assert!(labels.len() > 4 * 3);
    for id in labels.iter().flat_map(|label| label.split(' ')) {
        assert!(ids.contains(&id), "{id}");
    }
}

#[test]
fn the_page_of_a_sweep_is_made_alike() {
    let mut sweep = swept();
    let html = crossover::page(&sweep);
    is_self_contained(&html);
    is_well_formed(&html);
    assert!(!html.contains("NaN"));
    assert_eq!(html.matches("<svg").count(), 3);
    let ids = attributes(&html, "id");
    for id in attributes(&html, "aria-labelledby").iter().flat_map(|label| label.split(' ')) {
        assert_eq!(ids.iter().filter(|other| **other == id).count(), 1, "{id}");
    }
    sweep.settings.workload.about = "<script>".into();
    sweep.settings.sides[1] = "<script>".into();
    sweep.command.push("<script>".into());
    let html = crossover::page(&sweep);
    is_self_contained(&html);
    is_well_formed(&html);
}

#[test]
fn a_side_has_one_colour_everywhere() {
    let mut report = some();
    // A second part without the first side.
    let mut part = report.parts[0].clone();
    part.sides.remove(0);
    part.baseline = "lmdb".into();
    report.parts.push(part);
    let more = report.cells.iter().filter(|cell| cell.side != SIDES[0]).cloned();
    let more: Vec<_> = more.map(|cell| bifold_bench::report::Cell { part: 1, ..cell }).collect();
    report.cells.extend(more);
    let html = page(&report);
    for (index, side) in SIDES.iter().enumerate() {
        let keys = html.split(&format!("</i>{side}<")).count() - 1;
        let right =
            html.split(&format!("<i class=\"k s{index}\" aria-hidden=\"true\"></i>{side}<")).count() - 1;
        assert_eq!(keys, right, "{side}");
        assert!(keys > 4);
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    const EVIL: &str = "<script>alert('x')</script>\"&";
    let mut report = some();
    let part = &mut report.parts[0];
    part.title = EVIL.into();
    part.sides[1] = EVIL.into();
    part.baseline = EVIL.into();
    part.workloads[1].name = EVIL.into();
    part.workloads[1].about = EVIL.into();
    part.notes.push(EVIL.into());
    report.environment.cpu = Some(EVIL.into());
    report.command.push(EVIL.into());
    for cell in &mut report.cells {
        if cell.side == "bifold-pool" {
            cell.side = EVIL.into();
        }
        if cell.workload == "ycsb-a" {
            cell.workload = EVIL.into();
        }
        if cell.side == "redb" {
            cell.result = Err(Died::Failed(EVIL.into()));
        } else if let Ok(outcome) = &mut cell.result {
            outcome.notes.push(EVIL.into());
        }
    }
    let html = page(&report);
    is_self_contained(&html);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
}

#[test]
fn sides_without_a_result_are_told_in_words() {
    let mut report = some();
    for cell in &mut report.cells {
        match (cell.side.as_str(), cell.workload.as_str(), cell.round) {
            ("bifold-pool", "get", _) => cell.result = Err(Died::ForMemory),
            ("lmdb", "scan", 1) => cell.result = Err(Died::TookTooLong(300.0)),
            _ => {}
        }
    }
    report.complete = false;
    report.cells.retain(|cell| cell.workload != "commit-1");
    let html = page(&report);
    assert!(html.contains("<b>bifold-pool</b> has no result in 3 of 3 rounds: killed: out of memory"));
    assert!(
        html.contains("<b>lmdb</b> has no result in 1 of 3 rounds: not done after 300 s (1 of 3 rounds)")
    );
    assert!(html.contains("cut short") && html.contains("Not run."));
    assert!(!html.contains("NaN"));
}

/// Reports that no run of this program makes: still a page.
#[test]
fn odd_reports_are_pages() {
    let mut empty = some();
    empty.parts.clear();
    empty.cells.clear();
    assert!(page(&empty).contains("Nothing was compared"));
    let mut report = some();
    for cell in &mut report.cells {
        if let Ok(outcome) = &mut cell.result {
            (outcome.operations, outcome.seconds, outcome.step_ms) = (0, 0.0, 0);
            (outcome.series, outcome.checkpoints) = (vec![u64::MAX; 3], vec![-1.0, f64::NAN, 1e300]);
            outcome.ops.clear();
            outcome.disk = None;
        }
    }
    assert!(!page(&report).contains("NaN"));
    report.parts[0].data_bytes = 0;
    report.parts[0].sides.clear();
    assert!(page(&report).contains("no sides"));
}

#[test]
fn a_large_report_is_no_large_page() {
    let names: Vec<String> = bifold_bench::workload::names().into_iter().take(18).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(names.len(), 18);
    let html = page(&report(&names, &SIDES, 5, rate));
    assert!(html.len() < 300 << 10, "{} KiB", html.len() >> 10);
}

/// The page in Chromium without a network: it says nothing on the console, and what is drawn has a size.
#[test]
fn a_browser_shows_it() {
    let browsers = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let works =
        |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let Some(browser) = browsers.iter().find(works) else {
        println!("skipped: no chromium");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    std::fs::write(&file, page(&some())).unwrap();
    let log = show(browser, dir.path(), &file, 1280);
    assert!(!log.contains("CONSOLE"), "{log}");
    show(browser, dir.path(), &file, 400);
    std::fs::write(&file, crossover::page(&swept())).unwrap();
    for width in [1280, 400] {
        let log = show(browser, dir.path(), &file, width);
        assert!(!log.contains("CONSOLE"), "{log}");
    }
    // That a complaint would be seen: this page asks for what its policy forbids.
    let bad = page(&some()).replace("<main>", "<main><img src=\"http://127.0.0.1:9/x.png\">");
    std::fs::write(&file, bad).unwrap();
    let log = show(browser, dir.path(), &file, 1280);
    assert!(log.contains("CONSOLE") && log.contains("Content Security Policy"), "{log}");
}

/// Takes a picture of `file`, and returns what the browser logged.
fn show(browser: &str, dir: &Path, file: &Path, width: u32) -> String {
    let picture = dir.join(format!("{width}.png"));
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"])
        .args(["--virtual-time-budget=2000", "--proxy-server=127.0.0.1:9"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("--window-size={width},3000"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(file)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let bytes = std::fs::read(&picture).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 40_000, "{} bytes: an empty page?", bytes.len());
    log
}

#[test]
fn a_rate_that_was_not_kept_is_told_and_so_is_what_was_done_beside() {
    let mut kept = report(&["get"], &SIDES[..2], 3, rate);
    kept.parts[0].pace.rate = Some(400.0);
    let begun = |report: &mut Report, begun: fn(&str) -> u64| {
        for cell in &mut report.cells {
            let outcome = cell.result.as_mut().unwrap();
            outcome.open_loop = Some(OpenLoop { due: 12_000, begun: begun(&cell.side) });
            let ops = outcome.ops.clone();
            outcome.beside = Beside { operations: ops[0].count, ops, seconds: 30.0 };
        }
    };
    begun(&mut kept, |_| 11_990);
    let said = verdict(&kept);
    assert_eq!(
        said,
        "- 64 MiB of data, get: both kept the rate, so that only their latencies and costs can differ.\n"
    );
    let mut late = kept.clone();
    begun(&mut late, |side| if side == "bifold-pool" { 7_320 } else { 12_000 });
    let said = verdict(&late);
    assert!(
        said.starts_with(
            "- NOT KEPT UP: 64 MiB of data, get: bifold-pool kept 61 % of the rate of 400 a second"
        ),
        "{said}"
    );
    assert!(said.contains("mmap wins 1 of 1"), "{said}");
    let text = table(&late);
    assert!(text.contains("\nof the operations that were due, begun: bifold-mmap 100 %, bifold-pool 61 %\n"));
    assert!(text.contains("\nbeside that, read: bifold-mmap 66.7 k/s (p50 16 us, p99 "), "{text}");
    let html = page(&late);
    is_well_formed(&html);
    for wanted in
        ["of the operations that were due, begun", "Beside that: read", "<li class=\"bad\">NOT KEPT UP"]
    {
        assert!(html.contains(wanted), "{wanted}");
    }
}
