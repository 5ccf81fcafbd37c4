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
mod dial;
mod directory;
mod exchange;
mod hello;
mod interest;
mod lanes;
mod link;
mod mesh;
mod metrics;
mod notice;
mod peer;
mod prepare;
mod standing;
mod status;
mod subscribe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millrace_proto::RouterId;
use millrace_proto::control::Goaway;
use millrace_proto::mesh::{LinkFrame, PeerHello};

pub use config::{
    ADDRESS_BYTES_MAX, ControlConfig, INTRODUCED_MAX, MESH_FRAME_BYTES, PEERS_MAX, SNAPSHOT_PAUSE,
    TARGETS_MAX, WAITING_MAX,
};
pub use metrics::ControlMetrics;
pub use notice::{Notice, Refusal, SAY_EVERY, Said, Suspicion};
pub use prepare::{PatternBook, cover, prepare};
pub use standing::Trouble;
pub use status::{PeerState, PeerStatus, Status};

use dial::{Dialling, Retry};
use directory::Directory;
use interest::OwnInterest;
use peer::Peer;
use subscribe::WaitingList;

use crate::matching::Location;
use crate::message::{CoreIndex, DialId, PeerIndex, PrepareOrder, ToControl, ToCore};
use crate::time::Time;
use crate::transport::ConnKey;

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
    peers: BTreeMap<RouterId, Peer>,
    /// Who left in order, until when others are not believed that it is there; at most [`PEERS_MAX`].
    departed: BTreeMap<RouterId, Time>,
    /// Lanes that are up: whose, and which.
    lanes: BTreeMap<(CoreIndex, ConnKey), (RouterId, u16)>,
    dialling: Dialling,
    own: OwnInterest,
    directory: Directory,
    waiting: WaitingList,
    /// Changes are published from here on.
    publish_from: Time,
    /// Something about peers, lanes or dials changed since the last look.
    mesh_changed: bool,
    /// When to look at the mesh again.
    look_at: Option<Time>,
    gossip_changed: bool,
    gossip_from: Time,
    alternates: Vec<String>,
    seeds_known: bool,
    /// Until when publishers wait for credit.
    sync_deadline: Time,
    synced: bool,
    join_timed_out: bool,
    /// Until when this router waits for enough others.
    join_deadline: Time,
    /// It is ready, or was.
    joined: bool,
    /// It was linked with somebody.
    was_linked: bool,
    /// Since when it is linked with nobody although there should be others.
    alone_since: Option<Time>,
    /// When another process was met that has its id or its address.
    twin_seen: Option<Time>,
    /// When one was met that has its id, which is bound to its certificate's name: not a matter of a peer's word.
    twin_met: Option<Time>,
    trouble: Option<Trouble>,
    /// The hello that is being handled is of a peer that has proven its id.
    proves: bool,
    notices: notice::Notices,
    /// When it goes away, once it has said so.
    leaves_at: Option<Time>,
    metrics: ControlMetrics,
    patterns: PatternBook,
    /// Not bounded by itself: whoever drives control gives it nothing while outputs wait, so here is what one round of
    /// inputs and one timeout lead to, at most a snapshot for each peer and an acknowledgement for each of
    /// [`WAITING_MAX`] changes.
    outputs: VecDeque<ControlOutput>,
}

impl Control {
    /// Control of a router that knows nobody. Its first outputs are an empty directory for each core. Call
    /// [`set_seeds`](Self::set_seeds) once the seeds are known, even when there are none: until then, or the join timeout,
    /// it is not synced.
    #[must_use]
    pub fn new(config: ControlConfig, now: Time) -> Self {
        let mut control = Self {
            now,
            peers: BTreeMap::new(),
            departed: BTreeMap::new(),
            lanes: BTreeMap::new(),
            dialling: Dialling::new(),
            own: OwnInterest::new(config.seed, config.interest_told_max, config.interest_told_bytes_max),
            directory: Directory::new(config.seed, config.cores),
            waiting: WaitingList::default(),
            publish_from: now,
            mesh_changed: true,
            look_at: None,
            gossip_changed: false,
            gossip_from: now,
            alternates: Vec::new(),
            seeds_known: false,
            sync_deadline: now + config.sync_timeout,
            synced: false,
            join_timed_out: false,
            join_deadline: now + config.join_timeout,
            joined: false,
            was_linked: false,
            alone_since: None,
            twin_seen: None,
            twin_met: None,
            trouble: None,
            proves: false,
            notices: notice::Notices::default(),
            leaves_at: None,
            metrics: ControlMetrics::default(),
            patterns: PatternBook::default(),
            outputs: VecDeque::new(),
            config,
        };
        control.settle();
        control
    }

