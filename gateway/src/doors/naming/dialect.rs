//! How a protocol writes names and patterns: tokens between separators, and wildcards.
//!
//! | | NATS | MQTT |
//! |---|---|---|
//! | separator | `.` | `/` |
//! | any one token | `*` | `+` |
//! | all further tokens, at the end | `>`, one or more | `#`, none or more |
//! | an empty token | no | yes |
//! | white space | no | yes |
//! | names that begin with `$` | as others | only by patterns that begin so, too |

use millrace_proto::limits::TAG_VALUE_BYTES_MAX;

/// A protocol's way to write names and patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Subjects of NATS.
    Nats,
    /// Topic names and topic filters of MQTT (MQTT 5, section 4.7).
    Mqtt,
}

/// A token of a pattern that stands for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wildcard {
    /// Any one token.
    One,
    /// All tokens from here on.
    Rest,
}

impl Dialect {
    /// What stands between tokens.
    #[must_use]
    pub const fn separator(self) -> char {
        match self {
            Self::Nats => '.',
            Self::Mqtt => '/',
        }
    }

    /// The tag of names that fit no template.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Nats => "subject",
            Self::Mqtt => "topic",
        }
    }

    /// What a token of a pattern stands for, if not for itself.
    pub(super) fn wildcard(self, token: &str) -> Option<Wildcard> {
        match (self, token) {
            (Self::Nats, "*") | (Self::Mqtt, "+") => Some(Wildcard::One),
            (Self::Nats, ">") | (Self::Mqtt, "#") => Some(Wildcard::Rest),
            _ => None,
        }
    }

    /// Whether a wildcard for the rest stands for no token, too.
    pub(super) const fn rest_may_be_none(self) -> bool {
        matches!(self, Self::Mqtt)
    }

    /// Whether text is a name: no wildcards, and no longer than a tag's value.
    #[must_use]
    pub fn is_name(self, text: &str) -> bool {
        self.is_pattern(text) && !self.has_wildcards(text)
    }

    /// Whether text is a pattern; a name is one.
    #[must_use]
    pub fn is_pattern(self, text: &str) -> bool {
        let is_character = |c: char| !c.is_control() && (self == Self::Mqtt || !c.is_whitespace());
        let is_text = !text.is_empty() && text.len() <= TAG_VALUE_BYTES_MAX && text.chars().all(is_character);
        let mut tokens = text.split(self.separator()).peekable();
        let mut is_right = is_text;
        while let Some(token) = tokens.next() {
            is_right &= match self.wildcard(token) {
                Some(Wildcard::Rest) => tokens.peek().is_none(),
                Some(Wildcard::One) => true,
                None if self == Self::Mqtt => !token.contains(['+', '#']),
                None => !token.is_empty(),
            };
        }
        is_right
    }

    /// Whether a pattern has wildcards.
    #[must_use]
    pub fn has_wildcards(self, pattern: &str) -> bool {
        pattern.split(self.separator()).any(|token| self.wildcard(token).is_some())
    }

    /// Whether a pattern matches a name.
    #[must_use]
    pub fn matches(self, pattern: &str, name: &str) -> bool {
        if pattern == name {
            return true;
        }
        if self == Self::Mqtt && name.starts_with('$') && pattern.starts_with(['+', '#']) {
            return false;
        }
        let mut tokens = name.split(self.separator());
        for wanted in pattern.split(self.separator()) {
            match (self.wildcard(wanted), tokens.next()) {
                (Some(Wildcard::Rest), token) => return token.is_some() || self.rest_may_be_none(),
                (_, None) => return false,
                (Some(Wildcard::One), Some(_)) => {}
                (None, Some(token)) if wanted == token => {}
                (None, Some(_)) => return false,
            }
        }
        tokens.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect::{Mqtt, Nats};

    #[test]
    fn patterns_match_token_by_token() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a.*.c", "a.b.x.c", false),
            ("a*", "a*", true),
            ("a*", "ab", false),
        ] {
            assert_eq!(Nats.matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    /// The examples of MQTT 5, sections 4.7.1 and 4.7.2.
    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "sport/tennis", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/monitor/Clients", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor/Clients", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("Accounts", "ACCOUNTS", false),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
        ] {
            assert_eq!(Mqtt.matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn names_have_no_wildcards() {
        for right in ["a", "a.b", "_INBOX.x-1", "$JS.API.INFO", "a*b.>c"] {
            assert!(Nats.is_name(right), "{right}");
        }
        for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a\u{7f}"] {
            assert!(!Nats.is_name(wrong), "{wrong}");
        }
        for right in ["*", ">", "a.*.>", "*.b"] {
            assert!(Nats.is_pattern(right) && Nats.has_wildcards(right), "{right}");
        }
        assert!(!Nats.is_pattern(">.a") && !Nats.is_pattern("a.>.b"));
        for right in ["a", "/", "a//b", "a b/c", "$SYS/x", "*"] {
            assert!(Mqtt.is_name(right), "{right}");
        }
        for wrong in ["", "a/+", "#", "a+", "a\u{0}"] {
            assert!(!Mqtt.is_name(wrong), "{wrong}");
        }
        for right in ["+", "#", "+/tennis/#", "/+", "a/#"] {
            assert!(Mqtt.is_pattern(right) && Mqtt.has_wildcards(right), "{right}");
        }
        for wrong in ["sport/tennis#", "sport/tennis/#/ranking", "sport+", "#/a"] {
            assert!(!Mqtt.is_pattern(wrong), "{wrong}");
        }
    }
}
