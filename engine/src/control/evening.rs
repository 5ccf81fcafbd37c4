//! Control's part in evening clients out: it tells peers how many there are, hears theirs, and asks
//! clients to move as the [balance](super::balance) says.

use millrace_proto::RouterId;
use millrace_proto::mesh::{LinkFrame, Load};

use super::balance::{LOOK_EVERY, Member, Rebalance};
use super::machine::Control;
use super::notice::Notice;
use super::peer::Peer;
use super::status::PeerState;
use crate::message::{CoreIndex, ToCore};
use crate::time::Time;

impl Control {
    /// Sets whether this router evens clients out by itself.
    pub fn set_rebalance(&mut self, now: Time, rebalance: Rebalance) {
        self.now = now;
        self.config.rebalance = rebalance;
        self.settle();
    }

    /// A core has so many clients.
    pub(super) fn core_has_clients(&mut self, core: CoreIndex, clients: u64) {
        self.balance.core_has(core, clients);
    }

    /// A peer has so many clients.
    pub(super) fn load_told(&mut self, router: RouterId, load: &Load) {
        if let Some(peer) = self.peers.get_mut(&router) {
            peer.clients = Some(load.clients);
        }
    }

    /// Tells a peer how many clients this router has.
    pub(super) fn tell_load(&mut self, router: RouterId) {
        self.say(router, LinkFrame::Load(Load { clients: self.balance.clients() }));
    }

    /// When control looks at clients again: only where there are others.
    pub(super) fn balance_at(&self) -> Option<Time> {
        (!self.lanes.is_empty()).then(|| self.balance.look_at.unwrap_or(self.now))
    }

    /// Tells peers, and asks clients to move, when it is time.
    pub(super) fn balance_due(&mut self) {
        if self.balance_at().is_none_or(|at| at > self.now) {
            return;
        }
        self.balance.look_at = Some(self.now + LOOK_EVERY);
        let clients = self.balance.clients();
        if self.balance.told.replace(clients) != Some(clients) {
            let linked: Vec<RouterId> = self.linked().collect();
            for router in linked {
                self.tell_load(router);
            }
        }
        let may_ask = self.config.rebalance == Rebalance::Auto && self.joined && !self.config.hidden;
        if !may_ask || self.leaves_at.is_some() {
            self.balance.rest();
            return;
        }
        let mut members: Vec<Member> =
            self.peers.iter().filter_map(|(&router, peer)| self.member(router, peer)).collect();
        members.push(Member { router: self.config.router, clients });
        members.sort_by_key(|member| member.router);
        let was_moving = self.balance.is_moving();
        let asked = self.balance.look(self.now, self.config.router, &members);
        if self.balance.is_moving() != was_moving {
            let mean = members.iter().map(|member| member.clients).sum::<u64>() / members.len() as u64;
            self.notify(Notice::Rebalancing { begins: !was_moving, clients, mean });
        }
        for (to, count) in asked {
            self.ask_clients(to, count);
        }
    }

    /// A peer that takes part: it serves clients in the zone of this router, and has told how many.
    fn member(&self, router: RouterId, peer: &Peer) -> Option<Member> {
        let takes_part = peer.state == PeerState::Linked && !peer.hidden && peer.zone == self.config.zone;
        Some(Member { router, clients: peer.clients.filter(|_| takes_part)? })
    }

    fn ask_clients(&mut self, to: RouterId, count: u64) {
        let Some(to) = self.peers.get(&to).map(|peer| peer.advertise.clone()) else { return };
        self.metrics.rebalance_asked += count;
        let within_us = u64::try_from(LOOK_EVERY.as_micros()).unwrap_or(u64::MAX);
        for (core, count) in (0..).zip(self.balance.spread(count)) {
            if count > 0 {
                self.give(core, ToCore::MoveClients { count, within_us, to: to.clone() });
            }
        }
    }
}
