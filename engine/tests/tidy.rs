//! The rules of style that a machine can hold: sizes of files and functions, where `unsafe` may be, what every module
//! and every `unsafe` block must say. Test modules are left out of the sizes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, and of a function, test modules aside.
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// The files that may hold `unsafe`: each exists for it.
const UNSAFE_FILES: [&str; 24] = [
    "bench/src/stores/lmdb.rs",
    "bench/src/limits/map.rs",
    "bench/src/limits/ring.rs",
    "bench/src/pread_source/mod.rs",
    "bench/src/usage/sys.rs",
    "buffer-pool/src/access.rs",
    "buffer-pool/src/aligned.rs",
    "buffer-pool/src/arena.rs",
    "buffer-pool/src/source.rs",
    "buffer-pool/src/staging.rs",
    "buffer-pool/src/translation.rs",
    "engine/src/checkpoint/write.rs",
    "engine/src/delta/frames.rs",
    "engine/src/delta/slab.rs",
    "engine/src/snapshot/registry.rs",
    "mmap-backend/src/map.rs",
    "mmap-backend/src/source.rs",
    "page-source/src/huge_pages.rs",
    "page-source/src/mem_source.rs",
    "page-source/src/prefetch.rs",
    "page-source/src/source.rs",
    "page-source/src/testing/conformance/bed.rs",
    "page-source/src/testing/stale_view.rs",
    "page-source/src/writeback.rs",
];

/// One source file, as lines.
struct Source {
    name: String,
    lines: Vec<String>,
}

impl Source {
    /// The lines before the first inline test module.
    fn code(&self) -> &[String] {
        let tests = self.lines.windows(2).position(|pair| {
            pair[0].trim_start().starts_with("#[cfg(") && pair[0].contains("test") && {
                let next = pair[1].trim_start();
                next.starts_with("mod ") && next.ends_with('{')
            }
        });
        &self.lines[..tests.unwrap_or(self.lines.len())]
    }

    fn is_test(&self) -> bool {
        let name = Path::new(&self.name);
        let file = name.file_name().and_then(|f| f.to_str()).unwrap_or_default();
        self.name.contains("/tests/")
            || file.ends_with("tests.rs")
            || file.starts_with("test_")
            || file == "sim.rs"
    }
}

fn collect(dir: &Path, root: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            // Hidden ones are no source: the folders that other tests make for a while are among them.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name != "target" && !name.starts_with('.') {
                collect(&path, root, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push(Source { name, lines: text.lines().map(str::to_owned).collect() });
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for folder in ["page-source", "mmap-backend", "buffer-pool", "engine", "cli", "bench"] {
        collect(&root.join(folder), root, &mut found);
    }
    assert!(found.len() > 50, "only {} source files found", found.len());
    found
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Whether a line of code (not of comment or text) has the keyword. `unsafe(…)` marks an attribute.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    if code.contains("reason = ") || code.contains("expect(unsafe_code") {
        return false;
    }
    let mut rest = code;
    while let Some(at) = rest.find("unsafe") {
        let before = rest[..at].chars().next_back();
        let after = rest[at + 6..].chars().next();
        let part_of_word = |c: Option<char>| {
            c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '`' || c == '"' || c == '(')
        };
        // The keyword has a space or a brace behind it; `'unsafe-inline'` is a word of HTML.
        if !part_of_word(before) && !part_of_word(after) && after != Some('-') {
            return true;
        }
        rest = &rest[at + 6..];
    }
    false
}

#[test]
fn files_are_about_one_thing() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test()) {
        let lines = source.code().len();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines", source.name));
        }
    }
    report(&faults);
}

/// Whether a line begins a function, whatever its visibility and qualifiers.
fn begins_function(text: &str) -> bool {
    let qualifier = |word: &str| ["const", "unsafe", "async"].contains(&word) || word.starts_with("pub");
    text.split(' ').find(|word| !qualifier(word) && *word != "crate)" && *word != "super)") == Some("fn")
}

#[test]
fn functions_fit_a_screen() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test()) {
        let code = source.code();
        for (at, line) in code.iter().enumerate() {
            let text = line.trim_start();
            let is_fn = begins_function(text);
            if !is_fn {
                continue;
            }
            let indent = line.len() - text.len();
            let end = code[at..].iter().position(|l| {
                l.starts_with(&format!("{:indent$}}}", ""))
                    || l.trim_end().ends_with(';') && l.len() - l.trim_start().len() == indent
            });
            let lines = end.map_or(1, |end| end + 1);
            if lines > FUNCTION_LINES_MAX {
                faults.push(format!("{}:{}: a function of {lines} lines", source.name, at + 1));
            }
        }
    }
    report(&faults);
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = sources();
    let faults: Vec<String> = all
        .iter()
        .filter(|s| !s.lines.first().is_some_and(|line| line.starts_with("//!")))
        .map(|s| format!("{}: no //! at its top", s.name))
        .collect();
    report(&faults);
}

#[test]
fn unsafe_lives_in_the_files_that_exist_for_it_and_says_why_it_holds() {
    let mut faults = Vec::new();
    for source in &sources() {
        let uses: Vec<usize> = (0..source.lines.len()).filter(|at| has_unsafe(&source.lines[*at])).collect();
        if source.name.ends_with("tests/tidy.rs") || uses.is_empty() {
            continue;
        }
        if !UNSAFE_FILES.contains(&source.name.as_str()) && !source.is_test() {
            faults.push(format!("{}:{}: unsafe outside its files", source.name, uses[0] + 1));
        }
        for at in uses {
            let text = source.lines[at].trim_start();
            let declares = text.contains("unsafe fn") || text.contains("unsafe trait");
            let wanted = if declares { "# Safety" } else { "SAFETY:" };
            let above = source.lines[..at].iter().rev().take_while(|l| {
                let l = l.trim_start();
                l.starts_with("//")
                    || l.starts_with("#[")
                    || has_unsafe(l)
                    || l.ends_with("=>")
                    || l.ends_with('=')
            });
            // A method that implements a trait's repeats the trait's contract.
            let said = above.into_iter().any(|l| l.contains(wanted) || l.contains("SAFETY:"));
            let implements =
                declares && !text.starts_with("pub") && source.name != "page-source/src/source.rs";
            if !said && !implements {
                faults.push(format!("{}:{}: unsafe without a {wanted} line", source.name, at + 1));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_list_of_unsafe_files_is_no_longer_than_it_must_be() {
    let all = sources();
    let faults: Vec<String> = UNSAFE_FILES
        .iter()
        .filter(|name| !all.iter().any(|s| s.name == **name && s.lines.iter().any(|l| has_unsafe(l))))
        .map(|name| format!("{name} is listed and has no unsafe"))
        .collect();
    report(&faults);
}
