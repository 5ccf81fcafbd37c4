//! Where the router stands, as control and the shell have told this core.

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
