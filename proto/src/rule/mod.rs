//! Tag rules: tags that routers add to events, by what was published.
//!
//! ```toml
//! [[rule]]
//! name = "disks"
//! when = "service, payload ~ /disk (?<disk>[a-z0-9]+) failed/"
//! set = { kind = "disk", disk = "${disk}", owner = "${service}-team" }
//! ```
//!
//! A rule's `when` is a selector, and looks at published tags and the payload alone, never at tags
//! that rules have added: rules cannot set each other off, and their order decides only which of
//! two values for one key counts (that of the first rule). A rule adds tags, and never replaces one
//! that was published.
//!
//! A value of `set` is text in which `${name}` stands for what was captured: a named group of one
//! of the rule's payload patterns, or the whole value of a tag that `when` requires. Selectors give
//! no names to parts of a tag's value, so that a tag is captured as a whole. `$${` stands for `${`.
//!
//! This is the language: it reads rules and applies them. What routers spend on it, and how they
//! bound it, is theirs (`millrace-engine`, `rules`).

mod bounds;
mod capture;
mod compile;
mod rules;
mod template;
#[cfg(test)]
mod tests;
mod text;

pub use bounds::{CAPTURE_BYTES_MAX, OVERFLOW, RULES_MAX, SETS_PER_RULE_MAX};
pub use capture::Memory;
pub use rules::{Added, Candidates, Failure, Rule, Rules};
pub use text::{RuleError, RuleText};
