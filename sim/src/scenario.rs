//! What a seed stands for: a cluster, its clients, their workload, and what breaks.
//!
//! Everything follows from the seed. Sizes are chosen so that limits are met often: small tables,
//! windows and queues make eviction, back-pressure and overflow the rule rather than the exception.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::session::plan::ReceiverWish;
use millrace_client::session::{ConfirmLevel, PublisherConfig};
use millrace_client::spool::{Compression, SEGMENT_BYTES_MIN, SPOOL_BYTES_MIN, SpoolConfig, SyncPolicy};
use millrace_engine::control::{ControlConfig, Rebalance};
use millrace_engine::core::{AheadLimits, CoreConfig, CoreLimits, QueueLimits, ReceivedLimits};
use millrace_engine::ledger::LedgerLimits;
use millrace_engine::routes::RouteCacheLimits;
use millrace_proto::control::{OverflowPolicy, TableCapacity};
use millrace_proto::feature::{self, Features};
use millrace_proto::{
    Epoch, Incarnation, PublisherId, PublisherKey, PublisherSecret, RouterId, Selector, TagSet,
};
use millrace_verify::checker::standby::Source;
use millrace_verify::fault::{Plan, Schedule};
use millrace_verify::workload::{Generator, Workload, WorkloadError};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::client::{AckHabit, DiskSetup, PublisherSetup, ReceiverSetup, ReceivingClient};
use crate::network::{Bug, Latency, NetworkConfig};
use crate::reading::{self, Hop, Keeping, Readers};
use crate::router_setup::RouterSetup;
use crate::standby::Sets;
use crate::{quiet, rules};

/// Faults begin and end within this time; clients have connected before.
const FAULTS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(7));
/// How long a router keeps the interest of a silent peer.
const FORGET_AFTER: Duration = Duration::from_secs(4);

/// What publishers are told of their events.
const LEVELS: [ConfirmLevel; 6] = [
    ConfirmLevel::None,
    ConfirmLevel::None,
    ConfirmLevel::Routed,
    ConfirmLevel::Routed,
    ConfirmLevel::Delivered,
    ConfirmLevel::Delivered,
];

/// How large seeds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Events that are published, at least.
    pub events: u64,
    /// Publishing clients, at least.
    pub publishers: u32,
    /// Receiving clients, at least.
    pub receiving_clients: u32,
    /// Faults, at least.
    pub faults: u32,
    /// Which seeds have routers that keep history, and receivers that read it.
    pub history: Keeping,
    /// Whether some seeds have standby sets.
    pub standby: bool,
    /// Whether a fifth of the receivers have publishers wait for them.
    pub blocking: bool,
}

impl Size {
    /// Small enough for a debug build: those of `cargo test`.
    pub const SMALL: Self = Self {
        events: 1500,
        publishers: 4,
        receiving_clients: 6,
        faults: 4,
        history: Keeping::None,
        standby: true,
        blocking: false,
    };
}

impl Default for Size {
    fn default() -> Self {
        Self {
            events: 10_000,
            publishers: 10,
            receiving_clients: 20,
            faults: 4,
            history: Keeping::None,
            standby: true,
            blocking: false,
        }
    }
}

/// A seed, spelled out.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The routers.
    pub routers: Vec<RouterSetup>,
    /// The publishing clients.
    pub publishers: Vec<PublisherSetup>,
    /// The receiving clients.
    pub receivers: Vec<ReceivingClient>,
    /// What the members of each standby set give.
    pub sources: Vec<Source>,
    /// Tag sets of all emitters.
    pub tag_sets: Vec<TagSet>,
    /// What they emit.
    pub generator: Generator,
    /// The network.
    pub network: NetworkConfig,
    /// What breaks.
    pub schedule: Schedule,
    /// What clients' readers hold.
    pub client_tables: TableCapacity,
    /// An event that its router has may be on its way for this long.
    pub settle: Duration,
    /// When the last fault has ended.
    pub faults_end: Duration,
    /// Routers give up after this time what nobody has answered for.
    pub confirm_timeout: Duration,
    /// Routers with more than a few selectors tell their peers that they want everything.
    pub may_be_coarse: bool,
    /// Some routers are of an older version, which cannot confirm.
    pub has_old_routers: bool,
    /// Clients that begin so much later than the others.
    pub late: BTreeMap<u32, Duration>,
    /// When receivers leave their routers by themselves.
    pub hops: Vec<Hop>,
}

