//! What is wrong with a text that is not a selector.

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct SelectorError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong there and what was expected.
    pub message: String,
}
