//! Receivers whose path is full: their network takes less than their router has for them, so that
//! their events wait, as those of a receiver that stands still do.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_engine::time::Time;
use millrace_verify::checker::ClusterChecker;

use crate::client::{Client, Role};
use crate::network::Network;

/// A path that is full for a shorter time makes nobody wait for long.
const CROWDED: Duration = Duration::from_millis(500);
/// Between two bursts of one backlog a path may seem free for so long.
const PAUSE: Duration = Duration::from_millis(200);

/// Clients whose path is full: since when, and when that was seen last.
#[derive(Debug, Default)]
pub(super) struct Crowds(BTreeMap<u32, (Time, Time)>);

impl Crowds {
    /// Looks at the paths of all receivers, as often as fill levels are looked at.
    pub(super) fn look(
        &mut self,
        now: Time,
        clients: &[Client],
        network: &Network,
        checker: &mut ClusterChecker,
    ) {
        for client in clients {
            let Role::Receivers(receivers) = client.role() else { continue };
            if !client.is_crowded(network) {
                let is_over = |&(_, seen): &(Time, Time)| now >= seen + PAUSE;
                if self.0.get(&client.index()).is_some_and(is_over) {
                    self.0.remove(&client.index());
                }
                continue;
            }
            let (since, seen) = self.0.entry(client.index()).or_insert((now, now));
            *seen = now;
            if now >= *since + CROWDED {
                receivers.sessions().for_each(|session| checker.crowded(session, since.0, now.0));
            }
        }
    }
}