impl Scenario {
    /// What a seed stands for.
    ///
    /// # Errors
    /// [`WorkloadError`] would be a defect of the workload's generator.
    pub fn of(seed: u64, size: Size, bug: Option<Bug>) -> Result<Self, WorkloadError> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let publishers = size.publishers + rng.random_range(0..5);
        let clients = size.receiving_clients + rng.random_range(0..7);
        let receivers: Vec<u32> = (0..clients).map(|_| rng.random_range(1..3)).collect();
        let emitters = publishers * rng.random_range(3..6);
        let receivers_in_all = receivers.iter().sum();
        let generator = Workload::random(seed, emitters, receivers_in_all * 2).generator()?;
        let mut tag_sets = generator.tag_sets();
        // Some tag sets have emitters in several places: their order is the same for all receivers.
        for emitter in (4..tag_sets.len()).step_by(4) {
            tag_sets[emitter] = tag_sets[emitter / 2].clone();
        }
        let latency = Latency {
            base: Duration::from_micros(1 << rng.random_range(5..12)),
            jitter: Duration::from_micros(1 << rng.random_range(5..13)),
            retransmit: Duration::from_millis(rng.random_range(10..120)),
        };
        let network = NetworkConfig {
            latency,
            window: 1 << rng.random_range(11..17),
            idle_timeout: Duration::from_millis(rng.random_range(1500..4000)),
            uni_first: rng.random_range(1..4),
            bug,
        };
        let confirm_timeout = Duration::from_millis(rng.random_range(2_000..5_000));
        let mut routers = routers(seed, confirm_timeout, &mut rng);
        let count = u32::try_from(routers.len()).unwrap_or(u32::MAX);
        for (router, reload) in routers.iter_mut().zip(rules::reloads(seed, count as usize)) {
            router.rules = Some(reload);
        }
        let sets = if size.standby { Sets::of(seed, &tag_sets, receivers_in_all) } else { Sets::default() };
        let schedule = Plan {
            seed: rng.random_range(0..u64::MAX),
            routers: count,
            publishers: publishers + u32::try_from(sets.members.len()).unwrap_or(0),
            receivers: receivers_in_all,
            from_ns: nanos(FAULTS.0),
            to_ns: nanos(FAULTS.1),
            count: if size.faults == 0 { 0 } else { size.faults + rng.random_range(0..4) },
        }
        .generate();
        let client_tables = tables(&mut rng, 3..9);
        let mut publishers = self::publishers(&mut rng, publishers, size.events, &tag_sets);
        let mut receivers =
            self::receivers((size.blocking, &mut rng), &receivers, confirm_timeout, &generator)?;
        quiet::quieten(seed, &tag_sets, &mut publishers, &mut receivers);
        publishers.extend(sets.members);
        let settle = schedule.faults.iter().filter_map(|item| Some(item.until_ns? - item.at_ns)).max();
        let settle = Duration::from_nanos(settle.unwrap_or(0)) + Duration::from_secs(3);
        let slack = if schedule.faults.is_empty() { Duration::from_secs(1) } else { settle };
        let mut readers = Readers::default();
        if size.history.has_history(seed) {
            reading::keep_history(seed, size.history, &mut routers);
            let first = u32::try_from(publishers.len()).unwrap_or(u32::MAX);
            readers = reading::readers(seed, first, &mut receivers, slack);
        }
        receivers.extend(sets.watchers);
        Ok(Self {
            seed,
            routers,
            publishers,
            receivers,
            sources: sets.sources,
            tag_sets,
            generator,
            network,
            schedule,
            client_tables,
            settle,
            faults_end: FAULTS.1,
            confirm_timeout,
            may_be_coarse: may_be_coarse(seed),
            has_old_routers: (0..count).any(|router| is_older(seed, router)),
            late: readers.late,
            hops: readers.hops,
        })
    }

    /// Leaves out all faults but these, by their numbers in the schedule.
    pub fn keep_faults(&mut self, numbers: &[usize]) {
        let mut number = 0;
        self.schedule.faults.retain(|_| {
            number += 1;
            numbers.contains(&(number - 1))
        });
    }

    /// Addresses of the routers.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, u32> {
        let own = self.routers.iter().map(|setup| (setup.address.clone(), setup.index));
        let others = self.routers.iter().filter(|_| has_two_addresses(self.seed));
        own.chain(others.map(|setup| (format!("also-{}", setup.address), setup.index))).collect()
    }
}

/// In some seeds every router is known under a second address, too, which it does not advertise.
const fn has_two_addresses(seed: u64) -> bool {
    seed % 7 == 5
}

