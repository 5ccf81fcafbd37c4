//! Every bound of rules, with its reason.

/// Rules of one router: a bit of a word for each.
pub const RULES_MAX: usize = 64;
/// Tags that one rule sets. A set of tags has 32, most of which belong to the publisher.
pub const SETS_PER_RULE_MAX: usize = 8;
/// Bytes of one captured text. Longer ones are no values to select by; [`OVERFLOW`] stands for
/// them.
pub const CAPTURE_BYTES_MAX: usize = 256;
/// The value that stands for a captured text that is too long, or one too many.
pub const OVERFLOW: &str = "_overflow";
