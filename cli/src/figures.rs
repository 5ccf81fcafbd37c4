//! Bytes, counts and durations for people: short, three digits or so.

use std::time::Duration;

/// `1.5 MiB`
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three(value), UNITS[unit])
}

/// `1 event`, `2 events`
pub(crate) fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// `12.3k`
pub(crate) fn count(count: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut value, mut unit) = (count, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    format!("{}{}", three(value), UNITS[unit])
}

/// A whole number, as [`count`] writes it.
pub(crate) fn whole(number: u64) -> String {
    count(number as f64)
}

/// `350 µs`, `2.5 ms`, `12 s`
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=999_499 => format!("{} ms", three(us as f64 / 1e3)),
        _ => format!("{} s", three(us as f64 / 1e6)),
    }
}

/// `3 days`, `4 h`, `12 min`, `30 s`
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        secs @ 0..=119 => format!("{secs} s"),
        secs @ 120..=7_199 => format!("{} min", secs / 60),
        secs @ 7_200..=172_799 => format!("{} h", secs / 3600),
        secs => format!("{} days", secs / 86_400),
    }
}

/// A part of a whole, in percent.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.0} %", part as f64 * 100.0 / whole as f64) }
}

fn three(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!([bytes(0), bytes(1023), bytes(1024)], ["0 B", "1023 B", "1.00 KiB"]);
        assert_eq!([bytes(16 << 20), bytes(1023 << 10)], ["16.0 MiB", "1.00 MiB"]);
        assert_eq!([whole(0), whole(999), whole(1000), whole(999_999)], ["0", "999", "1.00k", "1.00M"]);
        assert_eq!([count(0.5), count(12_345.6)], ["0.50", "12.3k"]);
        assert_eq!([micros(350), micros(2_500), micros(12_000_000)], ["350 µs", "2.50 ms", "12.0 s"]);
        let ages = [30, 120, 7_200, 172_800].map(|secs| age(Duration::from_secs(secs)));
        assert_eq!(ages, ["30 s", "2 min", "2 h", "2 days"]);
        assert_eq!([share(1, 8), share(0, 0)], ["12 %", "–"]);
    }
}