/// In every tenth seed, from 3 on, routers tell their peers so few selectors that they come to tell
/// them everything instead, and their selectors again, as receivers come and go.
const fn may_be_coarse(seed: u64) -> bool {
    seed % 10 == 3
}

/// Every other router of every other seed is of an older version: it lists fewer features, and does
/// without them.
const fn is_older(seed: u64, router: u32) -> bool {
    seed.is_multiple_of(2) && router % 2 == 1
}

fn routers(seed: u64, confirm_timeout: Duration, rng: &mut Pcg64Mcg) -> Vec<RouterSetup> {
    let lane_tables = tables(rng, 3..9);
    let core = |rng: &mut Pcg64Mcg, id, cores, seed| {
        let client_tables = tables(rng, 2..8);
        let link_queue_bytes = 1 << rng.random_range(15..21);
        let out_bytes = 1 << rng.random_range(10..17);
        let limits = CoreLimits {
            link_queue_bytes,
            ahead: AheadLimits { bytes_min: 1 << 10, ..AheadLimits::default() },
            credit_bytes: 1 << rng.random_range(12..20),
            received: ReceivedLimits {
                // So short that it happens between the faults of a run.
                quench_after: Duration::from_millis(50_u64 << (seed % 4)),
                ..ReceivedLimits::default()
            },
            read_bytes: 1 << rng.random_range(10..17),
            queues: QueueLimits { bytes_default: 1 << rng.random_range(14..20), ..QueueLimits::default() },
            ledger: LedgerLimits { timeout: confirm_timeout, ..LedgerLimits::default() },
            ..CoreLimits::default()
        };
        let routes =
            RouteCacheLimits { entries: 1 << rng.random_range(3..10), bytes: 1 << rng.random_range(14..24) };
        CoreConfig {
            seed,
            client_tables,
            lane_tables,
            out_bytes,
            routes,
            limits,
            ..CoreConfig::new(id, Incarnation(0), 0, cores)
        }
    };
    (0..rng.random_range(3..6))
        .map(|index| {
            let id = RouterId(rng.random_range(1..1 << 40));
            let address = format!("router-{index}:7400");
            let cores = rng.random_range(2..4);
            let is_older = is_older(seed, index);
            let is_coarse = may_be_coarse(seed);
            let seed = rng.random_range(0..u64::MAX);
            let mut control = ControlConfig {
                forget_after: FORGET_AFTER,
                // Clients stay where faults have put them; evening out has tests of its own.
                rebalance: Rebalance::Off,
                redial_max: Duration::from_secs(1),
                digest_every: Duration::from_secs(1),
                tables: lane_tables,
                seed,
                ..ControlConfig::new(id, Incarnation(0), address.clone(), cores)
            };
            let mut core = core(rng, id, cores, seed);
            if is_coarse {
                control.interest_told_max = 8 << (index % 3);
            }
            if is_older {
                core.features = Features::default().with(feature::PROOF);
                control.features = Features::default();
            }
            let mail_delay = Duration::from_micros(1 << rng.random_range(4..11));
            RouterSetup { index, id, address, core, control, rules: None, disk: None, mail_delay }
        })
        .collect()
}

fn publishers(rng: &mut Pcg64Mcg, count: u32, events: u64, tag_sets: &[TagSet]) -> Vec<PublisherSetup> {
    let each = events.div_ceil(u64::from(count.max(1)));
    (0..count)
        .map(|number| {
            let emitters = (number..)
                .step_by(count as usize)
                .zip(tag_sets.iter().skip(number as usize).step_by(count as usize));
            let level = LEVELS[rng.random_range(0..LEVELS.len())];
            let secret = level.is_confirmed().then(|| secret(number));
            let publisher = secret.map_or(PublisherId(u128::from(number) + 1), |secret| {
                // Nobody has an identity here.
                PublisherId::derive(&secret, "", 0)
            });
            // What is kept until its outcome has come needs more room.
            let buffer_log2 = if level.is_confirmed() { 16..20 } else { 14..18 };
            let config = PublisherConfig {
                linger_ns: [0, 1_000_000, 5_000_000][rng.random_range(0..3)],
                buffer_bytes: 1 << rng.random_range(buffer_log2),
                level,
                min_receivers: [0, 0, 1, 3][rng.random_range(0..4)],
                ..PublisherConfig::new(PublisherKey { publisher, epoch: Epoch(1) })
            };
            let disk = (level.is_confirmed() && rng.random_range(0..2) == 0).then(|| disk(rng));
            let emitters = emitters.map(|(emitter, tags)| (emitter, tags.clone())).collect();
            // Every other publisher can wait.
            let received_within = (number % 2 == 1).then_some(Duration::from_millis(300));
            let burst = rng.random_range(4..16);
            PublisherSetup {
                config,
                received_within,
                secret,
                disk,
                emitters,
                events: each,
                burst,
                source: None,
            }
        })
        .collect()
}

