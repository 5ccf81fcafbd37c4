//! Which clusters keep history, and which receivers read it.
//!
//! Every sixth seed has routers that keep what they have routed, in rings so small that much of it
//! is evicted while it is wanted. All of them do: a receiver that was at one without history in
//! between gets again what came there, because nothing tells it positions. A third of its receiving
//! clients come late and ask for what was, or begin with a cursor that they save; they leave their
//! routers now and then, some by ending their program, which may be away for seconds. Half of these
//! clusters keep their history in files, too, so that a router which begins anew still has it.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_engine::history::HistoryLimits;
use millrace_proto::control::OverflowPolicy;
use millrace_proto::feature;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::client::{PastWish, ReceivingClient};
use crate::files::Disk;
use crate::router_setup::RouterSetup;

/// Keeps these draws apart from those of the rest of a seed.
const APART: u64 = 0x5057_4a11;
/// One client of so many reads the past.
const EVERY: usize = 3;
/// How long a program that reads the past is away, at most, milliseconds: routers end meanwhile,
/// and are back.
const AWAY_MAX_MS: u64 = 3_500;
/// Subscriptions of a receiver that reads the past, at most.
const SUBSCRIPTIONS_MAX: usize = 2;

/// A receiver leaves its router by itself.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// Its client.
    pub client: u32,
    /// When.
    pub at: Duration,
    /// Its program ends, and begins again so much later with the cursors that it has saved.
    pub away: Option<Duration>,
}

/// What the clients do that read the past.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    /// So much later than others they begin.
    pub late: BTreeMap<u32, Duration>,
    /// When they leave their routers.
    pub hops: Vec<Hop>,
}

/// Which seeds have routers that keep history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Keeping {
    /// No seed.
    None,
    /// Every sixth seed, from 3 on; every other of them in files, too.
    Some,
    /// All seeds, half of them in files, too.
    All,
}

impl Keeping {
    /// Whether the routers of a seed keep history.
    #[must_use]
    pub const fn has_history(self, seed: u64) -> bool {
        match self {
            Self::None => false,
            Self::Some => seed % 6 == 3,
            Self::All => true,
        }
    }

    /// Whether they keep it in files, too: half of them do, with and without older routers, sets
    /// and links.
    const fn has_files(self, seed: u64) -> bool {
        self.has_history(seed) && (seed / 6).is_multiple_of(2)
    }
}

/// Has all routers keep history.
pub fn keep_history(seed: u64, keeping: Keeping, routers: &mut [RouterSetup]) {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ APART);
    for router in routers {
        router.core.limits.kept.history = HistoryLimits {
            bytes: HistoryLimits::BYTES_MIN << rng.random_range(0..4),
            age: Duration::from_secs(rng.random_range(3..30)),
        };
        router.core.features = router.core.features.with(feature::HISTORY);
        router.control.features = router.control.features.with(feature::HISTORY);
        if keeping.has_files(seed) {
            router.disk = Some(Disk::default());
            router.control.features = router.control.features.with(feature::FILES);
        }
    }
}

/// Has some of the receiving clients read the past; the first of them is client `first`.
pub fn readers(seed: u64, first: u32, clients: &mut [ReceivingClient], slack: Duration) -> Readers {
    let mut rng = Pcg64Mcg::seed_from_u64(!seed ^ APART);
    let mut readers = Readers::default();
    for (client, receiving) in (first..).zip(clients).skip(1).step_by(EVERY) {
        for setup in &mut receiving.receivers {
            let since =
                (rng.random_range(0..3) > 0).then(|| Duration::from_millis(rng.random_range(1_000..10_000)));
            setup.past = Some(PastWish { since, slack });
            setup.pool.clear();
            setup.first.truncate(rng.random_range(1..=SUBSCRIPTIONS_MAX));
            // What its own queue drops excuses everything.
            setup.wish.policy = OverflowPolicy::DropOldest;
            setup.wish.queue_bytes = 1 << 20;
        }
        if rng.random_range(0..4) > 0 {
            readers.late.insert(client, Duration::from_millis(rng.random_range(500..6_000)));
        }
        for _ in 0..rng.random_range(0..4) {
            let at = Duration::from_micros(rng.random_range(2_000_000..7_400_000));
            let away = (rng.random_range(0..2) == 0).then(|| match rng.random_range(0..2) {
                0 => Duration::ZERO,
                _ => Duration::from_millis(rng.random_range(100..AWAY_MAX_MS)),
            });
            readers.hops.push(Hop { client, at, away });
        }
    }
    readers
}
