//! What one thread of the fleet holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use millrace_quic::ConnId;
use millrace_verify::oracle::Expected;

use super::clock::Epochs;
use super::connections::{Connection, Dialling};
use super::order::Orders;
use super::publisher::{Emitters, Publisher};
use super::receiver::Receivers;
use super::shared::Report;
use super::tally::Tally;
use super::watch::{Slow, Watch};

/// The app on top of a thread's QUIC loop.
#[derive(Debug)]
pub(super) struct FleetApp {
    pub(super) clock: Epochs,
    pub(super) tally: Arc<Tally>,
    pub(super) orders: Arc<Orders>,
    pub(super) reports: Sender<Report>,
    pub(super) seen: u64,
    pub(super) first: bool,
    pub(super) finishing: bool,
    pub(super) dialling: Dialling,
    pub(super) connections: Vec<Connection>,
    pub(super) by_id: HashMap<ConnId, usize, ahash::RandomState>,
    pub(super) publishers: Vec<Publisher>,
    /// Where each publisher's connection is, once it is dialled; `usize::MAX` before.
    pub(super) publisher_places: Vec<usize>,
    pub(super) receivers: Vec<Receivers>,
    pub(super) emitters: Emitters,
    pub(super) watch: Watch,
    pub(super) expected: Arc<Expected>,
    pub(super) slow: Slow,
    pub(super) mine: Mine,
    pub(super) dirty: Vec<usize>,
    pub(super) published_at: Instant,
    pub(super) tended_at: Instant,
    /// The connection that was looked at last.
    pub(super) tended: usize,
}

/// Which receivers a thread checks: those on its connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mine {
    pub(super) connections: u32,
    pub(super) threads: u32,
    pub(super) thread: u32,
}

impl Mine {
    pub(super) const fn holds(self, receiver: u32) -> bool {
        receiver % self.connections % self.threads == self.thread
    }
}
