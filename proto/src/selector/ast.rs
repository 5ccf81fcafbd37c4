//! What a selector is made of when it was read, and how its parts are spelt.
//! [`Kept`](super::kept::Kept) is what stays of it.

use std::cmp::Ordering;

use super::glob;
use crate::tag;

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Requirement {
    /// The key.
    pub(super) key: String,
    /// What is required of it.
    pub(super) operation: Operation,
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
pub(super) enum Operation {
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
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Whether a value that stands for itself reads back the same when it is not quoted.
pub(super) fn is_bare_literal(value: &str) -> bool {
    !value.is_empty() && !glob::is_glob(value) && value.chars().all(is_bare)
}

/// Appends a value in quotes.
pub(super) fn push_quoted(out: &mut String, value: &str) {
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

/// Whether `c` may stand in a value that is not quoted. The wildcards `*` and `?` may, and make it
/// a glob.
pub(super) fn is_bare(c: char) -> bool {
    const SPECIAL: [char; 15] = ['"', '\\', '\'', ',', '(', ')', '=', '!', '<', '>', '~', '&', '|', ';', '`'];
    c.is_ascii_alphanumeric() || (!SPECIAL.contains(&c) && !c.is_whitespace() && !c.is_control())
}

/// Whether `key` can be a tag's key.
pub(super) fn is_key_character(c: char) -> bool {
    u8::try_from(c).is_ok_and(tag::is_key_byte)
}
