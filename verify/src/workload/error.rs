//! Why a workload cannot be generated.

use millrace_proto::SelectorError;

/// Why a workload cannot be generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// A number is out of its range.
    #[error("{what} is {value}: expected {expected}")]
    Range {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What would do.
        expected: &'static str,
    },
    /// A fleet in which some emitters would have no receiver.
    #[error(
        "{selectors} selectors cannot cover {emitters} emitters: add receivers or selectors per receiver"
    )]
    TooFewSelectors {
        /// Selectors of all receivers.
        selectors: u64,
        /// Emitters.
        emitters: u32,
    },
    /// A generated selector does not parse: the generator and the grammar disagree.
    #[error("generated selector {text:?}: {error}")]
    Selector {
        /// The selector.
        text: String,
        /// What the parser says.
        error: SelectorError,
    },
}
