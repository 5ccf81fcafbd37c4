//! What the stages of the path share.

use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::data::{Gap, GapReason};

use super::arrivals::Arrivals;
use super::fate::{Answers, Missed};
use super::gathered::Targets;
use super::locations::Locations;
use super::new_tags::NewTagSets;
use super::positions::Positions;
use super::sift::Sift;
use crate::core::account::Accounts;
use crate::core::barrier::Barriers;
use crate::core::config::CoreConfig;
use crate::core::demand::Demand;
use crate::core::group_run::GroupRun;
use crate::core::holds::Holds;
use crate::core::hot::HotPicture;
use crate::core::ids::Ids;
use crate::core::members::Members;
use crate::core::metrics::CoreMetrics;
use crate::core::names::Names;
use crate::core::pacing::Crowd;
use crate::core::receivers::Receivers;
use crate::core::stalls::Stalls;
use crate::groups::Groups;
use crate::ledger::Ledger;
use crate::matching::{Index, LocalTarget, Taker};
use crate::names::Directs;
use crate::payload::ScanBudget;
use crate::requests::Requests;
use crate::rights::Roll;
use crate::routes::RouteCache;
use crate::standby::Fences;

/// Everything that a run may touch on its way.
#[derive(Debug)]
pub(in crate::core) struct Path {
    pub(in crate::core) positions: Positions,
    pub(in crate::core) routes: RouteCache,
    /// Which sibling cores and peers want which events.
    pub(in crate::core) directory: Index<Taker>,
    /// Which receivers of this core want which events.
    pub(in crate::core) local: Index<LocalTarget>,
    pub(in crate::core) locations: Locations,
    /// Filters of payloads for siblings and peers.
    pub(in crate::core) sift: Sift,
    pub(in crate::core) receivers: Receivers,
    pub(in crate::core) metrics: CoreMetrics,
    pub(in crate::core) missed: Missed,
    /// Entries of runs whose publishers ask how they end.
    pub(in crate::core) ledger: Ledger,
    /// Answers for siblings about runs that they have handed over.
    pub(in crate::core) answers: Answers,
    pub(in crate::core) pacing: Pacing,
    /// The groups that runs of this core's shards are given to.
    pub(in crate::core) groups: Groups<GroupRun>,
    pub(in crate::core) clients: Clients,
    /// The turn's budget for scans of payloads, and the receivers that wait for it.
    pub(in crate::core) scans: ScanBudget,
    pub(super) scratch: Scratch,
}

/// Which publishers wait for which receivers, and what receivers cost that take nothing.
#[derive(Debug)]
pub(in crate::core) struct Pacing {
    /// The receiver that the runs read last have crowded.
    pub(in crate::core) crowd: Crowd,
    /// Publishers that are held back for receivers on other cores.
    pub(in crate::core) holds: Holds,
    /// What was copied for receivers that take nothing.
    pub(in crate::core) stalls: Stalls,
    /// What new tag sets may cost, for which publishers wait.
    pub(in crate::core) new_tag_sets: NewTagSets,
}

/// Accounts and ids of the clients of this core, their members of groups, names and requests.
#[derive(Debug)]
pub(in crate::core) struct Clients {
    /// Charges for their selectors.
    pub(in crate::core) accounts: Accounts,
    /// Makes secrets for clients that show none.
    pub(in crate::core) ids: Ids,
    /// Selectors that were filed in the local index or taken out of it.
    pub(in crate::core) selectors_moved: u64,
    /// Most bytes that the queues of receivers hold together.
    pub(in crate::core) queue_budget_bytes: u64,
    /// The members of groups that are receivers of this core.
    pub(in crate::core) members: Members,
    /// Receivers that wait until everything that was routed before a moment has arrived.
    pub(in crate::core) barriers: Barriers,
    /// Publishers that were told that nobody wants their events, and who waits for them.
    pub(in crate::core) demand: Demand,
    /// Who may do what.
    pub(in crate::core) roll: Arc<Roll>,
    /// This router.
    pub(in crate::core) router: RouterId,
    /// Who holds which name.
    pub(in crate::core) names: Names,
    /// Runs with recipients, whose publishers ask how they end.
    pub(in crate::core) directs: Directs,
    /// Requests that wait for replies.
    pub(in crate::core) requests: Requests,
    /// Who holds which set of standby publishers.
    pub(in crate::core) fences: Fences,
    /// What has come from other clusters.
    pub(in crate::core) arrivals: Arrivals,
}

/// Memory that each run uses again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Optional fields of the hop header.
    pub(super) fields: Vec<u8>,
    /// Targets of a run on shared streams.
    pub(super) targets: Targets,
}

impl Path {
    pub(in crate::core) fn new(config: &CoreConfig) -> Self {
        Self {
            positions: Positions::new(config),
            routes: RouteCache::new(config.routes),
            directory: Index::new(config.seed),
            local: Index::new(config.seed),
            locations: Locations::new(config),
            sift: Sift::default(),
            receivers: Receivers::default(),
            metrics: CoreMetrics::default(),
            missed: Missed::new(config.cores),
            ledger: Ledger::new(config.limits.ledger),
            answers: Answers::new(config.cores),
            pacing: Pacing {
                crowd: Crowd::default(),
                holds: Holds::new(config),
                stalls: Stalls::new(config.limits.queues.stalled_copies_per_second),
                new_tag_sets: NewTagSets::new(),
            },
            groups: Groups::new(config.limits.kept.groups),
            clients: Clients {
                accounts: Accounts::default(),
                ids: Ids::new(config),
                selectors_moved: 0,
                queue_budget_bytes: config.limits.queues.budget_bytes,
                members: Members::new(config),
                barriers: Barriers::new(config.core, config.cores),
                demand: Demand::default(),
                roll: Arc::default(),
                router: config.router,
                names: Names::new(config),
                directs: Directs::default(),
                requests: Requests::new(config.secret, config.router, config.core, config.cores),
                fences: Fences::default(),
                arrivals: Arrivals::default(),
            },
            scans: ScanBudget::new(config.limits.scans),
            scratch: Scratch::default(),
        }
    }

    /// Position of the next run of this core's shards.
    pub(in crate::core) const fn position(&self) -> u64 {
        self.positions.shards.position
    }

    /// Position behind the last run that a client may want: what comes before it may be missed by
    /// whoever is new. Runs of routers' canaries are nothing that a receiver misses.
    pub(in crate::core) const fn public_position(&self) -> u64 {
        self.positions.shards.public
    }

    /// Which tags and shards most of this core's events have.
    pub(in crate::core) fn hot(&self) -> HotPicture {
        self.positions.shards.hot()
    }

    /// Tells receivers on every core, behind the lane's runs, that events may be missing which
    /// entered through a router and came on a lane of this core.
    pub(in crate::core) fn router_lost(&mut self, router: RouterId) {
        let gap = Gap { reason: GapReason::RouterLost, events: 0, router: Some(router) };
        self.receivers.gap_to_all(&gap);
        self.locations.gap_to_siblings(&gap);
    }
}
