//! What came of disturbances, and what the cluster has to bear of them.

use serde::Serialize;

/// Churn that is effective within a second: this part, at least.
const CHURN_EFFECTIVE_MIN: f64 = 0.95;

/// A storm is over within this time.
const STORM_SETTLED_MAX_S: f64 = 10.0;

/// What came of a disturbance itself.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub enum Outcome {
    /// Of the receiver that stalled.
    SlowReceiver { expected: u64, delivered: u64, missing: u64, said_by_its_gaps: u64 },
    /// Of the selectors.
    Churn {
        selectors: u64,
        selectors_per_s: f64,
        effective_within_1s_share: f64,
        effective_p50_ms: f64,
        effective_p99_ms: f64,
        refused: u64,
    },
    /// Of the clients that reconnected.
    Storm { clients: u64, settled_s: Option<f64>, dials: u64, tickets_used: u64 },
    /// Nobody said what came of it in time.
    Unknown,
}

impl Outcome {
    /// Whether the cluster bore it: churn effective in time, a storm over in time.
    #[must_use]
    pub fn is_borne(&self) -> bool {
        match self {
            Self::SlowReceiver { missing, said_by_its_gaps, .. } => missing <= said_by_its_gaps,
            Self::Churn { effective_within_1s_share, .. } => {
                *effective_within_1s_share >= CHURN_EFFECTIVE_MIN
            }
            Self::Storm { settled_s, .. } => settled_s.is_some_and(|seconds| seconds <= STORM_SETTLED_MAX_S),
            Self::Unknown => false,
        }
    }
}
