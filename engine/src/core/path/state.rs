//! What the stages of the path share.

use millrace_proto::PublisherKey;

use super::fate::Missed;
use super::locations::Locations;
use super::owner::Owner;
use super::reader::RunIn;
use crate::core::account::Accounts;
use crate::core::config::CoreConfig;
use crate::core::ids::Ids;
use crate::core::metrics::CoreMetrics;
use crate::core::pacing::Crowd;
use crate::core::receivers::Receivers;
use crate::matching::{Index, LocalTarget, Location};
use crate::message::CoreIndex;
use crate::payload::ScanBudget;
use crate::routes::RouteCache;

/// How far a run may still go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Scope {
    /// Anywhere: its owner routes it.
    All,
    /// Anywhere within this router: it came from a peer, so that it goes to no peer. One hop, no loops.
    Router,
    /// To this core's sessions: a sibling has routed it.
    Core,
}

/// A run as it enters a stage.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Entered<'a> {
    pub(in crate::core) publisher: PublisherKey,
    pub(in crate::core) flags: u64,
    pub(in crate::core) run: &'a RunIn<'a>,
    /// The sibling core that handed it over.
    pub(in crate::core) from: Option<CoreIndex>,
}

/// Everything that a run may touch on its way.
#[derive(Debug)]
pub(in crate::core) struct Path {
    pub(super) owner: Owner,
    pub(in crate::core) routes: RouteCache,
    /// Who wants what: sibling cores and peers.
    pub(in crate::core) directory: Index<Location>,
    /// Who wants what: receivers of this core.
    pub(in crate::core) local: Index<LocalTarget>,
    pub(in crate::core) locations: Locations,
    pub(in crate::core) receivers: Receivers,
    pub(in crate::core) metrics: CoreMetrics,
    pub(in crate::core) missed: Missed,
    /// Whom the runs read last have crowded.
    pub(in crate::core) crowd: Crowd,
    /// Selectors that were filed in the local index or taken out of it.
    pub(in crate::core) selectors_moved: u64,
    /// What the queues of receivers may hold together.
    pub(in crate::core) queue_budget_bytes: u64,
    /// What clients' selectors take.
    pub(in crate::core) accounts: Accounts,
    /// Makes the secrets of clients that show none.
    pub(in crate::core) ids: Ids,
    /// What is left of the turn for scans of payloads, and who waits for them.
    pub(in crate::core) scans: ScanBudget,
    pub(super) scratch: Scratch,
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
            owner: Owner::new(config.core, config.cores),
            routes: RouteCache::new(config.routes),
            directory: Index::new(config.seed),
            local: Index::new(config.seed),
            locations: Locations::new(config),
            receivers: Receivers::default(),
            metrics: CoreMetrics::default(),
            missed: Missed::new(config.cores),
            crowd: Crowd::default(),
            selectors_moved: 0,
            queue_budget_bytes: config.limits.queue_budget_bytes,
            accounts: Accounts::default(),
            ids: Ids::new(config),
            scans: ScanBudget::new(config.limits.scans),
            scratch: Scratch::default(),
        }
    }

    /// Position that the next run of this core's shards will get.
    pub(in crate::core) const fn position(&self) -> u64 {
        self.owner.position
    }
}
