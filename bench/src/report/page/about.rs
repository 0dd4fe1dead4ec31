//! The words around the figures: what was compared, under which conditions, and what the figures do not show.
#![forbid(unsafe_code)]

use super::html::{escape, where_and_how};
use crate::cell::Source;
use crate::drive::Until;
use crate::limits::Limits;
use crate::report::{Part, Report, article, bytes, counted, of_rounds, short};
use crate::workload::{Work, Workload};
use std::fmt::Write;

/// What holds for every report of this program.
const NOT_SHOWN: [&str; 9] = [
    "They are of one machine, one disk, and one hour. Whatever else ran there is in them.",
    "The spread is that of the rounds there were: with three, sides that are equal still lie apart by chance, one after \
     the other, in one comparison of ten.",
    "Without a rate that is due, a thread begins an operation when the one before has ended. A stall then delays one \
     operation of each thread, where real users would all have waited: the highest quantiles are too good.",
    "What the disk read and wrote is counted on the whole device, whoever asked for it. Writes that are not synced may \
     reach it later, in another side's round or after the end.",
    "Resident memory counts the pages of a file that are mapped, and not those of the page cache that are only read \
     through calls: a side that reads by calls through the page cache into a cache of its own has pages twice and \
     shows them once. Within a bound of memory both count.",
    "Processor time and faults are those of the whole process. It also chooses keys, checks every value that it reads, \
     and keeps the time, which is the same on every side; what the kernel does in threads of its own (writing back, \
     reading ahead) is not in it.",
    "Where system calls could not all be counted, they are the reads and writes only; the notes say so.",
    "Made values look random. A store that compresses gains nothing from them, and might from yours.",
    "A commit that is durable is one that the disk said it has. A virtual disk may say so early.",
];

/// What is compared, in one line.
pub(super) fn title(report: &Report) -> String {
    let Some(part) = report.parts.first() else { return "Nothing was compared".into() };
    let mut sides: Vec<&str> = Vec::new();
    let mut workloads: Vec<&str> = Vec::new();
    for part in &report.parts {
        sides.extend(part.sides.iter().map(String::as_str));
        workloads.extend(part.workloads.iter().map(|workload| workload.name.as_str()));
    }
    for names in [&mut sides, &mut workloads] {
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
    }
    let sides = match sides.as_slice() {
        [] => "no sides".to_owned(),
        [one] => (*one).to_owned(),
        [all @ .., last] if all.len() < 5 => format!("{} and {last}", all.join(", ")),
        [first, second, rest @ ..] => format!("{first}, {second} and {} others", rest.len()),
    };
    let work = match workloads.as_slice() {
        [one] => (*one).to_owned(),
        all => format!("{} workloads", all.len()),
    };
    let on = if report.parts.len() == 1 {
        part.title.clone()
    } else {
        format!("{} sets of conditions", report.parts.len())
    };
    format!("{sides}: {work}, {on}")
}

/// What data there are, in words.
fn data(part: &Part) -> String {
    let size = bytes(part.data_bytes as f64);
    match &part.source {
        Source::Made(made) => format!(
            "{} entries, {size} of keys and values, made from seed {}: keys of {} bytes, values of {} bytes. Each value \
             follows from its key, and every one that is read is checked",
            thousands(part.entries),
            made.seed,
            made.keys,
            made.values
        ),
        Source::File { table, .. } => format!(
            "{} entries, {size} of keys and values, those of {}{}; every value that is read is checked",
            thousands(part.entries),
            part.source.named(),
            table.as_ref().map_or_else(String::new, |table| format!(", table {table}"))
        ),
        Source::Trace(recording) => format!(
            "{} entries, {size} of keys and values, with those that are put: what the {} calls recorded in {} found. Every \
             value that is read is checked",
            thousands(part.entries),
            thousands(recording.events),
            recording.trace.display()
        ),
    }
}

/// A number with spaces between thousands that no line breaks at.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Whether it is a replay at a given pace.
fn has_pace(workload: &Workload) -> bool {
    matches!(&workload.work, Work::Replay(replay) if replay.speed.is_some())
}

fn pace(part: &Part) -> String {
    let pace = &part.pace;
    let until = match pace.until {
        Until::Seconds(seconds) => format!("{seconds} s"),
        Until::Operations(operations) => format!("{} operations", thousands(operations)),
    };
    let threads = if pace.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", pace.threads) };
    let rate = match pace.rate {
        Some(rate) => format!(
            "; {rate} operations a second are due, each a transaction of its own, and latencies count from when"
        ),
        None if part.workloads.iter().any(has_pace) => {
            "; calls are due at the recorded pace, and latencies count from when".into()
        }
        None => "; each thread begins an operation when the one before has ended".into(),
    };
    let rounds = counted(part.rounds, "round");
    format!("{rounds} of {until} after {} s of warm-up, {threads}{rate}", pace.warmup)
}

