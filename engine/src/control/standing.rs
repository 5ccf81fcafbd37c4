//! The standing of this router in the mesh: whether it has joined, and what trouble its place has.
//!
//! A router joins once. Later trouble is told, and sends no client away. The word of one peer is
//! never enough: trouble with another router needs own evidence, and a router that nobody reaches
//! counts that against itself. Hidden routers count for nobody.

use std::time::Duration;

use millrace_proto::RouterId;

use super::config::TWIN_MEMORY;
use super::link::Link;
use super::machine::Control;
use super::notice::Notice;
use super::peer::Peer;
use super::trouble::Trouble;
use crate::time::Time;

impl Control {
    /// Other routers that are known, or that a seed promises.
    fn others(&self) -> usize {
        let known = self.peers.values().filter(|peer| !peer.leaving && !peer.hidden).count();
        known.saturating_add(self.dialling.silent_seeds())
    }

    fn reached(&self) -> usize {
        self.peers.values().filter(|peer| peer.reached && !peer.hidden).count()
    }

    /// Linked routers that this one needs before it is ready.
    pub(super) fn peers_needed(&self) -> usize {
        let others = self.others();
        self.config.min_peers.unwrap_or(if others == 0 { 0 } else { (others / 2).max(1) })
    }

    /// How long a router that was called may take to link with this one.
    pub(super) fn unreached_after(&self) -> Duration {
        self.config.dial_timeout + self.config.sync_timeout
    }

    /// Updates the standing.
    pub(super) fn check_standing(&mut self) {
        let (others, linked) = (self.others(), self.reached());
        if !self.joined && self.synced {
            let timed_out = self.now >= self.join_deadline;
            let enough = self.seeds_known && linked >= self.peers_needed();
            if enough || timed_out {
                self.joined = true;
                self.notify(Notice::Joined { linked, others, timed_out: !enough });
            }
        }
        let is_alone = linked == 0 && others > 0;
        self.alone_since = is_alone.then(|| self.alone_since.unwrap_or(self.now));
        let trouble = self.find_trouble();
        if std::mem::replace(&mut self.trouble, trouble) != trouble {
            self.notify(Notice::Degraded(trouble));
        }
    }

    fn find_trouble(&self) -> Option<Trouble> {
        let long = |since: Option<Time>, time: Duration| since.is_some_and(|since| since + time <= self.now);
        let patience = self.config.sync_timeout;
        if is_recent(self.twin_seen, self.now) {
            return Some(Trouble::Twin);
        }
        if long(self.alone_since, patience) && (self.joined || self.was_linked) {
            return Some(Trouble::Alone);
        }
        let is_called =
            self.peers.values().any(|peer| peer.link.as_ref().is_some_and(|link| !link.is_ours()));
        // The smaller router dials, unless it has done so in vain.
        let is_out_of_reach = |(&router, peer): (&RouterId, &Peer)| {
            let calls = peer.link.as_ref().is_some_and(Link::is_ours)
                && !peer.calls_back
                && router < self.config.router;
            calls || long(peer.called_since, self.unreached_after())
        };
        if !is_called && self.peers.iter().any(is_out_of_reach) {
            return Some(Trouble::Unreached);
        }
        let is_missed = self.peers.iter().any(|(&router, peer)| {
            let own_evidence = peer.once_linked || self.dialling.is_seed_of(router);
            let others_word = !peer.told_by.is_empty();
            let counts = !peer.leaving && !peer.hidden;
            long(peer.unwell_since, patience) && counts && own_evidence && others_word
        });
        is_missed.then_some(Trouble::Unlinked)
    }

    /// Whether another process was met lately that has this router's id.
    pub(super) fn has_twin(&self) -> bool {
        is_recent(self.twin_met, self.now)
    }

    /// The time at which the standing is checked again without a change.
    pub(super) fn next_standing(&self) -> Option<Time> {
        let join = (!self.joined).then_some(self.join_deadline);
        let alone = self.alone_since.map(|since| since + self.config.sync_timeout);
        let twin = self.twin_seen.map(|at| at + TWIN_MEMORY);
        [join, alone, twin].into_iter().flatten().filter(|&at| at > self.now).min()
    }
}

/// Whether a twin was met so recently that it still counts.
fn is_recent(met: Option<Time>, now: Time) -> bool {
    met.is_some_and(|at| now < at + TWIN_MEMORY)
}
