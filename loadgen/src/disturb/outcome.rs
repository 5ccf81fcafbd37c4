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
    /// Of handshakes that nobody finishes: `answered` by the router's certificate, `unanswered`
    /// where it said nothing, `left_out` where too many were under way.
    JunkHandshakes { begun: u64, per_s: f64, left_out: u64, answered: u64, refused: u64, unanswered: u64 },
    /// Of first packets from where nobody hears an answer.
    JunkSpoofed { sent: u64, per_s: f64, unsent: u64 },
    /// Of reloads, one for each router and time.
    Reload { reloads: u64, failed: u64, longest_ms: f64 },
    /// Nobody said what came of it in time.
    Unknown,
}

impl Outcome {
    /// Whether the cluster bore it: churn effective in time, a storm over in time, each reload
    /// applied; and whether there was as much of it as was asked for.
    #[must_use]
    pub fn is_borne(&self) -> bool {
        match self {
            Self::SlowReceiver { missing, said_by_its_gaps, .. } => missing <= said_by_its_gaps,
            Self::Churn { effective_within_1s_share, .. } => {
                *effective_within_1s_share >= CHURN_EFFECTIVE_MIN
            }
            Self::Storm { settled_s, .. } => settled_s.is_some_and(|seconds| seconds <= STORM_SETTLED_MAX_S),
            Self::JunkHandshakes { begun, left_out, .. } => nearly_all(*begun, *left_out),
            Self::JunkSpoofed { sent, unsent, .. } => nearly_all(*sent, *unsent),
            Self::Reload { reloads, failed, .. } => *reloads > 0 && *failed == 0,
            Self::Unknown => false,
        }
    }
}

/// Whether a disturbance was as large as it was meant to be: of a hundred, one may be left out.
fn nearly_all(done: u64, left_out: u64) -> bool {
    done > 0 && left_out <= done / 100
}
