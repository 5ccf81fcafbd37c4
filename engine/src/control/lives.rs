//! What control notes and tells of lives of routers that have ended (`ended.rs`).

use std::time::Duration;

use millrace_proto::mesh::{EndedLife, KnownPeer};
use millrace_proto::{Incarnation, RouterId, feature};

use super::ended::LATER;
use super::machine::Control;
use crate::time::Time;

impl Control {
    /// A life of a peer has ended, and with it the history that it kept.
    pub(super) fn life_ended(&mut self, router: RouterId, life: Incarnation) {
        if self.config.features.contains(feature::HISTORY)
            && self.ended.note(router, life, self.now, Duration::ZERO)
        {
            self.gossip_changed = true;
            self.mesh_changed = true;
        }
    }

    /// A peer lives, in this life. What it keeps in files it has, whatever ended.
    pub(super) fn life_goes_on(&mut self, router: RouterId, life: Incarnation, has_files: bool) {
        if self.ended.get(router).is_some_and(|(ended, _)| ended == life || has_files) {
            self.ended.forget(router);
            self.mesh_changed = true;
        }
    }

    /// A peer tells of a life that has ended.
    pub(super) fn life_told(&mut self, router: RouterId, ended: EndedLife) {
        let EndedLife { incarnation, ago_us } = ended;
        let (present, has_files) = if router == self.config.router {
            (Some(self.config.incarnation), self.config.features.contains(feature::FILES))
        } else {
            self.peers.get(&router).map_or((None, false), |peer| (peer.incarnation, peer.has_files))
        };
        if !self.config.features.contains(feature::HISTORY) || has_files || present == Some(incarnation) {
            return;
        }
        let at = Time::from_nanos(self.now.as_nanos().saturating_sub(ago_us.saturating_mul(1000)));
        self.gossip_changed |= self.ended.note(router, incarnation, at, LATER);
    }

    /// The last life of a router that has ended, as a peer is told of it.
    pub(super) fn ended_life(&self, router: RouterId) -> Option<EndedLife> {
        let (incarnation, at) = self.ended.get(router)?;
        let ago_us = u64::try_from(self.now.since(at).as_micros()).unwrap_or(u64::MAX);
        Some(EndedLife { incarnation, ago_us: ago_us.min(millrace_proto::varint::MAX) })
    }

    /// Routers that are gone, for a peer that is told of `known` already.
    pub(super) fn gone_routers(&self, known: &[KnownPeer]) -> Vec<KnownPeer> {
        let is_told = |router| known.iter().any(|known| known.router == router);
        let gone = self.ended.iter().map(|(router, _)| router);
        gone.filter(|&router| router != self.config.router && !is_told(router))
            .map(|router| {
                let ended = self.ended_life(router);
                KnownPeer { router, advertise: String::new(), linked: false, ended }
            })
            .collect()
    }
}
