//! Why a run came to nothing.

use millrace_verify::oracle::OracleError;
use millrace_verify::workload::WorkloadError;

use crate::cluster::ClusterError;
use crate::fleet::FleetError;

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The routers.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The fleet.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The workload.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The workload's oracle.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// No router let anybody in.
    #[error("no router answers at {addresses} ({after_s:.1} s): {reason}")]
    Silent {
        /// Where routers were looked for.
        addresses: String,
        /// For how long, seconds.
        after_s: f64,
        /// What came back instead.
        reason: String,
    },
    /// Connections or subscriptions did not come about.
    #[error("set-up failed after {seconds} s: {why} ({state})")]
    Setup {
        /// What ended it.
        why: &'static str,
        /// When.
        seconds: u64,
        /// What was missing.
        state: String,
    },
}
