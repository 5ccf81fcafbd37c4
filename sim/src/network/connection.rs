//! One connection: its ends and their states.

use std::collections::BTreeMap;

use millrace_engine::time::Time;
use millrace_proto::RouterId;

use super::packet::{Endpoint, Packet};
use super::stream::Half;

/// Who a router's process is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub(super) id: RouterId,
    pub(super) life: u32,
    pub(super) cores: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody at this end has heard of the connection.
    Unknown,
    Connecting,
    Open,
    Gone,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) at: Endpoint,
    pub(super) state: State,
    /// Since when nothing can be heard.
    pub(super) silent_since: Option<Time>,
    /// The other end is no more: the silence has no end.
    pub(super) peer_gone: bool,
    /// Nothing arrives here before.
    pub(super) not_before: Time,
    /// On their way here when the path was cut.
    pub(super) held: Vec<Packet>,
    pub(super) uni_max: u64,
    pub(super) uni_opened: u64,
    pub(super) bi_opened: u64,
    pub(super) uni_blocked: bool,
    /// Unidirectional streams that this end allows the other.
    pub(super) uni_allowed: u64,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: bool,
    /// Steers to the core `shard % cores`.
    pub(super) shard: u16,
    pub(super) ends: [End; 2],
    /// By id; halves by the side that writes.
    pub(super) streams: BTreeMap<u64, [Half; 2]>,
}
