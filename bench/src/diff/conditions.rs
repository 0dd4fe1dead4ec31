//! What two reports were not made alike in.
#![forbid(unsafe_code)]

use crate::report::{Environment, Part, Report};
use crate::workload::Workload;
use serde_json::{Value, json};

/// Parts of the environment that are expected to differ between two reports.
const FREE: [&str; 4] = ["made", "version", "commit", "load_average"];

/// In words, all that differs: the machine, the system, the data, the memory, the options.
pub(super) fn warnings(a: &Report, b: &Report, pairs: &[(usize, usize)]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (report, which) in [(a, "first"), (b, "second")] {
        if !report.complete {
            warnings.push(format!("the {which} report was cut short"));
        }
        let here = &report.environment;
        if let Some(load) = here.load_average.filter(|load| *load > 0.5 * here.processors as f64) {
            warnings.push(format!(
                "when the {which} report was begun, other work was running: load average {load:.1}"
            ));
        }
    }
    differences(&mut warnings, "", &environment(&a.environment), &environment(&b.environment));
    for (in_a, in_b) in pairs {
        if let (Some(a), Some(b)) = (a.parts.get(*in_a), b.parts.get(*in_b)) {
            part(&mut warnings, a, b);
        }
    }
    warnings
}

fn environment(environment: &Environment) -> Value {
    let mut value = json!(environment);
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !FREE.contains(&name.as_str()));
    }
    value
}

fn part(warnings: &mut Vec<String>, a: &Part, b: &Part) {
    if a.title != b.title {
        warnings.push(format!("\"{}\" is compared with \"{}\"", a.title, b.title));
    }
    let before = warnings.len();
    let conditions = |part: &Part| {
        json!({
            "data": part.source.shown(), "bytes of data": part.data_bytes, "entries": part.entries, "rounds": part.rounds,
            "runs": part.pace, "memory": part.memory, "data fit in memory": part.fits, "options": part.setup,
        })
    };
    differences(warnings, &format!("{}: ", b.title), &conditions(a), &conditions(b));
    // What else there is to a run is told in notes; they speak of the above, too.
    if before == warnings.len() {
        for (notes, others, which) in [(&a.notes, &b.notes, "first"), (&b.notes, &a.notes, "second")] {
            let alone = notes.iter().filter(|note| !others.contains(note));
            warnings.extend(alone.map(|note| format!("{}: only in the {which} report: {note}", b.title)));
        }
    }
    for workload in &a.workloads {
        let same = |other: &&Workload| other.name == workload.name;
        if b.workloads.iter().find(same).is_some_and(|other| other.work != workload.work) {
            warnings.push(format!("{}: {} is not the same workload in both", b.title, workload.name));
        }
    }
}

/// Appends the places at which two values differ.
fn differences(warnings: &mut Vec<String>, place: &str, a: &Value, b: &Value) {
    if a == b {
        return;
    }
    if let (Value::Object(fields), Value::Object(others)) = (a, b) {
        let mut names: Vec<&String> = fields.keys().chain(others.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of =
                |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
            let place = if place.is_empty() || place.ends_with(": ") {
                format!("{place}{}", name.replace(['_', '-'], " "))
            } else {
                format!("{place}, {}", name.replace(['_', '-'], " "))
            };
            differences(warnings, &place, &of(fields), &of(others));
        }
        return;
    }
    let words = |value: &Value| match value {
        Value::Null => "not known or not set".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    warnings.push(format!("{place}: {} in the first report, {} in the second", words(a), words(b)));
}
