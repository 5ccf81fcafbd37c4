//! What happens to lanes that are up: frames, silence, loss; and the end of links and of peers.
//!
//! Control does not tell receivers that runs may be missing. The core that reads a lane tells it
//! behind the lane's last run, and the owner that writes a lane tells it before the run that may
//! follow a miss.

use millrace_proto::mesh::LinkFrame;
use millrace_proto::{CloseCode, RouterId};

use super::link::{Lane, LaneUp};
use super::machine::Control;
use super::notice::Notice;
use crate::message::{CoreIndex, DialId, ToCore};
use crate::transport::ConnKey;

impl Control {
    pub(super) fn lane_mut(&mut self, router: RouterId, lane: u16) -> Option<&mut Lane> {
        self.peers.get_mut(&router)?.link.as_mut()?.lane(lane)
    }

    pub(super) fn lane_up(&self, router: RouterId, lane: u16) -> Option<LaneUp> {
        self.peers.get(&router)?.link.as_ref()?.lanes.get(usize::from(lane))?.up
    }

    pub(super) fn link_frame(&mut self, core: CoreIndex, conn: ConnKey, frame: LinkFrame) {
        let Some(&(router, lane)) = self.lanes.get(&(core, conn)) else { return };
        if lane != 0 {
            self.metrics.frames_unexpected += 1;
            return;
        }
        match frame {
            LinkFrame::Interest(interest) => self.interest_told(router, interest),
            LinkFrame::InterestAck(ack) => self.interest_acknowledged(router, &ack),
            LinkFrame::InterestDigest(digest) => self.digest_told(router, &digest),
            LinkFrame::InterestRequest(_) => self.snapshot_asked(router),
            LinkFrame::GroupMembers(members) => self.members_told(router, &members),
            LinkFrame::SetRecords(records) => self.sets_told(router, &records),
            LinkFrame::Peers(peers) => self.peers_told(router, &peers),
            LinkFrame::Goaway(_) => self.leaving(router),
            LinkFrame::Load(load) => self.load_told(router, &load),
            // These frames belong to features that this side does not list.
            _ => self.metrics.frames_unexpected += 1,
        }
    }

    pub(super) fn lane_silence(&mut self, core: CoreIndex, conn: ConnKey, silent: bool) {
        let Some(&(router, lane)) = self.lanes.get(&(core, conn)) else { return };
        let now = self.now;
        if let Some(up) = self.lane_mut(router, lane).and_then(|lane| lane.up.as_mut()) {
            up.silent_since = silent.then_some(up.silent_since.unwrap_or(now));
            self.mesh_changed = true;
        }
    }

    pub(super) fn lane_closed(
        &mut self,
        core: CoreIndex,
        conn: ConnKey,
        dial: Option<DialId>,
        orderly: bool,
        code: Option<CloseCode>,
    ) {
        if let Some(attempt) = dial.and_then(|dial| self.dialling.take(dial)) {
            self.attempt_failed(&attempt, code);
            return;
        }
        let Some((router, number)) = self.lanes.remove(&(core, conn)) else { return };
        self.mesh_changed = true;
        self.metrics.lanes_lost += u64::from(!orderly);
        if code == Some(CloseCode::GoingAway) {
            self.leaving(router);
        }
        let leaving = self.peers.get(&router).is_some_and(|peer| peer.leaving);
        if let Some(lane) = self.lane_mut(router, number) {
            lane.up = None;
        }
        let others_up = self
            .peers
            .get(&router)
            .and_then(|peer| peer.link.as_ref())
            .is_some_and(|link| link.lanes_up().count() > 0);
        if leaving && others_up {
            // Cores read what the other lanes still carry to its end.
        } else if number == 0 || !others_up {
            self.drop_link(router, CloseCode::Replaced);
        } else {
            self.lost_to(router);
            let next = self.now + self.pause(1);
            if let Some(lane) = self.lane_mut(router, number) {
                lane.retry.failures = 1;
                lane.retry.next = next;
            }
        }
    }

    fn leaving(&mut self, router: RouterId) {
        if let Some(peer) = self.peers.get_mut(&router) {
            peer.leaving = true;
            self.mesh_changed = true;
        }
    }

    /// Ends a link and closes its lanes. Unless it had ended in order, what they still carried is
    /// lost, and the core of each lane tells that. The peer's interest stays until the peer is
    /// forgotten.
    pub(super) fn drop_link(&mut self, router: RouterId, code: CloseCode) {
        let Some(link) = self.peers.get_mut(&router).and_then(|peer| peer.link.take()) else { return };
        self.mesh_changed = true;
        for lane in &link.lanes {
            if let Some(dial) = lane.dial {
                self.dialling.take(dial);
            }
            if let Some(up) = lane.up {
                self.lanes.remove(&(up.core, up.conn));
                self.give(up.core, ToCore::CloseLane { conn: up.conn, hello: None, code });
            }
        }
        if let Some(peer) = self.peers.get_mut(&router) {
            peer.interest.relink();
            peer.applying.clear();
            peer.unwell_since.get_or_insert(self.now);
        }
        for other in self.peers.values_mut() {
            other.told_by.remove(&router);
        }
        self.lost_to(router);
        self.rearm(router);
    }

    /// Removes a peer's interest from the directory, and its members of sets.
    pub(super) fn clear_interest(&mut self, router: RouterId) {
        self.sets.forget(router);
        let Some(peer) = self.peers.get_mut(&router) else { return };
        peer.applying.clear();
        peer.applied = false;
        peer.leaving = false;
        peer.was_suspected = false;
        if let Some(location) = peer.location() {
            peer.interest.clear(&mut self.directory, location);
        }
        if let Some(index) = peer.index.take() {
            self.directory.release_peer(index);
        }
    }

    /// Forgets a peer that is gone for good, as far as this router can tell. It stays known while
    /// others reach it, unless it said that it leaves: then the others will find out, and until
    /// then their word is no reason to look for it.
    pub(super) fn forget(&mut self, router: RouterId) {
        let left = self.peers.get(&router).is_some_and(|peer| peer.leaving);
        self.drop_link(router, CloseCode::Timeout);
        if self.peers.get(&router).is_some_and(|peer| peer.index.is_some()) {
            self.metrics.forgotten += 1;
            self.notify(if left { Notice::Left(router) } else { Notice::Forgotten(router) });
        }
        self.clear_interest(router);
        if let Some(life) = self.peers.get(&router).and_then(|peer| peer.incarnation) {
            self.life_ended(router, life);
        }
        if let Some(peer) = self.peers.get_mut(&router) {
            peer.incarnation = None;
            peer.unwell_since = Some(self.now);
            if left || peer.told_by.is_empty() {
                self.peers.remove(&router);
            }
        }
        if left && self.departed.len() < super::PEERS_MAX {
            self.departed.insert(router, self.now + self.config.sync_timeout);
        }
        self.mesh_changed = true;
    }
}
