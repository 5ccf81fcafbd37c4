//! Subjects and patterns: tokens between dots; `*` stands for one token, `>` for one or more at the
//! end.

use millrace_proto::limits::TAG_VALUE_BYTES_MAX;

/// Whether text is a subject that a message can have: no empty token, no wildcard, no white space, no
/// longer than a tag's value.
#[must_use]
pub fn is_subject(text: &str) -> bool {
    is_pattern(text) && text.split('.').all(|token| token != "*" && token != ">")
}

/// Whether text is a pattern.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    let is_text =
        text.len() <= TAG_VALUE_BYTES_MAX && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let mut tokens = text.split('.').peekable();
    let mut is_right = is_text;
    while let Some(token) = tokens.next() {
        is_right &= !token.is_empty() && (token != ">" || tokens.peek().is_none());
    }
    is_right
}

/// Whether a pattern has wildcards.
#[must_use]
pub fn has_wildcards(pattern: &str) -> bool {
    pattern.split('.').any(|token| token == "*" || token == ">")
}

/// Whether a pattern matches a subject.
#[must_use]
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn subjects_have_no_wildcards_and_no_empty_tokens() {
        for right in ["a", "a.b", "_INBOX.x-1", "$JS.API.INFO", "a*b.>c"] {
            assert!(is_subject(right), "{right}");
        }
        for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a\u{7f}"] {
            assert!(!is_subject(wrong), "{wrong}");
        }
        for right in ["*", ">", "a.*.>", "*.b"] {
            assert!(is_pattern(right) && has_wildcards(right), "{right}");
        }
        assert!(!is_pattern(">.a") && !is_pattern("a.>.b"));
    }
}
