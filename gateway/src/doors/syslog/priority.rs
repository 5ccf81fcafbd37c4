//! Severities and facilities (RFC 5424, section 6.2.1), by the names that `logger` takes.

/// Severities, most severe first.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// Facilities by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// A message's priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// That of messages that have none: a notice of a user's program (RFC 3164, section 4.3.3).
    pub const DEFAULT: Self = Self(13);

    /// Reads `<PRI>` at the beginning of a message. Returns the rest, too; `None` if there is none.
    #[must_use]
    pub fn take(message: &[u8]) -> Option<(Self, &[u8])> {
        let rest = message.strip_prefix(b"<")?;
        let end = rest.iter().take(4).position(|&byte| byte == b'>')?;
        let digits = std::str::from_utf8(&rest[..end]).ok()?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u8>().ok().filter(|&number| is_number && number <= 191)?;
        Some((Self(number), &rest[end + 1..]))
    }

    /// The severity's name.
    #[must_use]
    pub const fn severity(self) -> &'static str {
        SEVERITIES[(self.0 % 8) as usize]
    }

    /// The facility's name.
    #[must_use]
    pub const fn facility(self) -> &'static str {
        FACILITIES[(self.0 / 8) as usize % FACILITIES.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_facility_and_a_severity() {
        let (priority, rest) = Priority::take(b"<165>1 x").unwrap();
        assert_eq!((priority.facility(), priority.severity(), rest), ("local4", "notice", &b"1 x"[..]));
        let (priority, _) = Priority::take(b"<0>").unwrap();
        assert_eq!((priority.facility(), priority.severity()), ("kern", "emerg"));
        for wrong in [&b""[..], b"<", b"<>x", b"<192>x", b"<1234>", b"<-1>", b"<+1>", b"12>"] {
            assert_eq!(Priority::take(wrong), None, "{wrong:?}");
        }
    }
}
