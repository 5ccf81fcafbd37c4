//! What a selector is made of, when it is met, and how it is written.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::{glob, number};
use crate::tag::{self, TagSetRef};

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The key.
    pub key: String,
    /// What is required of it.
    pub operation: Operation,
}

/// How a number is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What is required of a key's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `key=value`
    Equals(String),
    /// `key!=value`: also met when the key is absent, as in Kubernetes.
    NotEquals(String),
    /// `key in (a,b)`, sorted, unique, at least two.
    In(Vec<String>),
    /// `key notin (a,b)`: also met when the key is absent. Sorted, unique, at least two.
    NotIn(Vec<String>),
    /// `key`
    Exists,
    /// `!key`
    Absent,
    /// `key=web-*`: `*` is any text, `?` any one character.
    Glob(String),
    /// `key!=web-*`: also met when the key is absent.
    NotGlob(String),
    /// `key>10`: met when the value is a decimal number and compares so.
    Compare(Comparison, String),
}

impl Comparison {
    /// How it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it holds for a value that compares so with the bound.
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Operation {
    /// Whether a key with this value (its bytes as they stand in the tag set), or an absent key, meets it.
    #[must_use]
    pub fn matches(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Absent | Self::NotEquals(_) | Self::NotIn(_) | Self::NotGlob(_));
        };
        match self {
            Self::Equals(wanted) => wanted.as_bytes() == value,
            Self::NotEquals(unwanted) => unwanted.as_bytes() != value,
            Self::In(wanted) => contains(wanted, value),
            Self::NotIn(unwanted) => !contains(unwanted, value),
            Self::Exists => true,
            Self::Absent => false,
            Self::Glob(pattern) => glob::matches(pattern.as_bytes(), value),
            Self::NotGlob(pattern) => !glob::matches(pattern.as_bytes(), value),
            Self::Compare(comparison, bound) => {
                match (number::parse(value), number::parse(bound.as_bytes())) {
                    (Some(value), Some(bound)) => comparison.holds(value.cmp(&bound)),
                    _ => false,
                }
            }
        }
    }
}

/// Whether a sorted list has `value`.
fn contains(sorted: &[String], value: &[u8]) -> bool {
    sorted.binary_search_by(|candidate| candidate.as_bytes().cmp(value)).is_ok()
}

impl Requirement {
    /// Whether a tag set meets it.
    #[must_use]
    pub fn matches(&self, tags: TagSetRef<'_>) -> bool {
        self.operation.matches(tags.get(&self.key).map(str::as_bytes))
    }

    /// Appends it in canonical text.
    pub(super) fn write(&self, out: &mut String) {
        let key = &self.key;
        match &self.operation {
            Operation::Exists => out.push_str(key),
            Operation::Absent => {
                out.push('!');
                out.push_str(key);
            }
            Operation::Equals(value) => write_value(out, key, "=", value),
            Operation::NotEquals(value) => write_value(out, key, "!=", value),
            Operation::In(values) => write_list(out, key, "in", values),
            Operation::NotIn(values) => write_list(out, key, "notin", values),
            Operation::Glob(text) => push_all(out, [key, "=", text]),
            Operation::NotGlob(text) => push_all(out, [key, "!=", text]),
            Operation::Compare(comparison, bound) => push_all(out, [key, comparison.symbol(), bound]),
        }
    }
}

fn push_all(out: &mut String, parts: [&str; 3]) {
    for part in parts {
        out.push_str(part);
    }
}

fn write_value(out: &mut String, key: &str, operator: &str, value: &str) {
    push_all(out, [key, operator, ""]);
    push_literal(out, value);
}

fn write_list(out: &mut String, key: &str, operator: &str, values: &[String]) {
    push_all(out, [key, " ", operator]);
    out.push_str(" (");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_literal(out, value);
    }
    out.push(')');
}

/// Appends a value that stands for itself: bare where that reads back the same, quoted otherwise.
fn push_literal(out: &mut String, value: &str) {
    if !value.is_empty() && !glob::is_glob(value) && value.chars().all(is_bare) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Appends a payload pattern.
pub(super) fn write_pattern(out: &mut String, pattern: &str) {
    out.push_str("payload ~ /");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '/' => out.push_str("\\/"),
            '\\' => {
                out.push('\\');
                out.extend(chars.next());
            }
            _ => out.push(c),
        }
    }
    out.push('/');
}

/// Appends what a selector of these parts is in canonical text.
pub(super) fn write_selector(out: &mut String, requirements: &[Requirement], patterns: &[String]) {
    if requirements.is_empty() && patterns.is_empty() {
        let _ = out.write_char('*');
        return;
    }
    for requirement in requirements {
        if !out.is_empty() {
            out.push(',');
        }
        requirement.write(out);
    }
    for pattern in patterns {
        if !out.is_empty() {
            out.push(',');
        }
        write_pattern(out, pattern);
    }
}

/// Whether `c` may stand in a value that is not quoted. The wildcards `*` and `?` may, and make it a glob.
pub(super) fn is_bare(c: char) -> bool {
    const SPECIAL: [char; 15] = ['"', '\\', '\'', ',', '(', ')', '=', '!', '<', '>', '~', '&', '|', ';', '`'];
    c.is_ascii_alphanumeric() || (!SPECIAL.contains(&c) && !c.is_whitespace() && !c.is_control())
}

/// Whether every requirement is met; both sides are sorted by key, so one walk over the tags is enough.
pub(super) fn all_match(requirements: &[Requirement], tags: TagSetRef<'_>) -> bool {
    let mut tags = tags.iter_bytes();
    let mut current = tags.next();
    requirements.iter().all(|requirement| {
        let key = requirement.key.as_bytes();
        while let Some((candidate, _)) = current
            && candidate < key
        {
            current = tags.next();
        }
        let value = current.and_then(|(candidate, value)| (candidate == key).then_some(value));
        requirement.operation.matches(value)
    })
}

/// Whether `key` can be a tag's key.
pub(super) fn is_key_character(c: char) -> bool {
    u8::try_from(c).is_ok_and(tag::is_key_byte)
}
