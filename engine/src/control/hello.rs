//! Hellos: which router a peer is, whether its lane is wanted, and which side dials.
//!
//! The router with the smaller id dials. Both sides decide alike:
//!
//! - A hello that repeats the lane and epoch of the dial accepts it; one with epoch 0 refuses it,
//!   and says who refuses.
//! - A router that is called by a larger one learns where that is, refuses, and dials it.
//! - A router that is called again on a lane that is up keeps the lane of the higher epoch; of two
//!   with one epoch, it keeps the older one.
//! - A router that has called itself sees that by the id.
//! - A router that has dialled a larger one in vain lets that one dial: a router that nobody
//!   reaches is linked all the same, and reports its own address as wrong. A link with all its
//!   lanes belongs to the side that dialled it; the smaller router's link replaces the larger
//!   one's.

use millrace_proto::limits::CORES_MAX;
use millrace_proto::mesh::PeerHello;
use millrace_proto::{CloseCode, PROTOCOL_VERSION, RouterId, feature};

use super::config::{ADDRESS_BYTES_MAX, PEERS_MAX, PROBE_EVERY};
use super::link::{LaneUp, Link};
use super::machine::Control;
use super::notice::{Notice, Refusal};
use super::peer::Peer;
use super::targets::{Dial, FIRST_EPOCH, Retry, Target};
use crate::message::{CoreIndex, DialId, REFUSED_EPOCH, ToCore};
use crate::transport::ConnKey;

impl Control {
    /// The hello of this router on a lane.
    pub(super) fn hello(&self, lane: u16, epoch: u64) -> PeerHello {
        PeerHello {
            version: PROTOCOL_VERSION,
            router: self.config.router,
            incarnation: self.config.incarnation,
            cores: self.config.cores,
            lane,
            epoch,
            advertise: self.config.advertise.clone(),
            tables: self.config.tables,
            name: self.config.name.clone(),
            zone: self.config.zone.clone(),
            software: self.config.software.clone(),
            features: self.config.features,
            cluster: self.config.cluster,
        }
    }

    pub(super) fn lane_hello(
        &mut self,
        core: CoreIndex,
        conn: ConnKey,
        dial: Option<DialId>,
        hello: &PeerHello,
        proven: bool,
    ) {
        self.mesh_changed = true;
        let may_be = self.identify(hello, proven);
        let Some(dial) = dial else {
            if let Err(code) = may_be.and_then(|()| self.called(core, conn, hello)) {
                let refusal = self.hello(hello.lane, REFUSED_EPOCH);
                self.close_lane(core, conn, Some(refusal), code);
            }
            return;
        };
        let Some(attempt) = self.dialling.take(dial) else {
            self.close_lane(core, conn, None, CloseCode::Replaced);
            return;
        };
        if let Err(code) = may_be.and_then(|()| self.answered(core, conn, &attempt, hello)) {
            self.close_lane(core, conn, None, code);
            if code == CloseCode::Replaced && attempt.router.is_none() {
                self.put_off(&attempt.target);
                self.refused_by(hello.router, &attempt.target);
            } else {
                self.attempt_failed(&attempt, Some(code));
            }
        }
    }

    /// Checks whether a peer may have the id that it claims: one that proves an id has it, and one
    /// that does not may have an id that nobody proves.
    fn identify(&mut self, hello: &PeerHello, proven: bool) -> Result<(), CloseCode> {
        let router = hello.router;
        let taken = router == self.config.router || self.peers.get(&router).is_some_and(|peer| peer.proven);
        if !proven && taken {
            self.metrics.impostors += 1;
            self.notify(Notice::Refused { router, why: Refusal::Impostor });
            return Err(CloseCode::Forbidden);
        }
        if proven && self.peers.get(&router).is_some_and(|peer| !peer.proven && peer.incarnation.is_some()) {
            self.drop_link(router, CloseCode::Forbidden);
            self.clear_interest(router);
            self.peers.remove(&router);
        }
        self.proves = proven;
        Ok(())
    }

