//! RFC 3164, and what is sent in its name: `<34>Oct 11 22:14:15 host app[8710]: text`, each part of
//! which may be missing. Python's `SysLogHandler` sends only priority and text, the C library no
//! host.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

use super::message::Message;
use super::priority::Priority;

/// Bytes of a program's name; longer ones are text.
const TAG_BYTES_MAX: usize = 64;
/// A time further ahead belongs to last year: clocks differ by less.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads what follows the priority. Nothing fails: what cannot be read is text.
#[must_use]
pub fn read(priority: Priority, rest: &[u8], zone: UtcOffset, now: SystemTime) -> Message<'_> {
    let mut message = Message::plain(priority, rest);
    if let Some((time, behind)) = timestamp(rest, zone, now) {
        message.time = Some(time);
        message.text = behind;
        // A host stands there only if what follows it is not already the text.
        if let Some(end) = behind.iter().position(|&byte| byte == b' ')
            && end > 0
            && tag(behind).is_none()
        {
            message.host = Some(String::from_utf8_lossy(&behind[..end]));
            message.text = &behind[end + 1..];
        }
    }
    if let Some(Tag { app, procid, behind }) = tag(message.text) {
        (message.app, message.procid, message.text) = (Some(app), procid, behind);
    }
    message
}

struct Tag<'a> {
    app: Cow<'a, str>,
    procid: Option<Cow<'a, str>>,
    behind: &'a [u8],
}

/// Takes `app: ` or `app[procid]: `.
fn tag(text: &[u8]) -> Option<Tag<'_>> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./@".contains(byte);
    let end = text.iter().take(TAG_BYTES_MAX + 1).position(|byte| !is_name(byte)).filter(|&end| end > 0)?;
    let (app, mut behind) = text.split_at(end);
    let mut procid = None;
    if let Some(inner) = behind.strip_prefix(b"[") {
        let end = inner.iter().take(TAG_BYTES_MAX).position(|&byte| byte == b']')?;
        procid = Some(String::from_utf8_lossy(&inner[..end])).filter(|procid| !procid.is_empty());
        behind = &inner[end + 1..];
    }
    let behind = behind.strip_prefix(b":")?;
    // A word with a colon in it, as in an address, is none.
    if !behind.is_empty() && !behind.starts_with(b" ") {
        return None;
    }
    let behind = behind.strip_prefix(b" ").unwrap_or(behind);
    Some(Tag { app: String::from_utf8_lossy(app), procid, behind })
}

/// Takes a time and the space behind it: `Oct 11 22:14:15`, or RFC 3339, which rsyslog sends.
fn timestamp(text: &[u8], zone: UtcOffset, now: SystemTime) -> Option<(SystemTime, &[u8])> {
    if let Some(end) = text.iter().take(40).position(|&byte| byte == b' ')
        && let Ok(word) = std::str::from_utf8(&text[..end])
        && let Ok(time) = OffsetDateTime::parse(word, &Rfc3339)
    {
        return Some((time.into(), &text[end + 1..]));
    }
    let (stamp, behind) = text.split_at_checked(15)?;
    let behind = behind.strip_prefix(b" ")?;
    let stamp = std::str::from_utf8(stamp).ok()?;
    let month = month(stamp.get(..3)?)?;
    let day = stamp.get(4..6)?.trim_start().parse().ok()?;
    let clock = stamp.get(7..)?;
    let part = |range: std::ops::Range<usize>| clock.get(range)?.parse::<u8>().ok();
    let separators = (stamp.get(3..4)?, stamp.get(6..7)?, clock.get(2..3)?, clock.get(5..6)?);
    if separators != (" ", " ", ":", ":") {
        return None;
    }
    let time = Time::from_hms(part(0..2)?, part(3..5)?, part(6..8)?).ok()?;
    // It has no year: the latest that is not in the future.
    let year = OffsetDateTime::from(now).to_offset(zone).year();
    let in_year =
        |year| Some(Date::from_calendar_date(year, month, day).ok()?.with_time(time).assume_offset(zone));
    let found = in_year(year).map(SystemTime::from).filter(|time| *time <= now + AHEAD_MAX);
    let found = found.or_else(|| in_year(year - 1).map(SystemTime::from))?;
    Some((found, behind))
}

fn month(name: &str) -> Option<Month> {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = NAMES.iter().position(|found| found.eq_ignore_ascii_case(name))?;
    Month::try_from(u8::try_from(number + 1).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02 00:00 UTC.
    const NOW: u64 = 1_767_312_000;

    fn message(text: &str) -> Message<'_> {
        let (priority, rest) = Priority::take(text.as_bytes()).unwrap();
        let zone = UtcOffset::from_hms(1, 0, 0).unwrap();
        read(priority, rest, zone, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn parts<'a>(message: &'a Message<'_>) -> [Option<&'a str>; 4] {
        let text = std::str::from_utf8(message.text).ok();
        [message.host.as_deref(), message.app.as_deref(), message.procid.as_deref(), text]
    }

    #[test]
    fn each_part_may_be_missing() {
        for (text, expected) in [
            (
                "<34>Oct 11 22:14:15 web-1 su[12]: failed: x",
                [Some("web-1"), Some("su"), Some("12"), Some("failed: x")],
            ),
            ("<13>Jan  1 00:00:01 su: local", [None, Some("su"), None, Some("local")]),
            ("<13>Jan  1 00:00:01 web-1 no program", [Some("web-1"), None, None, Some("no program")]),
            ("<13>2026-01-01T10:00:00+01:00 web-1 app: x", [Some("web-1"), Some("app"), None, Some("x")]),
            ("<14>just text", [None, None, None, Some("just text")]),
            ("<14>myapp: text", [None, Some("myapp"), None, Some("text")]),
            ("<14>10.0.0.1:80 is down", [None, None, None, Some("10.0.0.1:80 is down")]),
            ("<14>Foo 11 22:14:15 x", [None, None, None, Some("Foo 11 22:14:15 x")]),
            ("<14>", [None, None, None, Some("")]),
        ] {
            assert_eq!(parts(&message(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_time_has_the_door_s_zone_and_the_latest_year_that_fits() {
        let date = |text: &str| OffsetDateTime::from(message(text).time.unwrap());
        let october = date("<34>Oct 11 22:14:15 h a: x");
        assert_eq!((october.year(), october.hour()), (2025, 21));
        assert_eq!(date("<34>Jan  2 20:00:00 h a: x").year(), 2026, "a clock that is ahead");
        assert_eq!(message("<34>Feb 30 20:00:00 h a: x").time, None);
    }
}