fn secret(publisher: u32) -> PublisherSecret {
    let mut bytes = [0x5e; 32];
    bytes[..4].copy_from_slice(&publisher.to_le_bytes());
    PublisherSecret(bytes)
}

/// A disk whose segments are as small as can be, so that there are many.
fn disk(rng: &mut Pcg64Mcg) -> DiskSetup {
    let interval = SyncPolicy::Interval(Duration::from_millis(rng.random_range(1..100)));
    let sync = [SyncPolicy::EachBatch, interval, interval, SyncPolicy::Never][rng.random_range(0..4)];
    let total = [2 << 20, 64 << 20][rng.random_range(0..2)];
    let seed = rng.random_range(0..u64::MAX);
    DiskSetup {
        spool: SpoolConfig {
            max_bytes: SPOOL_BYTES_MIN,
            free_percent: 0,
            sync,
            segment_bytes: Some(SEGMENT_BYTES_MIN),
            compression: if seed & 1 == 0 { Compression::None } else { Compression::Zstd },
            ..SpoolConfig::default()
        },
        total,
        seed,
        sync_delay: Duration::from_micros(rng.random_range(100..10_000)),
    }
}

fn receivers(
    (blocking, rng): (bool, &mut Pcg64Mcg),
    clients: &[u32],
    confirm_timeout: Duration,
    generator: &Generator,
) -> Result<Vec<ReceivingClient>, WorkloadError> {
    let wants = |receiver| -> Result<Vec<Vec<Selector>>, WorkloadError> {
        Ok(generator
            .subscriptions(receiver)?
            .into_iter()
            .map(|subscription| subscription.selectors)
            .collect())
    };
    let in_all: u32 = clients.iter().sum();
    let mut next = 0;
    // Events match many receivers, and one that is slow spoils the outcome: most clusters have
    // none.
    let has_slow = rng.random_range(0..3) == 0;
    let has_mute = rng.random_range(0..4) == 0;
    let mut result = Vec::with_capacity(clients.len());
    for &count in clients {
        let mut setups = Vec::new();
        for number in next..next + count {
            let policy = match rng.random_range(0..10) {
                0..7 => OverflowPolicy::DropOldest,
                7..9 if blocking => OverflowPolicy::Block,
                7..9 => OverflowPolicy::DropNewest,
                _ => OverflowPolicy::Disconnect,
            };
            let wish = ReceiverWish {
                policy,
                queue_bytes: [0, 8 * 1024, 64 * 1024, 1 << 20][rng.random_range(0..4)],
                linger_us: [0, 0, 0, 20_000, 100_000][rng.random_range(0..5)],
                ..ReceiverWish::default()
            };
            setups.push(ReceiverSetup {
                number,
                wish,
                window_bytes: 1 << rng.random_range(12..18),
                acks: match rng.random_range(0..60) {
                    0 if has_slow => AckHabit::Never,
                    1..4 if has_slow => AckHabit::Late(confirm_timeout * 2),
                    0..40 => AckHabit::AtOnce,
                    _ => AckHabit::Explicit,
                },
                first: wants(number)?,
                pool: wants(number + in_all)?,
                past: None,
                watches: None,
            });
        }
        next += count;
        let confirms = !has_mute || rng.random_range(0..10) > 0;
        result.push(ReceivingClient { receivers: setups, confirms });
    }
    Ok(result)
}

fn tables(rng: &mut Pcg64Mcg, log2: std::ops::Range<u32>) -> TableCapacity {
    let tag_sets = 1 << rng.random_range(log2);
    TableCapacity { tag_sets, tag_bytes: tag_sets * 64, publishers: 1 << rng.random_range(1..5) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_other_seed_has_routers_of_two_feature_sets() {
        for seed in 1..9 {
            let scenario = Scenario::of(seed, Size::default(), None).unwrap();
            let sets: BTreeSet<_> = scenario
                .routers
                .iter()
                .map(|setup| {
                    let features = setup.core.features.iter().chain(setup.control.features.iter());
                    features.collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(sets.len(), if seed % 2 == 0 { 2 } else { 1 }, "seed {seed}: {sets:?}");
        }
    }
}