    /// Takes the hello that answers a dial.
    fn answered(
        &mut self,
        core: CoreIndex,
        conn: ConnKey,
        attempt: &Dial,
        hello: &PeerHello,
    ) -> Result<(), CloseCode> {
        self.check(hello)?;
        self.learn(hello)?;
        let router = hello.router;
        let accepts = (hello.lane, hello.epoch) == (attempt.lane, attempt.epoch);
        if attempt.lane > 0 {
            let expected = attempt.router == Some(router);
            let link = self.peers.get(&router).and_then(|peer| peer.link.as_ref());
            let linked = link.is_some_and(Link::is_ours);
            if !accepts || !expected || !linked {
                // The peer has no link that this lane could belong to: begin with lane 0 again.
                if let Some(expected) = attempt.router {
                    self.drop_link(expected, CloseCode::Replaced);
                }
                return Err(CloseCode::Replaced);
            }
            self.accept_lane(core, conn, hello, attempt.lane, None);
            return Ok(());
        }
        if let Some(target) = self.dialling.targets.get_mut(&attempt.target) {
            target.router = Some(router);
            target.echo = false;
        }
        if router < self.config.router {
            let now = self.now;
            if let Some(peer) = self.peers.get_mut(&router).filter(|peer| peer.link.is_none()) {
                peer.called_since.get_or_insert(now);
            }
        }
        if !accepts {
            self.metrics.wrong_direction += u64::from(router < self.config.router);
            return Err(CloseCode::Replaced);
        }
        let ours = self.peers.get(&router).and_then(|peer| peer.link.as_ref()).filter(|link| link.is_ours());
        if ours.and_then(Link::control).is_some_and(|lane| lane.epoch > attempt.epoch) {
            self.metrics.doubles_closed += 1;
            return Err(CloseCode::Replaced);
        }
        if let Some(target) = self.dialling.targets.get_mut(&attempt.target) {
            target.retry = Retry { failures: 0, next: self.now + PROBE_EVERY };
        }
        self.begin_link(core, conn, hello, Some(attempt.target.clone()))
    }

    /// Takes the hello of a peer that has dialled this router.
    fn called(&mut self, core: CoreIndex, conn: ConnKey, hello: &PeerHello) -> Result<(), CloseCode> {
        self.check(hello)?;
        if hello.epoch == REFUSED_EPOCH {
            self.metrics.hellos_refused += 1;
            return Err(CloseCode::Malformed);
        }
        let router = hello.router;
        if hello.lane == 0 || router > self.config.router {
            self.learn(hello)?;
        }
        if router > self.config.router && !self.may_call(hello) {
            self.metrics.wrong_direction += 1;
            self.dial_soon(&hello.advertise);
            return Err(CloseCode::Replaced);
        }
        let same_life =
            self.peers.get(&router).is_some_and(|peer| peer.incarnation == Some(hello.incarnation));
        if hello.lane == 0
            && hello.epoch == FIRST_EPOCH
            && let Some(peer) = self.peers.get_mut(&router)
            && peer.link.as_ref().is_some_and(Link::is_ours)
        {
            // A probe, or a dial that crossed this router's: the link stays.
            peer.calls_back = true;
            self.metrics.doubles_closed += 1;
            return Err(CloseCode::Replaced);
        }
        let link = self.peers.get(&router).and_then(|peer| peer.link.as_ref());
        let link = link.filter(|link| same_life && !link.is_ours());
        let up = link.and_then(|link| link.lanes.get(usize::from(hello.lane))?.up);
        if up.is_some_and(|lane| lane.epoch >= hello.epoch) {
            self.metrics.doubles_closed += 1;
            return Err(CloseCode::Replaced);
        }
        if hello.lane == 0 {
            return self.begin_link(core, conn, hello, None);
        }
        let exists = link.is_some_and(|link| usize::from(hello.lane) < link.lanes.len());
        if !exists || hello.lane % self.config.cores != core {
            self.metrics.hellos_refused += 1;
            return Err(CloseCode::Unexpected);
        }
        let answer = self.hello(hello.lane, hello.epoch);
        self.accept_lane(core, conn, hello, hello.lane, Some(answer));
        Ok(())
    }

