//! Rules as they are written, and what may be wrong with them.

use std::collections::BTreeMap;

/// A rule as a configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleText {
    /// What metrics and messages call it.
    pub name: String,
    /// A selector: which events it is for.
    pub when: String,
    /// The tags that it adds: values by key, with `${capture}` in them.
    pub set: BTreeMap<String, String>,
}

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule \"{rule}\": {problem}")]
pub struct RuleError {
    /// Its name.
    pub rule: String,
    /// Its place among the rules, from 0.
    pub index: usize,
    /// The key of the rule that is wrong: `name`, `when` or `set`.
    pub key: &'static str,
    /// What is wrong, and the cure.
    pub problem: String,
}
