//! The state machine of control: its inputs, its outputs, and the time at which it is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::RouterId;
use millrace_proto::control::Goaway;
use millrace_proto::mesh::LinkFrame;

use super::balance::Balance;
use super::cluster_links::{DemandNews, Links};
use super::config::ControlConfig;
use super::directory::Directory;
use super::ended::EndedLives;
use super::interest::OwnInterest;
use super::metrics::ControlMetrics;
use super::notice::Notices;
use super::output::ControlOutput;
use super::peer::Peer;
use super::prepare::{PatternBook, prepare};
use super::status::Status;
use super::subscribe::WaitingList;
use super::targets::Dialling;
use super::trouble::Trouble;
use crate::history::FarOwners;
use crate::matching::Location;
use crate::message::{Alternate, CoreIndex, DialId, PeerIndex, PrepareOrder, ToControl, ToCore};
use crate::standby::SetBook;
use crate::time::Time;
use crate::transport::ConnKey;

/// Control of one router.
#[derive(Debug)]
pub struct Control {
    pub(super) config: ControlConfig,
    pub(super) now: Time,
    pub(super) peers: BTreeMap<RouterId, Peer>,
    /// Routers that left in order, each with the time until which control ignores others' word that
    /// it is there; at most [`PEERS_MAX`](super::PEERS_MAX).
    pub(super) departed: BTreeMap<RouterId, Time>,
    /// Lanes that are up, with their router and number.
    pub(super) lanes: BTreeMap<(CoreIndex, ConnKey), (RouterId, u16)>,
    pub(super) dialling: Dialling,
    pub(super) own: OwnInterest,
    pub(super) directory: Directory,
    /// Links to other clusters.
    pub(super) links: Links,
    pub(super) demand: DemandNews,
    pub(super) waiting: WaitingList,
    /// The earliest time at which changes are published.
    pub(super) publish_from: Time,
    /// Whether peers, lanes or dials have changed since control last looked at the mesh.
    pub(super) mesh_changed: bool,
    /// The time at which control looks at the mesh again.
    pub(super) look_at: Option<Time>,
    pub(super) gossip_changed: bool,
    pub(super) gossip_from: Time,
    pub(super) alternates: Vec<Alternate>,
    /// Clients here, and those that were asked to move.
    pub(super) balance: Balance,
    /// Whose history can be asked for, as the cores were told.
    pub(super) owners: Arc<FarOwners>,
    /// Lives of routers that have ended with their history.
    pub(super) ended: EndedLives,
    pub(super) seeds_known: bool,
    /// The end of the publishers' wait for credit.
    pub(super) sync_deadline: Time,
    pub(super) synced: bool,
    /// Whether the cores were told that the directory has all interest of the cluster.
    pub(super) knows_all_interest: bool,
    pub(super) join_timed_out: bool,
    /// The end of this router's wait for enough others.
    pub(super) join_deadline: Time,
    /// Whether it is ready, or was.
    pub(super) joined: bool,
    /// Whether it was linked with another router.
    pub(super) was_linked: bool,
    /// Since when it is linked with nobody although others should be there.
    pub(super) alone_since: Option<Time>,
    /// When it last met another process with its id or its address.
    pub(super) twin_seen: Option<Time>,
    /// When it last met one with its id, where ids are bound to the names of certificates, so that
    /// no peer's word is needed.
    pub(super) twin_met: Option<Time>,
    pub(super) trouble: Option<Trouble>,
    /// Whether the peer whose hello is being handled has proven its id.
    pub(super) proves: bool,
    pub(super) notices: Notices,
    /// Sets of standby publishers.
    pub(super) sets: SetBook,
    /// When it leaves, once it has told that it drains.
    pub(super) leaves_at: Option<Time>,
    pub(super) metrics: ControlMetrics,
    pub(super) patterns: PatternBook,
    /// Bounded by its callers, who give control no input while outputs wait: they are those of one
    /// round of inputs and one timeout, at most a snapshot for each peer and an acknowledgement for
    /// each of [`WAITING_MAX`](super::WAITING_MAX) changes.
    pub(super) outputs: VecDeque<ControlOutput>,
}

