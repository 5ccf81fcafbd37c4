//! The mesh as a whole: how each peer stands, who is forgotten, what the peers tell each other, and whether this router
//! is synced.

use millrace_proto::RouterId;
use millrace_proto::limits::ALTERNATES_MAX;
use millrace_proto::mesh::{KnownPeer, MeshFrame, Peers};

use super::Control;
use super::config::MESH_FRAME_BYTES;
use super::link::Link;
use super::status::PeerState;
use crate::message::ToCore;
use crate::time::Time;

/// Bytes of a known peer in a frame beyond its address.
const KNOWN_PEER_FRAMING_BYTES: usize = 24;

impl Control {
    /// Looks at every peer again after something changed or time has passed.
    pub(super) fn look_at_mesh(&mut self) {
        let (now, patience) = (self.now, self.config.join_timeout);
        for peer in self.peers.values_mut() {
            let state = peer.state(now, patience);
            if state == PeerState::Leaving {
                // It has its own time to go, as long as it is heard.
                let silent = peer.link.as_ref().is_some_and(Link::is_silent);
                peer.unwell_since = silent.then(|| peer.unwell_since.unwrap_or(now));
            }
            let reached = peer.is_reached(state);
            self.gossip_changed |= std::mem::replace(&mut peer.reached, reached) != reached;
            if state == peer.state {
                continue;
            }
            self.gossip_changed = true;
            let before = std::mem::replace(&mut peer.state, state);
            match (before, state) {
                (_, PeerState::Linked) => {
                    peer.unwell_since = None;
                    self.metrics.recovered += u64::from(std::mem::take(&mut peer.was_suspected));
                }
                (PeerState::Linked, PeerState::Suspect) => {
                    peer.unwell_since = Some(now);
                    peer.was_suspected = true;
                    self.metrics.suspects += 1;
                }
                (_, PeerState::Leaving) => {}
                _ => {
                    peer.unwell_since.get_or_insert(now);
                }
            }
        }
        self.forget_due();
        self.tell_alternates();
        self.check_synced();
    }

    /// Forgets whom it is time to forget: the suspect after a while, those who left, and those whom others have told of and
    /// nobody reaches any more, at once.
    fn forget_due(&mut self) {
        self.departed.retain(|_, until| *until > self.now);
        let gone: Vec<RouterId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                let long =
                    peer.unwell_since.is_some_and(|since| since + self.config.forget_after <= self.now);
                let idle = peer.index.is_none() && !peer.told_by.is_empty();
                (peer.leaving && peer.link.is_none()) || (long && !idle) || peer.is_hearsay()
            })
            .map(|(&router, _)| router)
            .collect();
        for router in gone {
            self.forget(router);
        }
    }

    fn tell_alternates(&mut self) {
        let linked = self.peers.values().filter(|peer| peer.state == PeerState::Linked);
        let alternates: Vec<String> =
            linked.take(ALTERNATES_MAX).map(|peer| peer.advertise.clone()).collect();
        if alternates != self.alternates {
            self.alternates.clone_from(&alternates);
            self.give_all(&ToCore::Alternates(alternates));
        }
    }

    fn check_synced(&mut self) {
        if self.synced {
            return;
        }
        let targets = &self.dialling.targets;
        let seeds_tried = targets
            .values()
            .filter(|target| target.seed)
            .all(|target| target.own || target.router.is_some() || target.retry.failures > 0);
        let applied = self.peers.values().all(|peer| {
            peer.leaving || peer.unreachable || (peer.applied && peer.state == PeerState::Linked)
        });
        let all = self.seeds_known && seeds_tried && applied;
        if all || self.now >= self.join_deadline {
            self.synced = true;
            self.join_timed_out = !all;
            self.give_all(&ToCore::Synced(true));
        }
    }

    /// Whether others have reached a router for a while that this one does not.
    pub(super) fn is_degraded(&self) -> bool {
        self.peers.values().any(|peer| {
            let long = peer.unwell_since.is_some_and(|since| since + self.config.join_timeout <= self.now);
            long && !peer.leaving && !peer.told_by.is_empty()
        })
    }

    /// When the mesh is to be looked at again if nothing happens.
    pub(super) fn next_look(&self) -> Option<Time> {
        let peers = self.peers.values().filter_map(|peer| {
            let since = peer.unwell_since?;
            let patience = since + self.config.join_timeout;
            let forget = since + self.config.forget_after;
            let idle = peer.index.is_none() && !peer.told_by.is_empty();
            [patience, forget].into_iter().filter(|&at| at > self.now && (at == patience || !idle)).min()
        });
        let join = (!self.synced).then_some(self.join_deadline);
        let gossip = self.gossip_changed.then_some(self.gossip_from);
        peers.chain(join).chain(gossip).chain(self.next_dial()).chain(self.next_exchange()).min()
    }

    /// Tells all linked peers whom this router knows, when that has changed and not too often.
    pub(super) fn gossip_due(&mut self) {
        if !self.gossip_changed || self.now < self.gossip_from {
            return;
        }
        self.gossip_changed = false;
        self.gossip_from = self.now + self.config.gossip_every;
        let routers: Vec<RouterId> = self.peers.keys().copied().collect();
        for router in routers {
            self.gossip_to(router);
        }
    }

    /// Tells one peer.
    pub(super) fn gossip_to(&mut self, router: RouterId) {
        if self.lane_up(router, 0).is_none() {
            return;
        }
        let mut bytes = 0;
        let mut told = Peers::default();
        for (&other, peer) in self.peers.iter().filter(|&(&other, _)| other != router) {
            bytes += peer.advertise.len() + KNOWN_PEER_FRAMING_BYTES;
            if bytes > MESH_FRAME_BYTES {
                self.metrics.gossip_cut += 1;
                continue;
            }
            let advertise = peer.advertise.clone();
            told.peers.push(KnownPeer { router: other, advertise, linked: peer.reached });
        }
        self.say(router, MeshFrame::Peers(told));
    }

    /// A peer tells whom it knows. Only routers that it is linked to count: whom nobody reaches is forgotten everywhere.
    pub(super) fn peers_told(&mut self, router: RouterId, told: &Peers) {
        self.mesh_changed = true;
        for peer in self.peers.values_mut() {
            peer.told_by.remove(&router);
        }
        for known in told.peers.iter().filter(|known| known.linked) {
            let reachable = !known.advertise.is_empty() && known.advertise.len() <= super::ADDRESS_BYTES_MAX;
            let departed = self.departed.contains_key(&known.router);
            if known.router == self.config.router || !reachable || departed {
                continue;
            }
            if !self.peers.contains_key(&known.router) && !self.know(known.router, &known.advertise) {
                continue;
            }
            if let Some(peer) = self.peers.get_mut(&known.router) {
                peer.told_by.insert(router);
            }
        }
    }
}
