//! Lines for people, in colour on a terminal, and objects for programs.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use millrace_client::receiver::BatchEvent;
use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::tally::{Counts, Summary};
use crate::ctl::cut;
use crate::figures::{bytes, count, whole};
use crate::{show, tell};

/// Schema of the objects besides events, which are those of `sub`.
const SCHEMA: &str = "millrace.tap/1";
/// Keys of the summary that are longer push their values aside.
const KEY_WIDTH_MAX: usize = 24;
/// What lines about events begin with.
const RATE: Style = Style::new().bold();
const TAGS: Style = AnsiColor::Cyan.on_default();
const LOSS: Style = AnsiColor::Red.on_default().bold();

/// A sample, at most so many columns wide.
pub(super) fn event(
    out: &mut impl Write,
    event: &BatchEvent<'_>,
    width: Option<usize>,
    json: bool,
) -> io::Result<()> {
    if json {
        return show::event_json(out, event, true);
    }
    let mut line = Vec::new();
    show::event_line(&mut line, event, true)?;
    // Time, tags, payload: the tags are coloured, so that the eye finds where the payload begins.
    let line = String::from_utf8_lossy(&line);
    let mut parts = line.trim_end_matches('\n').splitn(3, '\t');
    let (_, tags, payload) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (tags, payload) = match width {
        Some(width) => fitted(tags, payload, width),
        None => (tags.to_owned(), payload.to_owned()),
    };
    writeln!(out, "  {TAGS}{tags}{TAGS:#}  {payload}")
}

/// Tags and payload, cut so that a line of both has at most `width` columns. Tags have three fifths
/// of it, and what the payload leaves.
fn fitted(tags: &str, payload: &str, width: usize) -> (String, String) {
    let room = width.saturating_sub(4);
    let for_tags = room.saturating_sub(payload.width()).max(room * 3 / 5);
    let tags = cut(tags, for_tags);
    let for_payload = room.saturating_sub(tags.width());
    (tags, cut(payload, for_payload))
}

/// What one second brought.
pub(super) fn rate(out: &mut impl Write, counts: Counts, over: Duration, json: bool) -> io::Result<()> {
    let events = counts.events as f64 / over.as_secs_f64().max(1e-3);
    let payload =
        counts.bytes.saturating_mul(1000) / u64::try_from(over.as_millis()).unwrap_or(u64::MAX).max(1);
    if json {
        let object = json!({
            "schema": SCHEMA, "type": "rate", "events_per_s": events, "bytes_per_s": payload,
            "missed": counts.missed, "gaps": counts.gaps,
        });
        return show::json_line(out, &object);
    }
    write!(out, "{RATE}{:>7}/s  {:>10}/s{RATE:#}", count(events.round()), bytes(payload))?;
    loss(out, counts)?;
    writeln!(out)
}

fn loss(out: &mut impl Write, counts: Counts) -> io::Result<()> {
    match (counts.missed, counts.gaps) {
        (0, 0) => Ok(()),
        (0, gaps) => write!(out, "  {LOSS}{gaps} gaps{LOSS:#}"),
        (missed, _) => write!(out, "  {LOSS}{} missed{LOSS:#}", whole(missed)),
    }
}

/// The end.
pub(super) fn summary(out: &mut impl Write, summary: &Summary, json: bool) -> io::Result<()> {
    if json {
        let mut object = json!({ "schema": SCHEMA, "type": "summary" });
        if let (Some(object), Ok(serde_json::Value::Object(fields))) =
            (object.as_object_mut(), serde_json::to_value(summary))
        {
            object.extend(fields);
        }
        return show::json_line(out, &object);
    }
    let Summary { counts, seconds, .. } = summary;
    let least = if summary.is_cut { "at least " } else { "" };
    write!(
        out,
        "\n{RATE}{} events, {}, in {seconds:.1} s{RATE:#}: {}/s, {least}{} tag sets of {least}{} publishers",
        whole(counts.events),
        bytes(counts.bytes),
        count((counts.events as f64 / seconds.max(1e-3)).round()),
        whole(summary.tag_sets as u64),
        whole(summary.publishers as u64),
    )?;
    loss(out, *counts)?;
    writeln!(out)?;
    let longest = summary.keys.iter().map(|key| key.key.width()).max().unwrap_or(0).min(KEY_WIDTH_MAX);
    for key in &summary.keys {
        let values: Vec<String> = key
            .values
            .iter()
            .map(|(value, events)| {
                format!("{} {:.0} %", tell::safe(value), *events as f64 * 100.0 / counts.events.max(1) as f64)
            })
            .collect();
        let more = key.distinct.saturating_sub(key.values.len());
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        let pad = longest.saturating_sub(key.key.width());
        let (name, values) = (tell::safe(&key.key), values.join(", "));
        writeln!(out, "  {TAGS}{name}{TAGS:#}{:pad$}  {values}{more}", "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fit_into_the_screen() {
        let (tags, payload) = fitted(&"k=v,".repeat(40), &"payload ".repeat(40), 80);
        assert_eq!(tags.width() + payload.width() + 4, 80);
        assert!(tags.ends_with('…') && payload.ends_with('…'), "{tags} {payload}");
        let (tags, payload) = fitted("host=web-1", &"x".repeat(200), 80);
        assert_eq!((tags.as_str(), payload.width()), ("host=web-1", 66));
        let (tags, payload) = fitted(&"k=v,".repeat(40), "down", 80);
        assert_eq!((tags.width(), payload.as_str()), (72, "down"));
    }
}
