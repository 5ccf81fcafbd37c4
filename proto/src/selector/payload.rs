//! Payload patterns, compiled: the second stage of matching, behind the tags.
//!
//! Patterns are regular expressions on bytes that run in time linear in the payload. Classes like `\w` mean ASCII unless
//! the pattern asks for Unicode with `(?u)`. A compiled pattern takes at most
//! [`PATTERN_COMPILED_BYTES_MAX`], and as much again for its matching cache. Compiling may take milliseconds: it is
//! not for a core's loop.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use crate::limits::PATTERN_COMPILED_BYTES_MAX;

/// How deep groups may nest in a pattern: bounds the recursion of reading it.
pub(super) const NEST_MAX: u32 = 64;

/// Why payload patterns could not be compiled. Nothing was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern needs more memory than one may take; a shorter one, or smaller repetition counts, may fit.
    #[error("payload pattern /{pattern}/ takes more than {PATTERN_COMPILED_BYTES_MAX} bytes when compiled")]
    TooLarge {
        /// The pattern.
        pattern: String,
    },
    /// The pattern is not a regular expression.
    #[error("payload pattern /{pattern}/ is not a regular expression: {message}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
}

/// The compiled payload patterns of one selector, all of which must match. Cloning it counts a reference.
#[derive(Debug, Clone)]
pub struct PayloadMatcher {
    patterns: Arc<[Regex]>,
}

impl PayloadMatcher {
    pub(super) fn compile(patterns: &[String]) -> Result<Self, PatternError> {
        Ok(Self { patterns: patterns.iter().map(|pattern| compile(pattern)).collect::<Result<_, _>>()? })
    }

    /// Whether every pattern is found somewhere in `payload`.
    #[must_use]
    pub fn matches(&self, payload: &[u8]) -> bool {
        self.patterns.iter().all(|pattern| pattern.is_match(payload))
    }
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .nest_limit(NEST_MAX)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge { pattern: pattern.to_owned() },
            other => PatternError::Syntax { pattern: pattern.to_owned(), message: other.to_string() },
        })
}

/// Where in `pattern` (byte offset), and why, it is not a regular expression. Cheap: nothing is compiled.
pub(super) fn check(pattern: &str) -> Result<(), (usize, String)> {
    let parsed = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(NEST_MAX)
        .build()
        .parse(pattern);
    match parsed {
        Ok(_) => Ok(()),
        Err(regex_syntax::Error::Parse(error)) => Err((error.span().start.offset, error.kind().to_string())),
        Err(regex_syntax::Error::Translate(error)) => {
            Err((error.span().start.offset, error.kind().to_string()))
        }
        Err(other) => Err((0, other.to_string())),
    }
}
