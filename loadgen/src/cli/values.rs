//! Values on the command line: what is read, and what is refused because it would be no load, or
//! one without end.

use std::time::Duration;

use bytesize::ByteSize;
use millrace_measure::figures::whole;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_verify::payload::PAYLOAD_BYTES_MIN;

/// The shortest stretch in which anything is measured.
const STRETCH_MIN: Duration = Duration::from_millis(100);
/// The longest stretch, and the longest time at all: what is longer was meant otherwise.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A number of events per second: digits with commas or underscores between them, and `k` or `M`
/// behind them.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no rate: write 300000, 300k or 1.2M");
    let plain: String = text.chars().filter(|c| !matches!(c, ',' | '_')).collect();
    let (digits, unit) = match plain.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&plain[..at], 1e3),
        Some((at, 'm' | 'M')) => (&plain[..at], 1e6),
        _ => (plain.as_str(), 1.0),
    };
    let number = digits.parse::<f64>().map_err(|_| wrong())? * unit;
    if (1.0..=1e9).contains(&number) { Ok(whole(number.round())) } else { Err(wrong()) }
}

/// Length of a stretch in which something is measured.
pub(super) fn stretch(text: &str) -> Result<Duration, String> {
    match time(text)? {
        short if short < STRETCH_MIN => {
            Err("too short to measure anything: write 100ms or more, such as 10s".to_owned())
        }
        stretch => Ok(stretch),
    }
}

/// A time that is not zero.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("no time is not enough: write 1us or more, such as 20ms".to_owned()),
        time => Ok(time),
    }
}

/// A time; none will do.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}: write 20ms, 10s or 5m"))?;
    if time <= TIME_MAX { Ok(time) } else { Err("too long: write 7d or less".to_owned()) }
}

/// A size that is not zero.
pub(super) fn some_bytes(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(ByteSize(0)) => Err("nothing fits into no bytes: write 64KiB or 1000000".to_owned()),
        Ok(size) => Ok(size),
        Err(_) => Err("no size: write 64KiB or 1000000".to_owned()),
    }
}

/// Bytes of payloads that can be verified.
pub(super) fn payload_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|_| "no number of bytes: write 128".to_owned())?;
    match bytes as usize {
        0..PAYLOAD_BYTES_MIN => Err(format!(
            "too small: number, time and checksum are in the payload, write {PAYLOAD_BYTES_MIN} or more"
        )),
        PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX => Ok(bytes),
        _ => Err(format!("a payload has at most {PAYLOAD_BYTES_MAX} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_people_write_them() {
        for (text, value) in [
            ("300000", 300_000),
            ("300k", 300_000),
            ("1.2M", 1_200_000),
            ("1,000_000", 1_000_000),
            ("2m", 2_000_000),
        ] {
            assert_eq!(rate(text), Ok(value), "{text}");
        }
        for text in ["", "k", "-5", "0", "fast", "3x", "1e99", "nan"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_that_are_no_load_are_refused_with_what_to_write() {
        for text in ["0s", "99ms", "-1s", "8d", "10", "soon"] {
            assert!(stretch(text).unwrap_err().contains("write"), "{text}");
        }
        assert_eq!(stretch("100ms"), Ok(STRETCH_MIN));
        assert_eq!((time("0s"), some_time("1us")), (Ok(Duration::ZERO), Ok(Duration::from_micros(1))));
        assert!(some_time("0ms").is_err());
        assert!(some_bytes("0").is_err() && some_bytes("-1").is_err());
        assert_eq!(some_bytes("64KiB"), Ok(ByteSize::kib(64)));
        assert!(payload_bytes("27").is_err() && payload_bytes("1048577").is_err());
        assert_eq!((payload_bytes("28"), payload_bytes("1048576")), (Ok(28), Ok(1_048_576)));
    }
}
