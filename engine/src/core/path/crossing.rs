//! Runs that come from another cluster: a way of their own into the router, so that other runs pay
//! nothing for it.
//!
//! ```text
//! publish stream of who forwards ─► enter_crossed ─┬─ this core owns it ─► own_crossed
//!                                                  └─ a sibling does ─► batch with field 8 ─► own_crossed
//! ```
//!
//! The owner notes the path while it routes the run, for links to further clusters. Peers and
//! receivers are not told the path, because neither forwards the run.

use millrace_proto::ClusterId;
use millrace_proto::control::OutcomeReason;
use millrace_proto::data::{Gap, HopHeader, flag};

use super::addressed::apart;
use super::entered::Entered;
use super::fate::Fates;
use super::reader::KnownTags;
use super::state::Path;
use crate::core::metrics::DropReason;
use crate::core::run::RunOut;
use crate::forward::ClusterPath;
use crate::ledger::Tally;
use crate::matching::Location;
use crate::message::CoreIndex;

impl Path {
    /// A run enters from another cluster, on the stream of who forwards from `from`.
    #[cold]
    pub(in crate::core) fn enter_crossed(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
        from: ClusterId,
    ) {
        let path = ClusterPath::read(hop).ok().filter(|path| path.may_enter(self.clients.roll.cluster, from));
        let Some(path) = path else {
            self.metrics.drop(DropReason::ClusterPath, entered.run.body.count());
            if let Some(origin) = entered.origin {
                self.tell_dropped(origin, entered.flags, &entered.run.body, OutcomeReason::ClusterPath);
            }
            return;
        };
        self.metrics.events_from_clusters += entered.run.body.count();
        self.clients.arrivals.count(path, entered.run.body.count());
        match self.positions.shards.other_owner(tags.hash) {
            None => self.own_crossed(tags, entered, path),
            Some(owner) => self.hand_over_crossed(tags, entered, (owner, path)),
        }
    }

    /// A run with optional fields that a sibling hands over may come from another cluster. Says
    /// whether it does.
    #[cold]
    pub(in crate::core) fn take_crossed(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
    ) -> bool {
        let Some(path) = ClusterPath::read(hop).ok().filter(|path| !path.ids().is_empty()) else {
            return false;
        };
        self.metrics.events_from_siblings += entered.run.body.count();
        self.own_crossed(tags, entered, path);
        true
    }

    /// Who forwards from another cluster has let events go: all receivers of this cluster may miss
    /// some, and nobody knows which.
    #[cold]
    pub(in crate::core) fn cluster_shed(&mut self, gap: &Gap) {
        let gap = Gap { reason: gap.reason, events: 0, router: Some(self.clients.router) };
        self.receivers.gap_to_all(&gap);
        self.locations.gap_to_siblings(&gap);
        self.locations.gap_to_peers(&gap);
    }

    fn own_crossed(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, path: ClusterPath) {
        let body = &entered.run.body;
        self.clients.arrivals.route(path, entered.publisher, body.first_seq(), body.count());
        self.locations.forwards.set_crossed(path);
        self.own(tags, entered);
        self.locations.forwards.set_crossed(ClusterPath::EMPTY);
    }

    fn hand_over_crossed(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        (owner, path): (CoreIndex, ClusterPath),
    ) {
        let tag = self.intern(tags);
        let (entry, flags) = self.follow(entered);
        if let Some(entry) = entry {
            self.ledger.prolong(entry);
        }
        let mut fields = Vec::new();
        path.put(&mut fields);
        let flags = flags | flag::UNROUTED | u64::from(tags.entry_flags);
        let run = RunOut { fields: &fields, tag, entry, flags, ..apart(tags, entered) };
        let Self { locations, metrics, missed, ledger, .. } = self;
        let mut fates = Fates { metrics, missed, ledger };
        locations.copy(Location::Core(owner), &run, &mut fates);
        fates.end(&run, Tally::NONE);
    }
}
