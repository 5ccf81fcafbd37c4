//! Selectors: which events a receiver wants.
//!
//! A selector is one conjunction: requirements on tags, joined by commas, all of which must hold.
//! The grammar is that of Kubernetes label selectors, with globs, numbers, quoting and payload
//! patterns added:
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
//! Unquoted values are any text without white space and `, ( ) = ! < > ~ & | ; " ' \` and the
//! backtick. An empty value is written `""`, or nothing. White space between the parts means
//! nothing. `payload` is an ordinary key where no `~` follows.
//!
//! The *canonical text* of a selector has its requirements sorted and said once, in one spelling: a
//! list of one value is an equality, `host=*` is `host`, numbers are in shortest form, values are
//! quoted only where they must be. Routers count interest by canonical text.

mod ast;
mod automaton;
mod claim;
mod conjunction;
mod error;
mod glob;
mod kept;
mod literals;
mod membership;
mod number;
mod parse;
mod payload;
mod relation;
#[cfg(test)]
mod tests;

pub use ast::Comparison;
pub(crate) use automaton::NEST_MAX;
pub use automaton::{Automaton, PATTERNS_PER_AUTOMATON_MAX, Scan};
pub use claim::{Claim, NameError};
pub use conjunction::Selector;
pub use error::SelectorError;
pub use kept::{Operation, Requirement, Values};
pub use literals::{LITERAL_BYTES_MIN, Literals};
pub use membership::Membership;
pub use payload::{Pattern, PatternError, PayloadMatcher};
pub use relation::glob_matches;