    /// Whether a larger router may dial: it has the link, or this router has dialled it in vain in
    /// this life of the peer.
    fn may_call(&self, hello: &PeerHello) -> bool {
        let Some(peer) = self.peers.get(&hello.router) else { return false };
        let tried = |target: &Target| target.retry.failures > 0;
        match &peer.link {
            Some(link) => !link.is_ours(),
            None => peer.unreachable && self.dialling.targets.get(&hello.advertise).is_some_and(tried),
        }
    }

    /// Handles the refusal of lane 0. Where there is a link, the answer is all that a probe is for.
    /// Without a link, a router that this one should dial still holds a lane of an earlier link,
    /// which the next attempt replaces.
    fn refused_by(&mut self, router: RouterId, address: &str) {
        let linked = self.peers.get(&router).is_some_and(|peer| peer.link.is_some());
        if linked && let Some(target) = self.dialling.targets.get_mut(address) {
            target.retry.next = self.now + PROBE_EVERY;
        } else if router > self.config.router {
            self.lost_to(router);
        }
    }

    /// Checks what holds for any hello.
    fn check(&mut self, hello: &PeerHello) -> Result<(), CloseCode> {
        if hello.version != PROTOCOL_VERSION {
            self.metrics.version_refused += 1;
            self.notify(Notice::Refused { router: hello.router, why: Refusal::Version });
            return Err(CloseCode::Version);
        }
        if hello.cluster != self.config.cluster && hello.cluster.0 != 0 && self.config.cluster.0 != 0 {
            self.metrics.clusters_refused += 1;
            self.notify(Notice::Refused { router: hello.router, why: Refusal::Cluster });
            return Err(CloseCode::Forbidden);
        }
        let is_me = hello.router == self.config.router;
        if is_me && hello.incarnation == self.config.incarnation {
            return Err(CloseCode::MyOwnAddress);
        }
        if is_me || hello.advertise == self.config.advertise {
            self.metrics.id_conflicts += 1;
            self.twin_seen = Some(self.now);
            if is_me {
                self.twin_met = Some(self.now);
            }
            self.notify(Notice::Twin { name: hello.name.clone() });
            return Err(CloseCode::MyOwnAddress);
        }
        let address = hello.advertise.len();
        if hello.cores == 0 || hello.cores > CORES_MAX || address == 0 || address > ADDRESS_BYTES_MAX {
            self.metrics.hellos_refused += 1;
            self.notify(Notice::Refused { router: hello.router, why: Refusal::Malformed });
            return Err(CloseCode::Limit);
        }
        Ok(())
    }

    /// Learns which router a peer is. A new incarnation ends everything of the one before.
    fn learn(&mut self, hello: &PeerHello) -> Result<(), CloseCode> {
        let router = hello.router;
        if !self.know(router, &hello.advertise) {
            return Err(CloseCode::Busy);
        }
        self.departed.remove(&router);
        let proves = self.proves;
        let Some(peer) = self.peers.get_mut(&router) else { return Err(CloseCode::Busy) };
        peer.name.clone_from(&hello.name);
        peer.zone.clone_from(&hello.zone);
        peer.proven |= proves;
        let has_files = hello.features.contains(feature::FILES);
        peer.has_files = has_files;
        let known_life = peer.incarnation.replace(hello.incarnation);
        peer.unreachable &= known_life == Some(hello.incarnation);
        if known_life.is_some_and(|life| life != hello.incarnation) {
            peer.renewed = !peer.leaving || peer.link.is_some();
            self.drop_link(router, CloseCode::Replaced);
            self.clear_interest(router);
        }
        if let Some(ended) = known_life.filter(|&life| life != hello.incarnation && !has_files) {
            self.life_ended(router, ended);
        }
        self.life_goes_on(router, hello.incarnation, has_files);
        Ok(())
    }

    /// Learns a router and its address. False when there is no room.
    pub(super) fn know(&mut self, router: RouterId, advertise: &str) -> bool {
        if let Some(peer) = self.peers.get_mut(&router) {
            if peer.advertise != advertise {
                advertise.clone_into(&mut peer.advertise);
            }
        } else if self.peers.len() == PEERS_MAX {
            self.metrics.peers_refused += 1;
            self.notify(Notice::Refused { router, why: Refusal::Full });
            return false;
        } else {
            let seed = self.config.seed ^ router.0;
            self.peers.insert(router, Peer::new(self.now, advertise.to_owned(), seed));
        }
        let patience = if router > self.config.router {
            std::time::Duration::ZERO
        } else {
            self.config.sync_timeout / 2
        };
        if advertise != self.config.advertise {
            self.dialling.learn(advertise, Some(router), self.now + patience);
        }
        true
    }