impl Control {
    /// Control of a router that knows no others. Its first outputs are an empty directory for each
    /// core. Call [`set_seeds`](Self::set_seeds) once the seeds are known, even when there are
    /// none: until then, or until the join timeout, it is not synced.
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
            links: Links::default(),
            demand: DemandNews::default(),
            waiting: WaitingList::default(),
            publish_from: now,
            mesh_changed: true,
            look_at: None,
            gossip_changed: false,
            gossip_from: now,
            alternates: Vec::new(),
            balance: Balance::default(),
            owners: Arc::default(),
            ended: EndedLives::default(),
            seeds_known: false,
            sync_deadline: now + config.sync_timeout,
            synced: false,
            knows_all_interest: false,
            join_timed_out: false,
            join_deadline: now + config.join_timeout,
            joined: false,
            was_linked: false,
            alone_since: None,
            twin_seen: None,
            twin_met: None,
            trouble: None,
            proves: false,
            notices: Notices::default(),
            sets: SetBook::new(config.router),
            leaves_at: None,
            metrics: ControlMetrics::default(),
            patterns: PatternBook::default(),
            outputs: VecDeque::new(),
            config,
        };
        control.settle();
        control
    }

    /// Sets the addresses (`host:port`) under which routers may be found, with every name looked
    /// up. Links stay when an address vanishes, because that is no evidence of a death.
    pub fn set_seeds(&mut self, now: Time, seeds: Vec<String>) {
        self.set_found_seeds(now, seeds, 0);
    }

    /// Sets the seeds while `unresolved` names have no address yet, behind each of which a router
    /// may be.
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

    /// Sets the addresses of routers that this one dials besides seeds, because nobody tells of
    /// them. Nobody waits for who does not answer there.
    pub fn set_routes(&mut self, now: Time, routes: &[String]) {
        self.now = now;
        let others = routes.iter().filter(|&route| *route != self.config.advertise).cloned().collect();
        self.dialling.set_routes(&others, now);
        self.mesh_changed = true;
        self.settle();
    }

    /// Sets whether peers keep this router to themselves, and tells them.
    pub fn set_hidden(&mut self, now: Time, hidden: bool) {
        self.now = now;
        self.gossip_changed |= std::mem::replace(&mut self.config.hidden, hidden) != hidden;
        self.mesh_changed = true;
        self.settle();
    }

    /// Takes a core's message.
    pub fn handle(&mut self, now: Time, core: CoreIndex, message: ToControl) {
        self.now = now;
        match message {
            ToControl::Interest { add, remove, token } => self.interest_changed(core, &add, &remove, token),
            ToControl::Members(states) => self.members_changed(core, &states),
            ToControl::Sets(word) => self.sets_changed(core, word),
            ToControl::Applied { version, position, settled } => {
                self.directory_applied(core, version, position, settled);
            }
            ToControl::Settled { version, left_out } => self.directory_settled(core, version, left_out),
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
            ToControl::DemandAsked => self.demand_asked(core),
            ToControl::Clients(clients) => self.core_has_clients(core, clients),
        }
        self.settle();
    }

    /// Reads selectors for a core, in programs that have no other thread for that.
    pub fn prepare(&mut self, now: Time, core: CoreIndex, order: &PrepareOrder) {
        self.now = now;
        let result = prepare(&mut self.patterns, &order.selectors, order.allowed.as_deref());
        self.metrics.prepared += 1;
        self.metrics.prepare_refused += u64::from(result.is_err());
        self.give(core, ToCore::Prepared { token: order.token, result });
        self.settle();
    }

    /// Ends a dial that could not be begun, because its target does not resolve.
    pub fn dial_failed(&mut self, now: Time, dial: DialId) {
        self.now = now;
        self.dial_ended(dial);
        self.settle();
    }

    /// Ends a dial whose target is an address of this router, and does not dial it again.
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

    /// Does everything that is due. Calling it early is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.mesh_changed |= self.look_at.is_some_and(|at| at <= now);
        self.settle();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let own = [self.publish_at(), self.claims_at(), self.demand_at(), self.balance_at()];
        self.look_at.into_iter().chain(own.into_iter().flatten()).min()
    }

    /// Counts that outputs wait because a core's mailbox is full. The caller gives control neither
    /// inputs nor time until they were taken, because they would grow.
    pub const fn note_held(&mut self) {
        self.metrics.outputs_held += 1;
    }

    /// Takes the next output; call until `None` after every input.
    pub fn poll_output(&mut self) -> Option<ControlOutput> {
        self.outputs.pop_front()
    }

    /// Tells clients and peers that this router leaves within `grace`. Until then it is a member of
    /// the mesh like any other: events that its clients still publish reach all who want them, even
    /// on routers that start meanwhile, which link with it and are told at once.
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

    /// Tells a peer that this router leaves, if it does.
    pub(super) fn say_goodbye(&mut self, router: RouterId) {
        let Some(leaves_at) = self.leaves_at else { return };
        let grace_us = u64::try_from(leaves_at.since(self.now).as_micros()).unwrap_or(u64::MAX);
        let goaway = Goaway { grace_us, reason: "draining".to_owned(), ..Goaway::default() };
        self.say(router, LinkFrame::Goaway(goaway));
    }

    /// Does everything that the last input has made possible or due.
    pub(super) fn settle(&mut self) {
        // Forgetting a peer changes the mesh: the second look forgets routers that it alone had
        // reached.
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
        self.give_members();
        self.give_names();
        self.give_sets();
        if self.publish_at().is_some_and(|at| at <= self.now) {
            self.publish();
        }
        self.balance_due();
        self.demand_due();
        self.report_effective();
    }

    pub(super) fn give(&mut self, core: CoreIndex, message: ToCore) {
        self.outputs.push_back(ControlOutput::ToCore { core, message });
    }

    pub(super) fn give_all(&mut self, message: &ToCore) {
        for core in 0..self.config.cores {
            self.give(core, message.clone());
        }
    }

    /// A picture of what control knows after the last input.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = |(&router, peer): (&RouterId, &Peer)| {
            peer.status(router, self.dialling.reaches_for(router), self.dialling.is_route_of(router))
        };
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
            hidden: self.config.hidden,
            rebalance: self.config.rebalance,
            rebalancing: self.balance.is_moving(),
        }
    }

    /// Counters.
    #[must_use]
    pub const fn metrics(&self) -> &ControlMetrics {
        &self.metrics
    }

    /// Every entry of the directory, sorted, as location and text of the selector. For checks,
    /// because it sorts them all.
    pub fn directory_dump(&self) -> impl Iterator<Item = (Location, &str)> {
        let own = self.own.entries().map(|(core, selector)| (Location::Core(core), selector.text()));
        let peers = self.peers.values().filter_map(|peer| Some((peer.location()?, peer)));
        let peers = peers.flat_map(|(location, peer)| {
            peer.interest.selectors().map(move |selector| (location, selector.text()))
        });
        let links = self.links.selectors().map(|(location, selector)| (location, selector.text()));
        let mut entries: Vec<_> = own.chain(peers).chain(links).collect();
        entries.sort_unstable();
        entries.into_iter()
    }

    /// The router at a peer's place in the directory.
    #[must_use]
    pub fn router_at(&self, index: PeerIndex) -> Option<RouterId> {
        self.peers.iter().find(|(_, peer)| peer.index == Some(index)).map(|(&router, _)| router)
    }
}
