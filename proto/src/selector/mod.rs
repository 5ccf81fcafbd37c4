//! Selectors: which events a receiver wants. (Grammar and meaning: see below.)

mod ast;

pub use ast::{Comparison, Operation, Requirement};

use crate::tag::TagSetRef;

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct SelectorError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong there and what was expected.
    pub message: String,
}

/// One conjunction of requirements on tags, optionally on the payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    text: String,
    requirements: Vec<Requirement>,
    patterns: Vec<String>,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] names the column and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let _ = text;
        Err(SelectorError { column: 1, message: "not yet".into() })
    }

    /// The canonical text: two selectors with the same text are the same, and the text reads back to the selector.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its requirements on tags, sorted.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Its payload patterns (all must match), as regular expressions.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// The tags that it requires to be equal: `(key, value)`.
    pub fn equalities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements.iter().filter_map(|requirement| match &requirement.operation {
            Operation::Equals(value) => Some((requirement.key.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Whether a tag set meets every requirement on tags.
    #[must_use]
    pub fn matches_tags(&self, tags: TagSetRef<'_>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(tags))
    }

    /// This selector without its payload patterns: what routers tell each other.
    #[must_use]
    pub fn without_payload(&self) -> Self {
        self.clone()
    }
}
