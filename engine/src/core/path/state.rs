//! What the stages of the path share.

use millrace_proto::RouterId;
use millrace_proto::data::{Gap, GapReason};

use super::fate::{Answers, Missed};
use super::locations::Locations;
use super::shards::OwnShards;
use super::sift::Sift;
use crate::core::account::Accounts;
use crate::core::config::CoreConfig;
use crate::core::holds::Holds;
use crate::core::ids::Ids;
use crate::core::metrics::CoreMetrics;
use crate::core::pacing::Crowd;
use crate::core::receivers::Receivers;
use crate::ledger::Ledger;
use crate::matching::{Index, LocalTarget, Taker};
use crate::payload::ScanBudget;
use crate::routes::RouteCache;

/// Everything that a run may touch on its way.
#[derive(Debug)]
pub(in crate::core) struct Path {
    pub(super) shards: OwnShards,
    pub(in crate::core) routes: RouteCache,
    /// Steps of lookups before this turn.
    pub(super) lookups_before: u64,
    /// Who wants what: sibling cores and peers.
    pub(in crate::core) directory: Index<Taker>,
    /// Who wants what: receivers of this core.
    pub(in crate::core) local: Index<LocalTarget>,
    pub(in crate::core) locations: Locations,
    /// Which of them a payload keeps away.
    pub(in crate::core) sift: Sift,
    pub(in crate::core) receivers: Receivers,
    pub(in crate::core) metrics: CoreMetrics,
    pub(in crate::core) missed: Missed,
    /// What becomes of the runs whose publishers want to be told.
    pub(in crate::core) ledger: Ledger,
    /// What siblings are to be told of runs that they have handed over.
    pub(in crate::core) answers: Answers,
    pub(in crate::core) pacing: Pacing,
    pub(in crate::core) clients: Clients,
    /// What is left of the turn for scans of payloads, and who waits for them.
    pub(in crate::core) scans: ScanBudget,
    pub(super) scratch: Scratch,
}

/// Which publishers wait for which receivers.
#[derive(Debug)]
pub(in crate::core) struct Pacing {
    /// Whom the runs read last have crowded.
    pub(in crate::core) crowd: Crowd,
    /// Publishers that are held back for receivers on other cores.
    pub(in crate::core) holds: Holds,
}

/// What the clients of this core are, and may take.
#[derive(Debug)]
pub(in crate::core) struct Clients {
    /// What their selectors take.
    pub(in crate::core) accounts: Accounts,
    /// Makes the secrets of those that show none.
    pub(in crate::core) ids: Ids,
    /// Selectors that were filed in the local index or taken out of it.
    pub(in crate::core) selectors_moved: u64,
    /// What the queues of receivers may hold together.
    pub(in crate::core) queue_budget_bytes: u64,
}

/// Memory that is used again for each run.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Optional fields of the hop header.
    pub(super) fields: Vec<u8>,
    /// Targets of a run on a shared stream.
    pub(super) targets: Vec<u8>,
}

impl Path {
    pub(in crate::core) fn new(config: &CoreConfig) -> Self {
        Self {
            shards: OwnShards::new(config.core, config.cores),
            routes: RouteCache::new(config.routes),
            lookups_before: 0,
            directory: Index::new(config.seed),
            local: Index::new(config.seed),
            locations: Locations::new(config),
            sift: Sift::default(),
            receivers: Receivers::default(),
            metrics: CoreMetrics::default(),
            missed: Missed::new(config.cores),
            ledger: Ledger::new(config.limits.ledger),
            answers: Answers::new(config.cores),
            pacing: Pacing { crowd: Crowd::default(), holds: Holds::new(config) },
            clients: Clients {
                accounts: Accounts::default(),
                ids: Ids::new(config),
                selectors_moved: 0,
                queue_budget_bytes: config.limits.queues.budget_bytes,
            },
            scans: ScanBudget::new(config.limits.scans),
            scratch: Scratch::default(),
        }
    }

    /// Position that the next run of this core's shards will get.
    pub(in crate::core) const fn position(&self) -> u64 {
        self.shards.position
    }

    /// What entered through a router, and reached this one on a lane of this core, may be missing
    /// from here on: said on every core behind the lane's runs.
    pub(in crate::core) fn router_lost(&mut self, router: RouterId) {
        let gap = Gap { reason: GapReason::RouterLost, events: 0, router: Some(router) };
        self.receivers.gap_to_all(&gap);
        self.locations.gap_to_siblings(&gap);
    }
}
