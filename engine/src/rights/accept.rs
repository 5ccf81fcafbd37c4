//! Who may forward events from another cluster into this one.

use std::sync::Arc;

use millrace_proto::ClusterId;

use super::grant::Grant;

/// Lets identities forward whose name the pattern of the grant matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// The cluster that they forward from; none: any.
    pub cluster: Option<ClusterId>,
    /// What they may publish, and how much of it. They receive nothing.
    pub grant: Arc<Grant>,
}
