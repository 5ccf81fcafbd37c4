//! The mesh as a whole: the state of each peer, which peers are forgotten, gossip, and whether this
//! router is synced.

use millrace_proto::RouterId;
use millrace_proto::limits::ALTERNATES_MAX;
use millrace_proto::mesh::{KnownPeer, LinkFrame, Peers};

use super::config::{INTRODUCED_MAX, MESH_FRAME_BYTES};
use super::link::Link;
use super::machine::Control;
use super::notice::Notice;
use super::peer::Peer;
use super::status::PeerState;
use super::targets::Target;
use crate::message::{Alternate, ToCore};
use crate::time::Time;

/// Bytes of a known peer in a frame beside its address.
const KNOWN_PEER_FRAMING_BYTES: usize = 48;

impl Control {
    /// Looks at every peer again after a change, or when time has passed.
    pub(super) fn look_at_mesh(&mut self) {
        let (now, patience) = (self.now, self.config.sync_timeout);
        let mut news = Vec::new();
        for (&router, peer) in &mut self.peers {
            let state = peer.state(now, patience);
            if state == PeerState::Leaving {
                // A leaving peer stays for the time that it said, while it is heard.
                let silent = peer.link.as_ref().is_some_and(Link::is_silent);
                peer.unwell_since = silent.then(|| peer.unwell_since.unwrap_or(now));
            }
            let heard = peer.is_heard();
            self.gossip_changed |= std::mem::replace(&mut peer.heard, heard) != heard;
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
                    let healed = std::mem::take(&mut peer.was_suspected);
                    self.metrics.recovered += u64::from(healed);
                    news.push(if healed { Notice::Healed(router) } else { Notice::Linked(router) });
                }
                (PeerState::Linked, PeerState::Suspect) => {
                    peer.unwell_since = Some(now);
                    peer.was_suspected = true;
                    self.metrics.suspects += 1;
                    news.push(Notice::Suspect { router, cause: peer.suspicion(now, patience) });
                }
                (_, PeerState::Leaving) => news.push(Notice::Leaving(router)),
                _ => {
                    peer.unwell_since.get_or_insert(now);
                }
            }
        }
        for notice in news {
            self.notify(notice);
        }
        self.forget_due();
        self.tell_alternates();
        self.tell_owners();
        self.check_synced();
        self.check_interest();
        self.check_standing();
    }

    /// Forgets peers whose time has come: suspect ones after a while, those who left, and at once
    /// those that only others have told of and that none of them reaches.
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
        let linked = self.peers.values().filter(|peer| peer.state == PeerState::Linked && !peer.hidden);
        let alternate = |peer: &Peer| Alternate { address: peer.advertise.clone(), zone: peer.zone.clone() };
        let alternates: Vec<Alternate> = linked.take(ALTERNATES_MAX).map(alternate).collect();
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
        let seeds_tried = targets.values().filter(|target| target.seed).all(Target::is_tried);
        let applied = self.peers.values().all(|peer| {
            // One that leaves has its receivers until they have moved: their interest counts like
            // that of others, unless its lanes have begun to end.
            let is_ending = peer.leaving
                && peer.link.as_ref().is_none_or(|link| link.was_complete && !link.is_complete());
            let is_there = matches!(peer.state, PeerState::Linked | PeerState::Leaving);
            is_ending || peer.unreachable || (peer.applied && is_there)
        });
        let all = self.seeds_known && seeds_tried && applied;
        if all || self.now >= self.sync_deadline {
            self.synced = true;
            self.join_timed_out = !all;
            self.give_all(&ToCore::Synced(true));
        }
    }

    /// Tells the cores whether the directory has all interest of the cluster.
    fn check_interest(&mut self) {
        let knows = self.synced && self.peers.values().all(|peer| peer.state != PeerState::Suspect);
        if std::mem::replace(&mut self.knows_all_interest, knows) != knows {
            self.give_all(&ToCore::KnowsAllInterest(knows));
        }
    }

    /// The time at which control looks at the mesh again without a change.
    pub(super) fn next_look(&self) -> Option<Time> {
        let peers = self.peers.values().flat_map(|peer| {
            let idle = peer.index.is_none() && !peer.told_by.is_empty();
            let unwell = |after| peer.unwell_since.map(|since| since + after);
            let forget = unwell(self.config.forget_after).filter(|_| !idle);
            let deaf = peer.deaf_since.map(|since| since + self.config.sync_timeout);
            let called = peer.called_since.map(|since| since + self.unreached_after());
            [unwell(self.config.sync_timeout), forget, deaf, called]
        });
        let peers = peers.flatten().filter(|&at| at > self.now);
        let join = (!self.synced).then_some(self.sync_deadline);
        let standing = self.next_standing();
        let gossip = self.gossip_changed.then_some(self.gossip_from);
        peers
            .chain(join)
            .chain(standing)
            .chain(gossip)
            .chain(self.next_dial())
            .chain(self.next_exchange())
            .min()
    }

    /// Tells all linked peers which routers this one knows, after a change and not too often.
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

    /// Tells one peer which routers this one knows.
    pub(super) fn gossip_to(&mut self, router: RouterId) {
        if self.lane_up(router, 0).is_none() {
            return;
        }
        let mut bytes = 0;
        let mut told = Peers::default();
        if self.config.hidden {
            // That it lists itself is how a router asks its peers to tell nobody of it.
            let (router, advertise) = (self.config.router, self.config.advertise.clone());
            told.peers.push(KnownPeer { router, advertise, linked: false, ended: None });
        }
        let shown = self.peers.iter().filter(|&(&other, peer)| other == router || !peer.hidden);
        for (&other, peer) in shown {
            bytes += peer.advertise.len() + KNOWN_PEER_FRAMING_BYTES;
            if bytes > MESH_FRAME_BYTES {
                self.metrics.gossip_cut += 1;
                continue;
            }
            let advertise = peer.advertise.clone();
            // About itself a peer is told whether it is heard: a path that works in one direction
            // shows by that.
            let linked = if other == router { peer.heard } else { peer.reached };
            told.peers.push(KnownPeer { router: other, advertise, linked, ended: self.ended_life(other) });
        }
        for gone in self.gone_routers(&told.peers) {
            bytes += KNOWN_PEER_FRAMING_BYTES;
            if bytes > MESH_FRAME_BYTES {
                self.metrics.gossip_cut += 1;
                continue;
            }
            told.peers.push(gone);
        }
        self.say(router, LinkFrame::Peers(told));
    }

    /// Takes a peer's list of routers. Only routers that it is linked to count, because all forget
    /// a router that nobody reaches.
    pub(super) fn peers_told(&mut self, router: RouterId, told: &Peers) {
        self.mesh_changed = true;
        for peer in self.peers.values_mut() {
            peer.told_by.remove(&router);
        }
        let hidden = told.peers.iter().any(|known| known.router == router);
        if let Some(peer) = self.peers.get_mut(&router) {
            self.gossip_changed |= std::mem::replace(&mut peer.hidden, hidden) != hidden;
        }
        if let Some(own) = told.peers.iter().find(|known| known.router == self.config.router) {
            self.hearing_told(router, own.linked);
        }
        for (known, ended) in told.peers.iter().filter_map(|known| Some((known, known.ended?))) {
            self.life_told(known.router, ended);
        }
        for known in told.peers.iter().filter(|known| known.linked) {
            let reachable = !known.advertise.is_empty() && known.advertise.len() <= super::ADDRESS_BYTES_MAX;
            let departed = self.departed.contains_key(&known.router);
            if known.router == self.config.router || !reachable || departed {
                continue;
            }
            let unproven = self.peers.get(&known.router).map(|peer| peer.incarnation.is_none());
            match unproven {
                Some(false) => {}
                // Nobody has proven which address is right, so that control tries each.
                Some(true) if known.advertise != self.config.advertise => {
                    self.dialling.learn(&known.advertise, Some(known.router), self.now);
                }
                Some(true) => {}
                None if self.may_introduce(router) && self.know(known.router, &known.advertise) => {}
                None => continue,
            }
            if let Some(peer) = self.peers.get_mut(&known.router) {
                peer.told_by.insert(router, known.advertise.clone());
            }
        }
    }

    /// Whether a peer may be the first to tell of one more router.
    fn may_introduce(&mut self, router: RouterId) -> bool {
        let unproven = |peer: &&Peer| {
            peer.incarnation.is_none() && peer.told_by.len() == 1 && peer.told_by.contains_key(&router)
        };
        let may = self.peers.values().filter(unproven).count() < INTRODUCED_MAX;
        self.metrics.introductions_refused += u64::from(!may);
        may
    }

    /// Takes a peer's word whether it hears this router.
    fn hearing_told(&mut self, router: RouterId, heard: bool) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&router) {
            peer.deaf_since = (!heard).then(|| peer.deaf_since.unwrap_or(now));
        }
    }
}
