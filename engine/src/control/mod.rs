//! Control: the one writer of a router's directory, and the state machine of its mesh.
//!
//! One per router, on its own thread; cores and control talk by [`message`](crate::message). Sans-IO and deterministic:
//! the same inputs at the same times give the same outputs.
//!
//! ```text
//!  cores ── ToControl ──► handle ─┐                       ┌─► poll_output ──► ToCore, Dial
//!  DNS ───► set_seeds ────────────┼─► Control (this file) ┤
//!  clock ─► handle_timeout ───────┘                       └─► poll_timeout
//! ```

mod config;
mod metrics;
mod status;

use std::collections::VecDeque;
use std::time::Duration;

use millrace_proto::mesh::PeerHello;

pub use config::{
    ADDRESS_BYTES_MAX, ControlConfig, INTEREST_FRAME_BYTES, PEERS_MAX, TARGETS_MAX, WAITING_MAX,
};
pub use metrics::ControlMetrics;
pub use status::{PeerState, PeerStatus, Status};

use crate::matching::Location;
use crate::message::{CoreIndex, DialId, ToControl, ToCore};
use crate::time::Time;

/// What control wants done.
#[derive(Debug)]
pub enum ControlOutput {
    /// Give this to a core, behind everything given to it before.
    ToCore {
        /// The core.
        core: CoreIndex,
        /// The message.
        message: ToCore,
    },
    /// Resolve `target`, begin a connection on the core, and give the core [`ToCore::LaneDialled`] with this hello; or
    /// say [`Control::dial_failed`].
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// `host:port`.
        target: String,
        /// The core that holds the connection.
        core: CoreIndex,
        /// Number of the lane.
        lane: u16,
        /// Goes into the destination connection id, which steers to the peer's core `shard % its cores`.
        shard: u16,
        /// What the core says when connected.
        hello: PeerHello,
    },
}

/// Control of one router.
#[derive(Debug)]
pub struct Control {
    config: ControlConfig,
    now: Time,
    seeds: Vec<String>,
    draining: bool,
    metrics: ControlMetrics,
    outputs: VecDeque<ControlOutput>,
}

impl Control {
    /// Control of a router that knows nobody. Call [`set_seeds`](Self::set_seeds) once the seeds are known, even when
    /// there are none: until then, or the join timeout, it is not synced.
    #[must_use]
    pub fn new(config: ControlConfig, now: Time) -> Self {
        Self {
            config,
            now,
            seeds: Vec::new(),
            draining: false,
            metrics: ControlMetrics::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Sets the addresses (`host:port`) under which routers may be found. An address that vanished is a hint, not a
    /// death: links stay.
    pub fn set_seeds(&mut self, now: Time, seeds: Vec<String>) {
        self.now = now;
        self.seeds = seeds;
    }

    /// Takes a core's message.
    pub fn handle(&mut self, now: Time, core: CoreIndex, message: ToControl) {
        let _ = (core, message);
        self.now = now;
    }

    /// A dial could not be begun: its target does not resolve.
    pub fn dial_failed(&mut self, now: Time, dial: DialId) {
        let _ = dial;
        self.now = now;
    }

    /// Does what is due. Calling it early is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// The next thing to do; call until `None` after every input.
    pub fn poll_output(&mut self) -> Option<ControlOutput> {
        self.outputs.pop_front()
    }

    /// Tells clients and peers that this router goes away within `grace`, and stops dialling.
    pub fn drain(&mut self, now: Time, grace: Duration) {
        let _ = grace;
        self.now = now;
        self.draining = true;
    }

    /// A picture of what is known, as of the last input.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            peers: Vec::new(),
            directory_version: 0,
            directory_applied: 0,
            directory_entries: 0,
            interest_version: 0,
            interest_entries: 0,
            waiting: 0,
            synced: false,
            join_timed_out: false,
            degraded: false,
            draining: self.draining,
        }
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &ControlMetrics {
        &self.metrics
    }

    /// Every entry of the directory, sorted: where, and the selector's text.
    pub fn directory_dump(&self) -> impl Iterator<Item = (Location, &str)> {
        std::iter::empty()
    }
}
