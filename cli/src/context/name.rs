//! Names of contexts: what file names can be on every system.

use std::fmt;
use std::str::FromStr;

/// Bytes of a name, at most.
const BYTES_MAX: usize = 64;
/// What says "no context".
const NONE: &str = "none";

/// The name of a context: letters, digits, and `.`, `_`, `-`, `+`, `@` behind the first one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        match text.chars().next() {
            None => Err("a context has a name".to_owned()),
            _ if text == NONE => Err(format!("`{NONE}` means no context: choose another name")),
            Some(first) if first.is_ascii_alphanumeric() && text.chars().all(is_plain) => {
                if text.len() <= BYTES_MAX {
                    return Ok(Self(text.to_owned()));
                }
                Err(format!("a context's name has at most {BYTES_MAX} characters, not {}", text.len()))
            }
            Some(_) => Err("a context's name has letters, digits, and . _ - + @ behind the first".to_owned()),
        }
    }
}

/// What `--context` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// No context, whichever is the current one.
    Nothing,
    /// This one.
    Name(Name),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == NONE { Ok(Self::Nothing) } else { text.parse().map(Self::Name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_and_none_is_no_context() {
        for name in ["prod", "prod-eu.1", "ann@prod", "7"] {
            assert_eq!(name.parse::<Name>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        let long = "x".repeat(BYTES_MAX + 1);
        for name in ["", "none", ".hidden", "-x", "a/b", "..", "a b", "größe", "a\n", &long] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
        assert_eq!(("".parse(), "none".parse()), (Ok(Choice::Nothing), Ok(Choice::Nothing)));
        assert!("../x".parse::<Choice>().is_err());
    }
}
