//! Where the router stands, as control and the shell have told this core, and how far its end has
//! come.

use millrace_proto::control::Goaway;

/// Where the router stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Publishers may be granted credit.
    pub(super) is_synced: bool,
    /// Addresses of other routers, for Welcome and Goaway.
    pub(super) alternates: Vec<String>,
    /// The grace in microseconds, once the router is going away.
    pub(super) draining: Option<u64>,
    /// Nothing more is routed: lanes are finished as soon as they are there.
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
    /// Clients are not listened to. They were told what was received, which leaves with this turn.
    Told,
    /// Clients are closed.
    Over,
}
