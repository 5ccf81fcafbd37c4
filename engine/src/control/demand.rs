//! What this cluster wants, for those who forward to it: told to the cores that serve such, a
//! moment after each change.
//!
//! It is coarse: selectors of tags alone, and beyond a bound everything. Links of this router to
//! further clusters count with what their rule selects, and not with what those clusters want at
//! the moment, because two clusters that forward to each other would otherwise keep each other's
//! demand alive for ever.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::tag::INTERNAL_KEY;
use millrace_proto::{Selector, feature};

use super::machine::Control;
use crate::forward::ClusterDemand;
use crate::message::{CoreIndex, ToCore};
use crate::time::Time;

/// Shortest time between two pictures.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Selectors that are told, at most.
const TOLD_MAX: usize = 1024;

impl Control {
    /// A core serves somebody who forwards.
    pub(super) fn demand_asked(&mut self, core: CoreIndex) {
        self.demand.asked.insert(core);
        self.demand.changed = true;
    }

    /// When cores are told next.
    pub(super) fn demand_at(&self) -> Option<Time> {
        let is_due = self.demand.changed && self.synced && !self.demand.asked.is_empty();
        // Whoever is told sends at once: cores are to know where.
        is_due.then(|| self.publish_at().map_or(self.demand.from, |at| at.max(self.demand.from)))
    }

    /// Tells cores, if it is time.
    pub(super) fn demand_due(&mut self) {
        if self.demand_at().is_none_or(|at| at > self.now) {
            return;
        }
        self.demand.changed = false;
        self.demand.from = self.now + TELL_EVERY;
        self.demand.version += 1;
        let version = self.demand.version;
        let demand =
            Arc::new(ClusterDemand { version, here: self.wanted_here(), links: self.links.selects() });
        for core in self.demand.asked.clone() {
            self.give(core, ToCore::Demand(Arc::clone(&demand)));
        }
    }

    /// What receivers of the cluster want; none: everything.
    fn wanted_here(&self) -> Option<Vec<String>> {
        // What is kept is wanted by whoever asks for it later.
        if self.config.features.contains(feature::HISTORY) {
            return None;
        }
        let own = self.own.entries().map(|(_, selector)| selector);
        let peers = self.peers.values().flat_map(|peer| peer.interest.selectors());
        let crosses = |selector: &&Selector| selector.claim().is_none() && !selector.requires(INTERNAL_KEY);
        let mut wanted = BTreeSet::new();
        for selector in own.chain(peers).filter(crosses) {
            wanted.insert(selector.without_payload().text().to_owned());
            if wanted.len() > TOLD_MAX {
                return None;
            }
        }
        Some(wanted.into_iter().collect())
    }
}