    fn dial_soon(&mut self, address: &str) {
        if let Some(target) = self.dialling.targets.get_mut(address) {
            target.retry = Retry { failures: 0, next: self.now };
        }
    }

    /// Begins a link, because lane 0 is up, in place of any link before it.
    fn begin_link(
        &mut self,
        core: CoreIndex,
        conn: ConnKey,
        hello: &PeerHello,
        target: Option<String>,
    ) -> Result<(), CloseCode> {
        let router = hello.router;
        // The snapshot is of a published version; links that exist get the changes before it.
        self.publish();
        if self.peers.get(&router).is_some_and(|peer| peer.link.is_some()) {
            self.metrics.doubles_closed += 1;
            self.drop_link(router, CloseCode::Replaced);
        }
        let answer = target.is_none().then(|| self.hello(0, hello.epoch));
        let lanes = self.config.cores.max(hello.cores);
        let Some(peer) = self.peers.get_mut(&router) else { return Err(CloseCode::Busy) };
        if peer.index.is_none() {
            peer.index = Some(self.directory.allocate_peer().ok_or(CloseCode::Busy)?);
        }
        let after_loss = std::mem::take(&mut peer.renewed);
        let features = hello.features.common(self.config.features);
        let owners = hello.cores;
        peer.link = Some(Link { after_loss, features, owners, ..Link::new(self.now, target, lanes) });
        peer.interest.relink();
        peer.applying.clear();
        peer.leaving = false;
        peer.unreachable = false;
        peer.called_since = None;
        peer.calls_back = false;
        peer.deaf_since = None;
        peer.unwell_since = Some(self.now);
        self.accept_lane(core, conn, hello, 0, answer);
        self.greet(router);
        self.say_goodbye(router);
        Ok(())
    }

    /// Takes a lane into its link, in place of any lane before it.
    fn accept_lane(
        &mut self,
        core: CoreIndex,
        conn: ConnKey,
        hello: &PeerHello,
        lane: u16,
        answer: Option<PeerHello>,
    ) {
        let router = hello.router;
        let epoch = hello.epoch;
        if let Some(old) = self.lane_up(router, lane) {
            self.metrics.doubles_closed += 1;
            self.metrics.lanes_lost += 1;
            self.lanes.remove(&(old.core, old.conn));
            self.close_lane(old.core, old.conn, None, CloseCode::Replaced);
        }
        let Some(peer) = self.peers.get(&router) else { return };
        let Some(index) = peer.index else { return };
        let missed = peer.interest.len() > 0;
        let proven = peer.proven;
        let lost = proven && peer.link.as_ref().is_some_and(|link| link.after_loss);
        let Some(place) = self.lane_mut(router, lane) else { return };
        place.up = Some(LaneUp { core, conn, epoch, silent_since: None });
        place.dial = None;
        place.retry = Retry::default();
        self.lanes.insert((core, conn), (router, lane));
        if let Some(peer) = self.peers.get_mut(&router)
            && let Some(link) = &mut peer.link
        {
            link.was_complete |= link.is_complete();
            peer.once_linked |= link.was_complete;
            self.was_linked |= link.was_complete;
        }
        self.metrics.lanes_accepted += 1;
        self.give(
            core,
            ToCore::AcceptLane {
                conn,
                peer: index,
                router,
                proven,
                lane,
                epoch,
                outgoing: lane < self.config.cores && lane == core,
                incoming: lane < hello.cores,
                missed,
                lost,
                hello: answer,
                tables: hello.tables,
            },
        );
        // Acknowledgements wait until the link is complete.
        self.acknowledge(router);
    }

    fn close_lane(&mut self, core: CoreIndex, conn: ConnKey, hello: Option<PeerHello>, code: CloseCode) {
        self.give(core, ToCore::CloseLane { conn, hello, code });
    }
}
