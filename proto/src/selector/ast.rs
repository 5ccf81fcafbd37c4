//! What a selector is made of, and when it is met.

use crate::tag::TagSetRef;

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
    /// `key in (a,b)`, sorted and unique.
    In(Vec<String>),
    /// `key notin (a,b)`: also met when the key is absent. Sorted and unique.
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

impl Requirement {
    /// Whether a tag set meets it.
    #[must_use]
    pub fn matches(&self, tags: TagSetRef<'_>) -> bool {
        let _ = tags;
        false
    }
}
