//! The router's standing as control and the shell have told this core, and how far its end has
//! come.

use millrace_proto::control::Goaway;

/// The router's standing.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether publishers get credit.
    pub(super) is_synced: bool,
    /// Addresses of other routers, for Welcome and Goaway.
    pub(super) alternates: Vec<String>,
    /// The grace in microseconds, once the router drains.
    pub(super) draining: Option<u64>,
    /// Whether the core has finished its lanes: it then finishes each new lane at once.
    pub(super) are_lanes_over: bool,
}

impl Standing {
    /// The frame that tells a client to move to another router.
    pub(super) fn goaway(&self, delay_us: u64, grace_us: u64) -> Goaway {
        let reason = "this router is going away".into();
        Goaway { delay_us, alternates: self.alternates.clone(), reason, grace_us, ..Goaway::default() }
    }
}

/// How far the end in order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    NotBegun,
    /// The core hears no client. Publishers were told what was received, which leaves with this
    /// turn.
    Told,
    /// Clients are closed.
    Over,
}
