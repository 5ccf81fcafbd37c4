//! Events for people and for programs.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use millrace_client::receiver::BatchEvent;
use millrace_client::{Event, Gap};
use millrace_proto::TagSetRef;
use millrace_proto::tag::RESERVED_PREFIX;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::tell;

/// Schema of the objects that `sub --json` prints.
pub(crate) const EVENT_SCHEMA: &str = "millrace.sub/1";

/// Writes an event as one line: time, tags, payload, separated by tabs. Tags that routers set stand
/// among the others if `all_tags`.
pub(crate) fn event_line(out: &mut impl Write, event: &BatchEvent<'_>, all_tags: bool) -> io::Result<()> {
    write!(out, "{}\t", time(since_1970(event.time)))?;
    for (index, (key, value)) in shown_tags(event.tags.borrow(), all_tags).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{key}=")?;
        escape(out, value.as_bytes(), true)?;
    }
    out.write_all(b"\t")?;
    escape(out, event.payload, false)?;
    out.write_all(b"\n")
}

/// Tags in words, for messages.
pub(crate) fn tags_words(tags: TagSetRef<'_>) -> String {
    shown_tags(tags, false).map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The tags to show.
fn shown_tags(tags: TagSetRef<'_>, all: bool) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().filter(move |(key, _)| all || !key.starts_with(RESERVED_PREFIX))
}

/// Writes an event as one JSON object, with tags as [`event_line`] has them.
pub(crate) fn event_json(out: &mut impl Write, event: &BatchEvent<'_>, all_tags: bool) -> io::Result<()> {
    let text = std::str::from_utf8(event.payload).ok();
    let object = EventObject {
        schema: EVENT_SCHEMA,
        kind: "event",
        time: time(since_1970(event.time)),
        time_ns: since_1970(event.time),
        tags: TagsObject(event.tags.borrow(), all_tags),
        publisher: event.id.publisher.publisher.to_string(),
        epoch: format!("{:016x}", event.id.publisher.epoch.0),
        seq: event.id.seq,
        payload: text,
        payload_hex: if text.is_some() { None } else { Some(hex(event.payload)) },
        replayed: event.replayed,
    };
    json_line(out, &object)
}

/// Writes a reply as one JSON object.
pub(crate) fn reply_json(out: &mut impl Write, schema: &'static str, event: &Event) -> io::Result<()> {
    let text = std::str::from_utf8(&event.payload).ok();
    let object = EventObject {
        schema,
        kind: "reply",
        time: time(since_1970(event.time)),
        time_ns: since_1970(event.time),
        tags: TagsObject(event.tags.borrow(), false),
        publisher: event.id.publisher.publisher.to_string(),
        epoch: format!("{:016x}", event.id.publisher.epoch.0),
        seq: event.id.seq,
        payload: text,
        payload_hex: if text.is_some() { None } else { Some(hex(&event.payload)) },
        replayed: false,
    };
    json_line(out, &object)
}

/// Writes a gap as one JSON object.
pub(crate) fn gap_json(out: &mut impl Write, gap: &Gap) -> io::Result<()> {
    let object = GapObject {
        schema: EVENT_SCHEMA,
        kind: "gap",
        reason: gap.reason.name(),
        events: (gap.events > 0).then_some(gap.events),
        router: gap.router.map(|router| router.to_string()),
    };
    json_line(out, &object)
}

/// A gap in words.
pub(crate) fn gap_words(gap: &Gap) -> String {
    let events = match gap.events {
        0 => "events may be missing".to_owned(),
        1 => "1 event is missing".to_owned(),
        events => format!("{events} events are missing"),
    };
    let router = gap.router.map_or_else(String::new, |router| format!(", entered through router {router}"));
    format!("gap: {events} here ({}{router})", gap.reason.name())
}

/// Writes one JSON object and a line break. Characters that steer a terminal are escapes, so that
/// none reaches it raw.
pub(crate) fn json_line(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Plain))?;
    out.write_all(b"\n")
}

