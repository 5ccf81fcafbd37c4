//! The exchange of interest: versions of the own interest to peers, versions of theirs into the
//! directory, and the acknowledgements both ways.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_proto::control::Stage;
use millrace_proto::mesh::{Interest, InterestAck, InterestDigest, InterestRequest, LinkFrame};
use millrace_proto::{CloseCode, PublisherId, RouterId, Selector};

use super::config::SNAPSHOT_PAUSE;
use super::interest::{Step, without_literals};
use super::machine::Control;
use super::notice::{Notice, Refusal};
use super::peer::Peer;
use super::subscribe::Waiting;
use crate::matching::Location;
use crate::message::{CoreIndex, Effective, ToCore, Token};
use crate::time::Time;

impl Control {
    /// Takes a change of what a core's sessions want.
    pub(super) fn interest_changed(
        &mut self,
        core: CoreIndex,
        add: &[Arc<Selector>],
        remove: &[Arc<Selector>],
        token: Option<Token>,
    ) {
        self.demand.note_change();
        for selector in add {
            if self.own.add(core, selector) {
                self.directory.insert(selector, Location::Core(core));
            }
        }
        for selector in remove {
            if self.own.remove(core, selector) {
                self.directory.remove(selector, Location::Core(core));
            }
        }
        if let Some(token) = token {
            self.waiting.push(Waiting {
                core,
                token,
                since: self.now,
                directory: self.directory.version_of_changes(),
                interest: self.own.version_of_changes(),
            });
        }
    }

    /// The time at which changes are published: at once after a pause, otherwise at the end of the
    /// batch.
    pub(super) fn publish_at(&self) -> Option<Time> {
        (self.directory.is_changed() || self.own.is_changed()).then_some(self.publish_from)
    }

    /// Makes versions of all changes, for the cores and for the peers.
    pub(super) fn publish(&mut self) {
        self.publish_from = self.now + self.config.batch;
        if self.directory.publish(&mut self.outputs) {
            self.metrics.directory_versions += 1;
            self.demand.note_change();
        }
        let was_coarse = self.own.is_coarse();
        let frames = self.own.publish();
        if self.own.is_coarse() != was_coarse {
            self.metrics.interest_coarsened += u64::from(!was_coarse);
            self.notify(Notice::InterestOverflow(!was_coarse));
        }
        if frames.is_empty() {
            // An entry came and went before it was told, so that no further version covers its
            // change.
            self.waiting.covered_by(self.own.version());
            return;
        }
        let plain = without_literals(&frames);
        let linked: Vec<RouterId> = self.linked().collect();
        for router in linked {
            self.metrics.deltas_sent += 1;
            self.say_all(router, if self.knows_literals(router) { &frames } else { &plain });
        }
    }

    fn knows_literals(&self, router: RouterId) -> bool {
        let link = self.peers.get(&router).and_then(|peer| peer.link.as_ref());
        link.is_some_and(super::link::Link::knows_literals)
    }

