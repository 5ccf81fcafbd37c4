//! What a core has for links to other clusters, and what came from such.

use std::sync::Arc;

use super::machine::Core;
use crate::forward::{Arrived, ClusterDemand, ClusterPath, Handed};
use crate::time::Time;
use crate::transport::Transport;

impl Core {
    /// Takes what waits for one of the links; call until `None` at the end of a turn. What is left
    /// waits, and what exceeds 8 MiB is dropped and counted for its link.
    pub fn take_handed(&mut self) -> Option<Handed> {
        self.path.locations.forwards.take()
    }

    /// Takes back what the driver had no room for.
    pub fn take_back(&mut self, handed: Handed) {
        self.path.locations.forwards.take_back(handed);
    }

    /// This cluster wants something else than before: those who forward to it are told.
    pub(super) fn demand_changed(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        demand: Arc<ClusterDemand>,
    ) {
        self.drive_clients(now, transport, |client, turn| client.tell_demand(turn, &demand));
        self.standing.demand = Some(demand);
    }

    /// Whether something waits for a link.
    #[must_use]
    pub fn has_handed(&self) -> bool {
        !self.path.locations.forwards.is_empty()
    }

    /// What came from other clusters, by the path on which it came. Two paths from one cluster
    /// bring each event twice, and receivers remove the second copy.
    pub fn arrivals(&self) -> impl Iterator<Item = (ClusterPath, Arrived)> + '_ {
        self.path.clients.arrivals.by_path().iter().map(|(&path, &arrived)| (path, arrived))
    }
}
