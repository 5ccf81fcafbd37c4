//! What must hold for a preset to pass.

use serde::Serialize;

/// One thing that must hold, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about, in a word or two.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, in a sentence.
    pub found: String,
}

impl Check {
    /// What was found about `name`.
    #[must_use]
    pub fn new(name: &'static str, holds: bool, found: impl Into<String>) -> Self {
        Self { name, holds, found: found.into() }
    }
}