    /// Sets the addresses (`host:port`) under which routers may be found, every name having been looked up. An address that
    /// vanished is a hint, not a death: links stay.
    pub fn set_seeds(&mut self, now: Time, seeds: Vec<String>) {
        self.set_found_seeds(now, seeds, 0);
    }

    /// The same while `unresolved` names have no address yet: somebody may be behind each.
    pub fn set_found_seeds(&mut self, now: Time, seeds: Vec<String>, unresolved: u64) {
        self.now = now;
        self.dialling.unresolved = unresolved;
        let seeds: BTreeSet<String> = seeds.into_iter().collect();
        for (address, target) in &mut self.dialling.targets {
            target.seed = seeds.contains(address);
        }
        for address in seeds.into_iter().filter(|address| *address != self.config.advertise) {
            self.dialling.learn(&address, None, now);
            if let Some(target) = self.dialling.targets.get_mut(&address) {
                target.seed = true;
            }
        }
        self.seeds_known |= unresolved == 0;
        self.mesh_changed = true;
        self.settle();
    }

    /// Takes a core's message.
    pub fn handle(&mut self, now: Time, core: CoreIndex, message: ToControl) {
        self.now = now;
        match message {
            ToControl::Interest { add, remove, token } => self.interest_changed(core, &add, &remove, token),
            ToControl::Applied { version, position } => self.directory_applied(core, version, position),
            ToControl::LaneHello { conn, dial, hello } => self.lane_hello(core, conn, dial, &hello, true),
            ToControl::UnprovenHello { conn, dial, hello } => {
                self.lane_hello(core, conn, dial, &hello, false);
            }
            ToControl::LinkFrame { conn, frame } => self.link_frame(core, conn, frame),
            ToControl::LaneSilent { conn } => self.lane_silence(core, conn, true),
            ToControl::LaneHeard { conn } => self.lane_silence(core, conn, false),
            ToControl::LaneClosed { conn, dial, orderly, code } => {
                self.lane_closed(core, conn, dial, orderly, code);
            }
            ToControl::DialFailed { dial } => self.dial_ended(dial),
        }
        self.settle();
    }

    /// Reads selectors for a core, where nobody else does.
    pub fn prepare(&mut self, now: Time, core: CoreIndex, order: &PrepareOrder) {
        self.now = now;
        let result = prepare(&mut self.patterns, &order.selectors);
        self.metrics.prepared += 1;
        self.metrics.prepare_refused += u64::from(result.is_err());
        self.give(core, ToCore::Prepared { token: order.token, result });
        self.settle();
    }

    /// A dial could not be begun: its target does not resolve.
    pub fn dial_failed(&mut self, now: Time, dial: DialId) {
        self.now = now;
        self.dial_ended(dial);
        self.settle();
    }

    /// The target of a dial is an address of this router. It is not dialled again.
    pub fn dial_leads_home(&mut self, now: Time, dial: DialId) {
        self.now = now;
        if let Some(attempt) = self.dialling.take(dial) {
            self.reached_myself(&attempt.target);
            self.mesh_changed = true;
        }
        self.settle();
    }

    fn dial_ended(&mut self, dial: DialId) {
        if let Some(attempt) = self.dialling.take(dial) {
            self.attempt_failed(&attempt, None);
        }
    }

