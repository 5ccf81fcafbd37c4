//! Selectors: which events a receiver wants.
//!
//! A selector is one conjunction: requirements on tags, joined by commas, all of which must hold. The grammar is that of
//! Kubernetes label selectors, with globs, numbers, quoting and payload patterns added:
//!
//! | written | met when the tag |
//! |---|---|
//! | `cluster=compute1`, `cluster==compute1` | has this value |
//! | `severity!=debug` | is absent or has another value |
//! | `type in (raid,disk)`, `type notin (raid,disk)` | has one of the values; is absent or has none of them |
//! | `host`, `!canary` | exists; is absent |
//! | `host=web-*`, `host!=web-?` | is met by the glob; is absent or isn't (`*` any text, `?` any one character) |
//! | `x>10`, `x>=1e9`, `x<-0.5`, `x<=.1` | is a decimal number and compares so, exactly |
//! | `x=`, `x!=`, `x in (a,)` | has the empty value; is absent or has another; has the value `a` or the empty one |
//! | `path="/a b,c*"` | has this value: quoted text stands for itself, `\"` and `\\` for a quote and a backslash |
//! | `payload ~ /RAID [0-9]+/` | (the payload) contains a match; `\/` is a slash; several patterns: all must match |
//! | `*`, alone | everything |
//!
//! Unquoted values are any text without white space and `, ( ) = ! < > ~ & | ; " ' \` and the backtick. An empty value is
//! written `""`, or nothing. White space between the parts means nothing. `payload` is an ordinary key where no `~` follows.
//!
//! The *canonical text* of a selector has its requirements sorted and said once, in one spelling: a list of one value is
//! an equality, `host=*` is `host`, numbers are in shortest form, values are quoted only where they must be. Routers
//! count interest by canonical text.

mod ast;
mod glob;
mod number;
mod parse;
mod payload;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

pub use ast::{Comparison, Operation, Requirement};
pub use payload::{PatternError, PayloadMatcher};

use crate::limits::SELECTOR_BYTES_MAX;
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
///
/// ```
/// use millrace_proto::{Selector, TagSet};
/// let selector = Selector::parse("type in (raid, disk), severity!=debug, host=web-*")?;
/// assert_eq!(selector.text(), "host=web-*,severity!=debug,type in (disk,raid)");
/// let tags = TagSet::from_texts(["host=web-7", "type=raid"]).unwrap();
/// assert!(selector.matches_tags(tags.borrow()));
/// assert_eq!(Selector::parse("host=web-7 && type=raid").unwrap_err().column, 12);
/// # Ok::<(), millrace_proto::SelectorError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    requirements: Vec<Requirement>,
    patterns: Vec<String>,
}

/// The canonical text says everything: comparing and hashing look at nothing else.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Selector {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] names the column and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parse::Parts { mut requirements, mut patterns } = parse::parse(text)?;
        requirements.sort_unstable();
        requirements.dedup();
        patterns.sort_unstable();
        patterns.dedup();
        let selector = Self::of_parts(requirements, patterns);
        if selector.text.len() > SELECTOR_BYTES_MAX {
            let message = format!("in canonical text, a selector is at most {SELECTOR_BYTES_MAX} bytes long");
            return Err(SelectorError { column: text.chars().count(), message });
        }
        Ok(selector)
    }

    fn of_parts(requirements: Vec<Requirement>, patterns: Vec<String>) -> Self {
        let mut text = String::new();
        ast::write_selector(&mut text, &requirements, &patterns);
        Self { text, requirements, patterns }
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

    /// Whether a tag set meets every requirement on tags. One walk over the tags, without allocation.
    #[must_use]
    pub fn matches_tags(&self, tags: TagSetRef<'_>) -> bool {
        ast::all_match(&self.requirements, tags)
    }

    /// This selector without its payload patterns: what routers tell each other.
    #[must_use]
    pub fn without_payload(&self) -> Self {
        if self.patterns.is_empty() {
            self.clone()
        } else {
            Self::of_parts(self.requirements.clone(), Vec::new())
        }
    }

    /// Compiles its payload patterns; `None` when it has none.
    ///
    /// # Errors
    /// [`PatternError`] when a pattern takes more memory than
    /// [`PATTERN_COMPILED_BYTES_MAX`](crate::limits::PATTERN_COMPILED_BYTES_MAX).
    pub fn compile_payload(&self) -> Result<Option<PayloadMatcher>, PatternError> {
        if self.patterns.is_empty() {
            return Ok(None);
        }
        PayloadMatcher::compile(&self.patterns).map(Some)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
