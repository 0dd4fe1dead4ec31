//! What every page begins and ends with, and text in HTML.
//!
//! A page needs nothing besides itself: no script, no font, no picture from elsewhere; and it forbids itself to load
//! anything, should what comes from outside ever be taken for more than text.
#![forbid(unsafe_code)]

use crate::report::Environment;
use std::borrow::Cow;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
/// What a page ends with.
pub(crate) const END: &str = "</main>\n</body>\n</html>\n";

/// A page up to and with its head, which says what the page is `of`, its title, and where and when that was measured.
pub(crate) fn begin(of: &str, title: &str, environment: &Environment) -> String {
    let mut text = String::with_capacity(64 << 10);
    let cpu = environment.cpu.as_deref().unwrap_or("an unknown processor");
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<header>\n<p class=\"over\">{1}</p>\n<h1>{0}</h1>\n\
         <p class=\"sub\">{2}, {3} × {4}, bifold {5}</p>\n</header>\n",
        escape(title),
        escape(of),
        date(environment.made),
        environment.processors,
        escape(cpu),
        escape(&environment.version)
    );
    text
}

/// A box with the verdict: what it comes to, and the points that it comes from. Nothing if there is neither.
pub(crate) fn verdict<'v>(text: &mut String, said: impl IntoIterator<Item = &'v str>) {
    let (points, lead): (Vec<_>, Vec<_>) = said.into_iter().partition(|line| line.starts_with("- "));
    if points.is_empty() && lead.is_empty() {
        return;
    }
    text.push_str(
        "<section class=\"verdict\" aria-labelledby=\"verdict\">\n<h2 id=\"verdict\">Verdict</h2>\n",
    );
    for line in lead {
        let _ = writeln!(text, "<p class=\"lead\">{}</p>", escape(line));
    }
    if !points.is_empty() {
        text.push_str("<ul>\n");
        for line in points {
            let line = line.trim_start_matches("- ");
            let bad = line.starts_with("FAILED") || line.starts_with("NOT KEPT UP");
            let class = if bad { " class=\"bad\"" } else { "" };
            let _ = writeln!(text, "<li{class}>{}</li>", escape(line));
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</section>\n");
}

/// The machine and the system, a paragraph each, and the command line.
pub(crate) fn where_and_how(text: &mut String, environment: &Environment, command: &[String]) {
    text.push_str("<h2 id=\"where\">Where and how</h2>\n");
    for line in environment.lines() {
        let _ = writeln!(text, "<p>{}</p>", escape(&line));
    }
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let _ = write!(text, "<p>The command:</p>\n<pre>{}</pre>\n", escape(&command.join(" ")));
}

/// A word of a command line, in quotes where a shell would take it for something else.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+%@~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `text` as the text of an element or the value of an attribute in quotes.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The second of a day and the date that lie `seconds` after the beginning of 1970, as `2026-05-04 13:02 UTC`.
///
/// The date follows Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms" (`civil_from_days`).
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Eras of 400 years that begin on the first of March, 0000.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{of_month:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_html_is_escaped() {
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(["a-b", "", "a b", "it's"].map(quoted), ["a-b", "''", "'a b'", "'it'\\''s'"]);
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
        assert!(date(u64::MAX).ends_with("UTC"));
    }
}
