//! Setting up: connections and subscriptions come about, and what they take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::bench::{Bench, LOOK_EVERY};
use super::error::RunError;
use crate::cluster::Home;
use millrace_measure::kernel;

/// How long nothing may become established before the set-up has failed.
const STUCK_MAX: Duration = Duration::from_secs(40);
/// How long all connections and subscriptions may take, the first thousands.
const SETUP_MAX: Duration = Duration::from_secs(120);
/// So many more are allowed another second.
const CONNECTIONS_PER_SECOND_MIN: u64 = 200;
/// How long nobody may answer at all. What that means is said within 5 s, with starting and ending.
const SILENT_MAX: Duration = Duration::from_millis(4500);
/// Rates and estimates are of this long.
const WINDOW: Duration = Duration::from_secs(5);

/// What was set up.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SetUp {
    /// Connections held.
    pub connections: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Connections that were lost or refused meanwhile, and dialled again.
    pub redials: u64,
    /// Resident memory before the first connection: of the router processes, or of this process
    /// with embedded ones.
    pub resident_before_bytes: u64,
    /// The same with all connections and subscriptions.
    pub resident_after_bytes: u64,
    /// Whether these are of the routers alone.
    pub is_of_routers_alone: bool,
}

impl SetUp {
    /// Memory per connection; of both ends, where routers are embedded.
    #[must_use]
    pub fn bytes_per_connection(&self) -> f64 {
        self.bytes_per_connection_of(self.resident_after_bytes)
    }

    /// Memory per connection when so much is resident.
    #[must_use]
    pub fn bytes_per_connection_of(&self, resident_bytes: u64) -> f64 {
        resident_bytes.saturating_sub(self.resident_before_bytes) as f64 / self.connections.max(1) as f64
    }
}

/// Resident memory of the routers, or of this process where it holds them.
pub(super) fn resident(bench: &Bench<'_>) -> u64 {
    bench.cluster.usage().resident_bytes.unwrap_or_else(kernel::resident_bytes)
}

/// How fast things become established.
struct Pace {
    /// Times and counts, oldest first, of the last seconds.
    looks: VecDeque<(Instant, u64)>,
    moved_at: Instant,
}

impl Pace {
    fn note(&mut self, now: Instant, count: u64) {
        if self.looks.back().is_none_or(|&(_, last)| last != count) {
            self.moved_at = now;
        }
        self.looks.push_back((now, count));
        while self.looks.front().is_some_and(|&(at, _)| now - at > WINDOW) {
            self.looks.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let (Some(&(from, first)), Some(&(to, last))) = (self.looks.front(), self.looks.back()) else {
            return 0.0;
        };
        last.saturating_sub(first) as f64 / (to - from).as_secs_f64().max(0.1)
    }
}

/// Nobody has answered: who was asked, and what came back instead, if anything did.
fn silent(bench: &Bench<'_>, after: Duration) -> RunError {
    let addresses: Vec<_> = bench.cluster.targets().iter().map(|target| target.address.to_string()).collect();
    let reason = match bench.fleet.losses.last() {
        Some(reason) => reason.clone(),
        None => "nothing answered; is a router running there, and does UDP reach it?".to_owned(),
    };
    RunError::Silent { addresses: addresses.join(", "), after_s: after.as_secs_f64(), reason }
}

/// Waits until everything is connected and subscribed. `before` is the memory before that.
pub(super) fn set_up(bench: &mut Bench<'_>, before: u64) -> Result<SetUp, RunError> {
    let connections = bench.scenario.connections();
    let limit = SETUP_MAX + Duration::from_secs(connections / CONNECTIONS_PER_SECOND_MIN);
    let begun = Instant::now();
    let mut pace = Pace { looks: VecDeque::new(), moved_at: begun };
    let redials = loop {
        let fleet = &mut bench.fleet;
        let sum = fleet.sum();
        pace.note(Instant::now(), sum.welcomed + sum.credited + sum.effective);
        let wanted = connections + fleet.publishers + fleet.subscriptions;
        bench.progress.set_up(&sum, connections, fleet.subscriptions, (pace.per_second(), wanted));
        if sum.effective >= fleet.subscriptions && sum.credited >= fleet.publishers {
            break sum.redials;
        }
        fleet.listen();
        if sum.welcomed == 0 && (begun.elapsed() > SILENT_MAX || sum.connections_lost > 0) {
            return Err(silent(bench, begun.elapsed()));
        }
        let why = if sum.connections_lost > 0 {
            "a connection was lost again and again"
        } else if sum.refused > 0 {
            "a router refused a subscription"
        } else if pace.moved_at.elapsed() > STUCK_MAX {
            "nothing became established any more"
        } else if begun.elapsed() > limit {
            "it took too long"
        } else {
            std::thread::sleep(LOOK_EVERY);
            continue;
        };
        let drops = bench.cluster.counters().get("kernel drops");
        let state = format!(
            "{} of {connections} connections, {} of {} publishers with credit, {} of {} subscriptions effective; {} dialled again, {} refused, {drops} datagrams dropped by the kernel, last loss: {}",
            sum.welcomed,
            sum.credited,
            fleet.publishers,
            sum.effective,
            fleet.subscriptions,
            sum.redials,
            sum.refused,
            fleet.losses.last().map_or("none", String::as_str)
        );
        return Err(RunError::Setup { why, seconds: begun.elapsed().as_secs(), state });
    };
    // What was lost here is counted as dialled again.
    bench.fleet.listen();
    bench.fleet.losses.clear();
    Ok(SetUp {
        connections,
        seconds: begun.elapsed().as_secs_f64(),
        redials,
        resident_before_bytes: before,
        resident_after_bytes: resident(bench),
        is_of_routers_alone: bench.cluster.home() == Home::Processes,
    })
}