    /// Does what is due. Calling it early is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.mesh_changed |= self.look_at.is_some_and(|at| at <= now);
        self.settle();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.look_at.into_iter().chain(self.publish_at()).min()
    }

    /// Counts that outputs have to wait because a core's mailbox is full. Until they were taken, neither inputs nor time may
    /// be given: what waits would grow.
    pub const fn note_held(&mut self) {
        self.metrics.outputs_held += 1;
    }

    /// The next thing to do; call until `None` after every input.
    pub fn poll_output(&mut self) -> Option<ControlOutput> {
        self.outputs.pop_front()
    }

    /// Tells clients and peers that this router goes away within `grace`. Until then it is a member of the mesh like any
    /// other: what its clients still publish reaches who wants it, also on routers that start meanwhile, which link with it
    /// and are told at once.
    pub fn drain(&mut self, now: Time, grace: Duration) {
        self.now = now;
        if self.leaves_at.is_some() {
            return;
        }
        self.leaves_at = Some(now + grace);
        self.mesh_changed = true;
        let grace_us = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
        self.give_all(&ToCore::Drain { grace_us });
        let routers: Vec<RouterId> = self.peers.keys().copied().collect();
        for router in routers {
            self.say_goodbye(router);
        }
        self.settle();
    }

    /// Tells a peer that this router goes away, if it does.
    fn say_goodbye(&mut self, router: RouterId) {
        let Some(leaves_at) = self.leaves_at else { return };
        let grace_us = u64::try_from(leaves_at.since(self.now).as_micros()).unwrap_or(u64::MAX);
        let goaway = Goaway { grace_us, reason: "draining".to_owned(), ..Goaway::default() };
        self.say(router, LinkFrame::Goaway(goaway));
    }

    /// Does what the last input made possible or due.
    fn settle(&mut self) {
        // Forgetting a peer changes the mesh again: a second look forgets those whom it alone had reached.
        for _ in 0..2 {
            if !std::mem::take(&mut self.mesh_changed) {
                break;
            }
            self.tidy_dials();
            self.look_at_mesh();
            self.exchange_due();
            self.gossip_due();
            self.dial_due();
            self.look_at = self.next_look();
        }
        if self.publish_at().is_some_and(|at| at <= self.now) {
            self.publish();
        }
        self.report_effective();
    }

    fn give(&mut self, core: CoreIndex, message: ToCore) {
        self.outputs.push_back(ControlOutput::ToCore { core, message });
    }

    fn give_all(&mut self, message: &ToCore) {
        for core in 0..self.config.cores {
            self.give(core, message.clone());
        }
    }

    /// A picture of what is known, as of the last input.
    #[must_use]
    pub fn status(&self) -> Status {
        let status =
            |(&router, peer): (&RouterId, &Peer)| peer.status(router, self.dialling.reaches_for(router));
        Status {
            peers: self.peers.iter().map(status).collect(),
            directory_version: self.directory.version(),
            directory_applied: self.directory.applied_everywhere(),
            directory_entries: self.directory.entries(),
            interest_version: self.own.version(),
            interest_entries: self.own.len(),
            waiting: self.waiting.len(),
            outputs: self.outputs.len(),
            synced: self.synced,
            join_timed_out: self.join_timed_out,
            joined: self.joined,
            peers_needed: self.peers_needed(),
            degraded: self.trouble.is_some(),
            trouble: self.trouble,
            twin: self.has_twin(),
            unanswered: self.dialling.unanswered(),
            coarse: self.own.is_coarse(),
            draining: self.leaves_at.is_some(),
        }
    }

    /// Counters.
    #[must_use]
    pub const fn metrics(&self) -> &ControlMetrics {
        &self.metrics
    }

    /// Every entry of the directory, sorted: where, and the selector's text. For checks; costs a sort of them all.
    pub fn directory_dump(&self) -> impl Iterator<Item = (Location, &str)> {
        let own = self.own.entries().map(|(core, selector)| (Location::Core(core), selector.text()));
        let peers = self.peers.values().filter_map(|peer| Some((peer.location()?, peer)));
        let peers = peers.flat_map(|(location, peer)| {
            peer.interest.selectors().map(move |selector| (location, selector.text()))
        });
        let mut entries: Vec<_> = own.chain(peers).collect();
        entries.sort_unstable();
        entries.into_iter()
    }

    /// The router at a peer's place in the directory.
    #[must_use]
    pub fn router_at(&self, index: PeerIndex) -> Option<RouterId> {
        self.peers.iter().find(|(_, peer)| peer.index == Some(index)).map(|(&router, _)| router)
    }
}
