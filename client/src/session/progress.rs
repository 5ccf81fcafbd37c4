//! How far a subscription has come on a connection.

use millrace_proto::{PublisherId, RouterId};

/// How far a subscription has come on the present connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Progress {
    /// The client has asked for it; no router has acknowledged it.
    #[default]
    Asked,
    /// It gets the events that enter through this router.
    Router,
    /// It gets the events that enter anywhere, but for these routers.
    Cluster {
        /// Routers that did not acknowledge it.
        left_out: Vec<RouterId>,
        /// Addresses of the mesh at which no router has answered; a router there may be left out,
        /// too.
        unanswered: u64,
        /// Publishers that may not know yet that their events are wanted again: they may leave some
        /// out until they do.
        left_out_publishers: Vec<PublisherId>,
    },
}

impl Progress {
    /// What is missing, ordered: the stage first, then how many are left out.
    pub(super) const fn behind(&self) -> (u8, usize, u64) {
        match self {
            Self::Asked => (2, 0, 0),
            Self::Router => (1, 0, 0),
            Self::Cluster { left_out, unanswered, .. } => (0, left_out.len(), *unanswered),
        }
    }
}