/// The conditions of a part.
pub(super) fn conditions(text: &mut String, part: &Part) {
    let mut notes = part.notes.iter();
    let rule = notes.next().map_or("no rule is told", String::as_str);
    text.push_str("<dl>\n");
    let mut point = |name: &str, value: &str| {
        let _ = writeln!(text, "<dt>{name}</dt><dd>{}.</dd>", escape(value.trim_end_matches('.')));
    };
    point("Memory", rule);
    for note in notes {
        point("Note", note);
    }
    point("Data", &data(part));
    point("Runs", &pace(part));
    point(
        "Figures",
        &format!(
            "{}; ratios are to {}, within each round. Checking a value takes {:.0} ns, on every side",
            of_rounds(part.rounds),
            part.baseline,
            part.check_nanos
        ),
    );
    text.push_str("</dl>\n");
}

/// What a query and a write cost, if the report is of the preset `article`.
pub(super) fn article_of(text: &mut String, report: &Report) {
    let Some(said) = article(report) else { return };
    let _ = write!(
        text,
        "<section aria-labelledby=\"article\">\n<h2 id=\"article\">What a query and a write cost</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"article\"><pre>{}</pre></div>\n</section>\n",
        escape(said.trim_matches('\n'))
    );
}

/// What the machine can do at all.
fn limits_of(text: &mut String, limits: &Limits) {
    text.push_str(
        "<section aria-labelledby=\"limits\">\n<h2 id=\"limits\">What this machine can do at all</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"limits\"><table class=\"all\"><thead><tr>\
         <th scope=\"col\">limit</th><th scope=\"col\">median</th><th scope=\"col\">least – most</th>\
         <th scope=\"col\">unit</th><td></td></tr></thead><tbody>",
    );
    for figure in &limits.figures {
        let _ = write!(
            text,
            "\n<tr><th scope=\"row\">{}</th><td>{}</td><td>{} – {}</td><td>{}</td><td class=\"note\">{}</td></tr>",
            escape(&figure.name),
            short(figure.median),
            short(figure.least),
            short(figure.most),
            escape(&figure.unit),
            escape(&figure.note)
        );
    }
    for missing in &limits.missing {
        let _ = write!(
            text,
            "\n<tr><th scope=\"row\">{}</th><td>–</td><td></td><td></td><td class=\"note\">{}</td></tr>",
            escape(&missing.name),
            escape(&missing.reason)
        );
    }
    let _ = write!(
        text,
        "</tbody></table></div>\n<p>Several reads are kept under way by {}; {} s a figure.</p>\n</section>\n",
        escape(&limits.engine),
        limits.seconds
    );
}

/// The environment, the options, and what is to be known about the figures.
pub(super) fn appendix(text: &mut String, report: &Report) {
    if let Some(limits) = &report.limits {
        limits_of(text, limits);
    }
    text.push_str(
        "<section aria-labelledby=\"not\">\n<h2 id=\"not\">What these numbers do not show</h2>\n<ul>\n",
    );
    for line in NOT_SHOWN {
        let _ = writeln!(text, "<li>{line}</li>");
    }
    text.push_str("</ul>\n</section>\n");
    let notes = notes(report);
    if !notes.is_empty() {
        text.push_str("<section aria-labelledby=\"notes\">\n<h2 id=\"notes\">Notes of the runs</h2>\n<ul>\n");
        for (note, times) in notes {
            let _ = writeln!(
                text,
                "<li>{} <small>({times} of {} runs)</small></li>",
                escape(&note),
                report.cells.len()
            );
        }
        text.push_str("</ul>\n</section>\n");
    }
    text.push_str("<section aria-labelledby=\"where\">\n");
    where_and_how(text, &report.environment, &report.command);
    for part in &report.parts {
        let Ok(setup) = serde_json::to_string_pretty(
            &serde_json::json!({ "stores": part.setup, "runs": part.pace, "data": part.source.shown() }),
        ) else {
            continue;
        };
        let _ = writeln!(
            text,
            "<details><summary>All options: {}</summary><pre>{}</pre></details>",
            escape(&part.title),
            escape(&setup)
        );
    }
    text.push_str("</section>\n");
}

/// What runs had to say, each thing once, and how often.
fn notes(report: &Report) -> Vec<(String, usize)> {
    let mut notes: Vec<(String, usize)> = Vec::new();
    let outcomes = report.cells.iter().filter_map(|cell| cell.result.as_ref().ok());
    for note in outcomes.flat_map(|outcome| &outcome.notes) {
        match notes.iter_mut().find(|(known, _)| known == note) {
            Some((_, times)) => *times += 1,
            None => notes.push((note.clone(), 1)),
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            ["1", "999", "1000", "1234567"].map(|n| thousands(n.parse().unwrap())),
            ["1", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }
}
