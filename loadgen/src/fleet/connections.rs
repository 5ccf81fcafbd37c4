//! A thread's connections: those that are there, and those that are yet to be made.

use std::collections::VecDeque;
use std::time::Instant;

use millrace_attach::ClientConnection;
use millrace_quic::SocketId;

use super::plan::FleetPlan;

/// Connections under way per thread, from the dial to the router's welcome: enough to keep a router
/// busy, few enough not to be turned away. A router that is slow is dialled slowly.
const DIALS_MAX: usize = 32;

/// What a connection is for, as an index into the thread's publishers or receivers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Publisher(usize),
    Receiver(usize),
}

/// A connection to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// What it is for.
    pub(super) role: Role,
    /// Its number among all connections of its kind, of all threads.
    pub(super) connection: u32,
    /// Times that it was lost at set-up.
    pub(super) redials: u8,
    /// Its place among the thread's connections, once it has one.
    pub(super) place: Option<usize>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: ClientConnection,
    pub(super) role: Role,
    /// What it was dialled for.
    pub(super) wish: Wish,
    pub(super) is_welcomed: bool,
    /// Subscriptions effective in the cluster.
    pub(super) effective: u64,
    /// Whether it may have something to write.
    pub(super) dirty: bool,
}

impl Connection {
    pub(super) fn new(client: ClientConnection, wish: Wish) -> Self {
        Self { client, role: wish.role, wish, is_welcomed: false, effective: 0, dirty: false }
    }
}

/// Connections that are yet to be made, and those under way.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) plan: FleetPlan,
    pub(super) wishes: VecDeque<Wish>,
    /// Connections that the thread will have in all.
    pub(super) total: usize,
    /// Dialled, and not yet welcomed: what has been established sets the pace.
    pub(super) pending: usize,
    pub(super) open: usize,
    pub(super) sockets: Vec<SocketId>,
    /// Handshakes begun per second, at most.
    pub(super) per_second: f64,
    pub(super) begun: u64,
    pub(super) since: Instant,
}

impl Dialling {
    /// Whether one more handshake may begin.
    pub(super) fn may(&self, now: Instant) -> bool {
        let allowed = now.saturating_duration_since(self.since).as_secs_f64() * self.per_second;
        self.pending < DIALS_MAX && (self.begun as f64) < allowed + DIALS_MAX as f64
    }
}
