//! Payload patterns, compiled: the second stage of matching, behind the tags.
//!
//! Patterns are regular expressions on bytes. Classes like `\w` mean ASCII unless the pattern asks
//! for Unicode with `(?u)`. Each becomes an [`Automaton`] of at most [`PATTERN_COMPILED_BYTES_MAX`]
//! bytes, which takes one step per byte of a payload; a pattern that has none so small is refused,
//! because it would cost others their time. Compiling may take a tenth of a second: it is not for a
//! core's loop.

use std::sync::Arc;

use regex_syntax::hir::Hir;

use super::automaton::{Automaton, NEST_MAX, PATTERN_BYTES_MAX};
use crate::limits::PATTERN_COMPILED_BYTES_MAX;

/// Why payload patterns could not be compiled. Nothing was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// No automaton of the pattern is small enough.
    #[error(
        "payload pattern /{pattern}/ is too costly: its automaton would take more than {PATTERN_COMPILED_BYTES_MAX} bytes \
         ({message}); smaller repetition counts, classes without (?u), or \\b without (?u) make it smaller"
    )]
    TooLarge {
        /// The pattern.
        pattern: String,
        /// What stood in the way.
        message: String,
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

/// One payload pattern, compiled. Whoever compiles shares equal ones: two handles to one pattern
/// are one pattern.
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    automaton: Arc<Automaton>,
}

impl Pattern {
    /// Compiles a pattern. It may take a tenth of a second.
    ///
    /// # Errors
    /// [`PatternError`] when it is no regular expression, or too costly.
    pub fn compile(pattern: &str) -> Result<Self, PatternError> {
        if let Err((_, message)) = check(pattern) {
            return Err(PatternError::Syntax { pattern: pattern.to_owned(), message });
        }
        let automaton = Automaton::new(&[pattern], PATTERN_BYTES_MAX)
            .map_err(|message| PatternError::TooLarge { pattern: pattern.to_owned(), message })?;
        Ok(Self { text: pattern.into(), automaton: Arc::new(automaton) })
    }

    /// The pattern as it was written, without its slashes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What finds this pattern alone.
    #[must_use]
    pub const fn automaton(&self) -> &Arc<Automaton> {
        &self.automaton
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.automaton.bytes()
    }
}

/// The compiled payload patterns of one selector, all of which must match. Cloning it counts a
/// reference.
#[derive(Debug, Clone)]
pub struct PayloadMatcher {
    patterns: Arc<[Arc<Pattern>]>,
}

impl PayloadMatcher {
    /// Requires all of these patterns.
    #[must_use]
    pub fn new(patterns: Vec<Arc<Pattern>>) -> Self {
        Self { patterns: patterns.into() }
    }

    pub(super) fn compile(patterns: &[Box<str>]) -> Result<Self, PatternError> {
        let compiled = patterns.iter().map(|pattern| Pattern::compile(pattern).map(Arc::new));
        Ok(Self { patterns: compiled.collect::<Result<_, _>>()? })
    }

    /// The patterns.
    #[must_use]
    pub fn patterns(&self) -> &[Arc<Pattern>] {
        &self.patterns
    }

    /// Whether every pattern is found somewhere in `payload`. Costs a step per byte and pattern: a
    /// router bounds these.
    #[must_use]
    pub fn matches(&self, payload: &[u8]) -> bool {
        self.patterns.iter().all(|pattern| pattern.automaton.is_match(payload))
    }
}

/// Where in `pattern` (byte offset), and why, it is not a regular expression. Cheap: nothing is
/// compiled.
pub(super) fn check(pattern: &str) -> Result<(), (usize, String)> {
    parse(pattern).map(drop)
}

/// A pattern as its syntax says it, or where and why it has none.
pub(super) fn parse(pattern: &str) -> Result<Hir, (usize, String)> {
    let parsed = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(NEST_MAX)
        .build()
        .parse(pattern);
    match parsed {
        Ok(hir) => Ok(hir),
        Err(regex_syntax::Error::Parse(error)) => Err((error.span().start.offset, error.kind().to_string())),
        Err(regex_syntax::Error::Translate(error)) => {
            Err((error.span().start.offset, error.kind().to_string()))
        }
        Err(other) => Err((0, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn oracle(pattern: &str) -> regex::bytes::Regex {
        regex::bytes::RegexBuilder::new(pattern).unicode(false).build().unwrap()
    }

    #[test]
    fn what_would_cost_others_time_is_refused_and_says_why() {
        let error = Pattern::compile("a[ab]{900}[ab]*Q").unwrap_err();
        assert!(matches!(&error, PatternError::TooLarge { .. }));
        assert!(error.to_string().contains("too costly"), "{error}");
        let error = Pattern::compile(r"(?u)\bé\b").unwrap_err().to_string();
        assert!(error.contains("Unicode"), "{error}");
    }

    #[test]
    fn usual_patterns_are_small() {
        for pattern in [
            "RAID STATUS CHANGE",
            r"(?i)\bdisk\b.*(failed|error [0-9]{3,5})",
            r"^[^ ]+ sshd\[\d+\]: (Failed|Accepted) \w+ for \S+ from [0-9.]{7,15}",
            r"[a-z]{1,600}[0-9]{1,300}!",
            r"(?u)^\w+$",
        ] {
            let bytes = Pattern::compile(pattern).unwrap().bytes();
            assert!(bytes <= PATTERN_COMPILED_BYTES_MAX + 1024, "{pattern}: {bytes}");
        }
    }

    const PATTERNS: &[&str] = &[
        "a", "ab", "bab", "a+b", "^a", "b$", "a.*b", "(?s)a.*", "[^a]b?", "(a|bb)c", r"\bab\b", r"\B",
        "a{2,4}c", "(?m)^b", "(?m)c$", "", "a*?b",
    ];

    proptest! {
        #[test]
        fn patterns_together_and_in_pieces_find_what_each_alone_does(
            patterns in prop::collection::vec(prop::sample::select(PATTERNS), 1..6),
            payload in "[abc \n]{0,24}",
            piece in 1..8_usize,
        ) {
            let texts: Vec<&str> = patterns;
            let automaton = Automaton::new(&texts, PATTERN_BYTES_MAX).unwrap();
            let mut found = vec![false; texts.len()];
            let mut scan = automaton.begin();
            let mut calls = 0;
            loop {
                let mut work = piece;
                let over = automaton.advance(&mut scan, payload.as_bytes(), &mut work, |index| {
                    found[index] = true;
                    false
                });
                calls += 1;
                if over {
                    break;
                }
                prop_assert!(calls <= payload.len() * (texts.len() + 1) + 1);
            }
            for (pattern, found) in texts.iter().zip(found) {
                let expected = oracle(pattern).is_match(payload.as_bytes());
                prop_assert_eq!(found, expected, "{}", pattern);
                prop_assert_eq!(Pattern::compile(pattern).unwrap().automaton().is_match(payload.as_bytes()), expected);
            }
        }
    }
}