/// Compact JSON whose strings hold nothing that steers a terminal.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices().filter(|&(_, character)| tell::is_hazardous(character))
        {
            out.write_all(&fragment.as_bytes()[plain..at])?;
            plain = at + character.len_utf8();
            // All of them are in the basic plane: one escape of four digits.
            write!(out, "\\u{:04x}", u32::from(character))?;
        }
        out.write_all(&fragment.as_bytes()[plain..])
    }
}

#[derive(Serialize)]
struct EventObject<'a> {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    time: String,
    time_ns: u64,
    tags: TagsObject<'a>,
    publisher: String,
    epoch: String,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    /// It comes from history.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

#[derive(Serialize)]
struct GapObject {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    router: Option<String>,
}

struct TagsObject<'a>(TagSetRef<'a>, bool);

impl Serialize for TagsObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in shown_tags(self.0, self.1) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Nanoseconds between 1970 and `time`.
fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970 as RFC 3339, UTC; times that it cannot write (beyond the year 9999) as
/// nanoseconds.
fn time(ns: u64) -> String {
    const YEAR_10000_S: u64 = 253_402_300_800;
    if ns / 1_000_000_000 >= YEAR_10000_S {
        return ns.to_string();
    }
    humantime::format_rfc3339_nanos(SystemTime::UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes text as it is, all else as escapes that can be read back: `\\`, `\n`, `\r`, `\t`, `\xNN`
/// per byte, and `\,` where a comma separates.
fn escape(out: &mut impl Write, bytes: &[u8], commas: bool) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid();
        let mut plain = 0;
        for (at, character) in text.char_indices() {
            if !tell::is_hazardous(character) && character != '\\' && !(commas && character == ',') {
                continue;
            }
            out.write_all(&text.as_bytes()[plain..at])?;
            plain = at + character.len_utf8();
            match character {
                '\\' => out.write_all(b"\\\\")?,
                ',' => out.write_all(b"\\,")?,
                '\n' => out.write_all(b"\\n")?,
                '\r' => out.write_all(b"\\r")?,
                '\t' => out.write_all(b"\\t")?,
                _ => hex_escapes(out, &text.as_bytes()[at..plain])?,
            }
        }
        out.write_all(&text.as_bytes()[plain..])?;
        hex_escapes(out, chunk.invalid())?;
    }
    Ok(())
}

fn hex_escapes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8], commas: bool) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes, commas).unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8(out).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn text_stays_text_and_the_rest_is_escaped() {
        assert_eq!(escaped("grüße, 世界".as_bytes(), false), "grüße, 世界");
        assert_eq!(escaped(b"a\tb\r\n\\n\0\x7f", false), r"a\tb\r\n\\n\x00\x7f");
        assert_eq!(escaped(b"\xff\xfea\xc3", false), r"\xff\xfea\xc3");
        assert_eq!(escaped("\u{85}".as_bytes(), false), r"\xc2\x85");
        assert_eq!(escaped(b"a,b", true), r"a\,b");
        assert_eq!(escaped("a\u{202e}b".as_bytes(), false), r"a\xe2\x80\xaeb");
    }

    #[test]
    fn json_escapes_what_steers_a_terminal_and_reads_back() {
        let text = "a\u{9b}2J\u{7f}\u{202e}b\u{1b}\"grüße\"";
        let mut out = Vec::new();
        json_line(&mut out, &text).unwrap_or_else(|error| panic!("{error}"));
        let shown = String::from_utf8(out).unwrap_or_else(|error| panic!("{error}"));
        assert!(!shown.trim_end().contains(tell::is_hazardous), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).ok().as_deref(), Some(text));
    }

    #[test]
    fn times_are_rfc_3339_as_far_as_that_goes() {
        assert_eq!(time(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(time(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(time(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