    pub(super) fn linked(&self) -> impl Iterator<Item = RouterId> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.link.as_ref().is_some_and(|link| link.control().is_some()))
            .map(|(&router, _)| router)
    }

    /// Sends a frame on lane 0.
    pub(super) fn say(&mut self, router: RouterId, frame: LinkFrame) {
        if let Some(lane) = self.lane_up(router, 0) {
            self.give(lane.core, ToCore::LinkFrame { conn: lane.conn, frame });
        }
    }

    fn say_all(&mut self, router: RouterId, frames: &[Interest]) {
        for frame in frames {
            self.say(router, LinkFrame::Interest(frame.clone()));
        }
    }

    /// Sends everything that a new link needs: first the known routers, so that the peer knows
    /// whose interest it lacks when it has applied this one's.
    pub(super) fn greet(&mut self, router: RouterId) {
        self.gossip_to(router);
        self.tell_load(router);
        self.send_snapshot(router);
    }

    fn send_snapshot(&mut self, router: RouterId) {
        let Some(link) = self.peers.get_mut(&router).and_then(|peer| peer.link.as_mut()) else { return };
        link.snapshot_at = self.now;
        link.snapshot_wanted = false;
        self.metrics.snapshots_sent += 1;
        let frames = self.own.snapshot();
        let knows = self.knows_literals(router);
        self.say_all(router, &if knows { frames } else { without_literals(&frames) });
        self.send_digest(router);
        self.tell_all_members(router);
        self.tell_all_sets(router);
    }

    fn send_digest(&mut self, router: RouterId) {
        let next = self.now + self.config.digest_every;
        if let Some(link) = self.peers.get_mut(&router).and_then(|peer| peer.link.as_mut()) {
            link.digest_at = next;
        }
        self.say(router, LinkFrame::InterestDigest(self.own.digest(self.knows_literals(router))));
    }

    /// Sends a snapshot, because the peer's copy of the own interest is wrong.
    pub(super) fn snapshot_asked(&mut self, router: RouterId) {
        if let Some(link) = self.peers.get_mut(&router).and_then(|peer| peer.link.as_mut()) {
            link.snapshot_wanted = true;
            self.mesh_changed = true;
        }
    }

    /// Sends the digests and snapshots that are due.
    pub(super) fn exchange_due(&mut self) {
        let linked: Vec<RouterId> = self.linked().collect();
        for router in linked {
            let Some(link) = self.peers.get(&router).and_then(|peer| peer.link.as_ref()) else { continue };
            if link.snapshot_wanted && link.snapshot_at + SNAPSHOT_PAUSE <= self.now {
                self.send_snapshot(router);
            } else if link.digest_at <= self.now {
                self.send_digest(router);
            }
        }
    }

    /// The time at which the next digest or snapshot is due.
    pub(super) fn next_exchange(&self) -> Option<Time> {
        let links =
            self.peers.values().filter_map(|peer| peer.link.as_ref()).filter(|link| link.control().is_some());
        links
            .map(|link| {
                let snapshot = link.snapshot_at + SNAPSHOT_PAUSE;
                if link.snapshot_wanted { link.digest_at.min(snapshot) } else { link.digest_at }
            })
            .min()
    }

    /// Takes a frame of a peer's interest.
    pub(super) fn interest_told(&mut self, router: RouterId, frame: Interest) {
        let Some(peer) = self.peers.get_mut(&router) else { return };
        let Some(location) = peer.location() else { return };
        let held = peer.interest.version();
        match peer.interest.take(frame, self.config.interest_per_peer_max, &mut self.directory, location) {
            Step::Nothing => {}
            Step::Applied { snapshot, refused } => {
                self.metrics.interest_refused += refused;
                self.metrics.snapshots_applied += u64::from(snapshot);
                self.metrics.deltas_applied += u64::from(!snapshot);
                let version = peer.interest.version();
                peer.applying.push(version, self.directory.version_of_changes());
                if let (Some(link), Some(index)) = (&mut peer.link, peer.index)
                    && !std::mem::replace(&mut link.joined, true)
                {
                    self.directory.joined(index);
                }
                self.acknowledge(router);
            }
            Step::OutOfOrder => {
                self.metrics.deltas_out_of_order += 1;
                self.say(router, LinkFrame::InterestRequest(InterestRequest { version: held }));
            }
            Step::Overflow => {
                self.metrics.interest_overflows += 1;
                self.notify(Notice::Refused { router, why: Refusal::Interest });
                self.drop_link(router, CloseCode::Limit);
            }
        }
    }

    pub(super) fn digest_told(&mut self, router: RouterId, digest: &InterestDigest) {
        let Some(peer) = self.peers.get_mut(&router) else { return };
        let version = peer.interest.version();
        match peer.interest.agrees(digest) {
            Some(true) => self.metrics.digests_ok += 1,
            Some(false) => {
                self.metrics.digests_mismatched += 1;
                self.say(router, LinkFrame::InterestRequest(InterestRequest { version }));
            }
            // A snapshot was asked for and has not come: ask again.
            None => self.say(router, LinkFrame::InterestRequest(InterestRequest { version })),
        }
    }

    /// Acknowledges to a peer what all cores have applied, once every lane is up that they answer
    /// on.
    pub(super) fn acknowledge(&mut self, router: RouterId) {
        let Some(peer) = self.peers.get_mut(&router) else { return };
        if !peer.link.as_ref().is_some_and(super::link::Link::is_complete) {
            return;
        }
        let mut acks = Vec::new();
        while let Some((version, positions, left_out_publishers)) = peer.applying.poll(&self.directory) {
            self.mesh_changed |= !std::mem::replace(&mut peer.applied, true);
            acks.push(InterestAck { version, positions, left_out_publishers });
        }
        for ack in acks {
            self.say(router, LinkFrame::InterestAck(ack));
        }
    }

    /// Notes that a core has applied a version of the directory.
    pub(super) fn directory_applied(&mut self, core: CoreIndex, version: u64, position: u64, settled: bool) {
        self.directory.applied(core, version, position, &mut self.outputs);
        if settled {
            self.directory.settled(core, version, Vec::new());
        }
        self.acknowledge_all();
    }

    /// Notes that the publishers of a core know what a version of the directory wants.
    pub(super) fn directory_settled(&mut self, core: CoreIndex, version: u64, left_out: Vec<PublisherId>) {
        self.directory.settled(core, version, left_out);
        self.acknowledge_all();
    }

    fn acknowledge_all(&mut self) {
        let linked: Vec<RouterId> = self.linked().collect();
        for router in linked {
            self.acknowledge(router);
        }
    }

    /// Notes that a peer's cores have applied a version of the own interest.
    pub(super) fn interest_acknowledged(&mut self, router: RouterId, ack: &InterestAck) {
        if ack.version > self.own.version() {
            self.metrics.frames_unexpected += 1;
            return;
        }
        let Some(link) = self.peers.get_mut(&router).and_then(|peer| peer.link.as_mut()) else { return };
        link.acked = link.acked.max(ack.version);
        link.unheard.add(ack.version, ack.left_out_publishers.iter().copied());
    }

    /// Tells sessions how far their changes of interest have come.
    pub(super) fn report_effective(&mut self) {
        let applied = self.directory.applied_everywhere();
        while let Some(waiting) = self.waiting.effective_on_router(applied) {
            self.report(waiting, Effective::new(waiting.token, Stage::Router));
        }
        if !self.synced {
            // Control does not know yet which routers are behind the seeds.
            return self.report_overflow();
        }
        let waited_for = self.peers.values().filter(|peer| peer.is_waited_for());
        let acked = waited_for.filter_map(|peer| peer.link.as_ref()).map(|link| link.acked).min();
        let (acked, settled) = (acked.unwrap_or(u64::MAX), self.directory.settled_everywhere());
        while let Some(waiting) = self.waiting.effective_in_cluster(acked, settled) {
            self.report(waiting, self.in_cluster(waiting));
        }
        self.report_overflow();
    }

    /// Answers the oldest changes early while too many wait.
    fn report_overflow(&mut self) {
        while let Some((waiting, on_router)) = self.waiting.overflow() {
            self.metrics.waiting_overflows += 1;
            let mut effective = self.in_cluster(waiting);
            if !on_router {
                effective.left_out.push(self.config.router);
            }
            self.report(waiting, effective);
        }
    }

    /// Known routers that have not acknowledged a version of the own interest, or that may have
    /// lost it.
    fn left_out(&self, interest: u64) -> Vec<RouterId> {
        let acknowledged = |peer: &Peer| {
            peer.is_waited_for() && peer.link.as_ref().is_some_and(|link| link.acked >= interest)
        };
        self.peers.iter().filter(|(_, peer)| !acknowledged(peer)).map(|(&router, _)| router).collect()
    }

    /// What a session is told whose change is effective in the cluster.
    fn in_cluster(&self, waiting: Waiting) -> Effective {
        let links = self.peers.values().filter_map(|peer| peer.link.as_ref());
        let there = links.flat_map(|link| link.unheard.from(waiting.interest));
        let unheard: BTreeSet<PublisherId> =
            self.directory.unheard.from(waiting.directory).chain(there).collect();
        Effective {
            left_out: self.left_out(waiting.interest),
            unanswered: self.dialling.unanswered(),
            left_out_publishers: unheard.into_iter().collect(),
            ..Effective::new(waiting.token, Stage::Cluster)
        }
    }

    fn report(&mut self, waiting: Waiting, effective: Effective) {
        let took = self.now.since(waiting.since);
        match effective.stage {
            Stage::Router => self.metrics.subscribed_on_router.record(took),
            _ => self.metrics.subscribed_in_cluster.record(took),
        }
        self.give(waiting.core, ToCore::Effective(effective));
    }
}
