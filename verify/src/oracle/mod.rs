//! Who must get what: the expected takers of every emitter's events, found by a naive [`Matcher`].

mod expected;
mod matcher;

pub use expected::{Expected, OracleError};
pub use matcher::{Match, Matcher, PatternError, words_taken};
