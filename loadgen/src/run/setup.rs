//! Setting up: connections and subscriptions come about, and what they take.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Bench, LOOK_EVERY, RunError};
use crate::cluster::Home;
use crate::system;

/// How long all connections and subscriptions may take, the first thousands.
const SETUP_MAX: Duration = Duration::from_secs(120);
/// So many more are allowed another second.
const CONNECTIONS_PER_SECOND_MIN: u64 = 250;

/// What was set up.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SetUp {
    /// Connections held.
    pub connections: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Resident memory before the first connection: of the router processes, or of this process with embedded ones.
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
        self.resident_after_bytes.saturating_sub(self.resident_before_bytes) as f64
            / self.connections.max(1) as f64
    }
}

/// Resident memory of the routers, or of this process where it holds them.
pub(super) fn resident(bench: &Bench<'_>) -> u64 {
    bench.cluster.usage().resident_bytes.unwrap_or_else(system::resident_bytes)
}

/// Waits until everything is connected and subscribed. `before` is the memory before that.
pub(super) fn set_up(bench: &mut Bench<'_>, before: u64) -> Result<SetUp, RunError> {
    let connections = bench.scenario.connections();
    let limit = SETUP_MAX + Duration::from_secs(connections / CONNECTIONS_PER_SECOND_MIN);
    let begun = Instant::now();
    loop {
        let fleet = &mut bench.fleet;
        let sum = fleet.sum();
        bench.progress.set_up(&sum, connections, fleet.subscriptions);
        if sum.effective >= fleet.subscriptions && sum.credited >= fleet.publishers {
            break;
        }
        fleet.listen();
        if begun.elapsed() > limit || sum.connections_lost > 0 || sum.refused > 0 {
            let state = format!(
                "{} of {connections} connections, {} of {} publishers with credit, {} of {} subscriptions effective, {} refused, lost: {}",
                sum.welcomed,
                sum.credited,
                fleet.publishers,
                sum.effective,
                fleet.subscriptions,
                sum.refused,
                fleet.losses.first().map_or("none", String::as_str)
            );
            return Err(RunError::Setup { seconds: limit.as_secs(), state });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(SetUp {
        connections,
        seconds: begun.elapsed().as_secs_f64(),
        resident_before_bytes: before,
        resident_after_bytes: resident(bench),
        is_of_routers_alone: bench.cluster.home() == Home::Processes,
    })
}
