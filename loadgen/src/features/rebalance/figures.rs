//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use crate::features::Figures;

/// What the preset measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct RebalanceFigures {
    pub connections: u32,
    /// Beats per second, each to all receivers.
    pub rate: u32,
    /// The time over which the moves were to be spread, seconds.
    pub within_s: f64,
    /// From the first dial until all subscriptions were effective, seconds.
    pub set_up_s: f64,
    /// Clients of both routers before the call.
    pub before: [u64; 2],
    /// Clients that the first router was asked to move.
    pub asked: u64,
    /// From the call until both were even, seconds; none: they were not.
    pub even_s: Option<f64>,
    /// Clients of both routers when watching ended.
    pub after: [u64; 2],
    /// The most that a router was away from its half while it was watched, percent of that.
    pub off_percent: f64,
    /// Beats that receivers missed, over all of them, and those of which no gap told.
    pub missed: u64,
    pub untold: u64,
    /// Beats that came twice or late.
    pub repeated: u64,
}

impl Figures for RebalanceFigures {
    const SCHEMA: &'static str = "millrace-loadgen-rebalance/1";
    const PASSED: &'static str = "both routers were even after one call, and nobody missed anything.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        let even = self.even_s.map_or_else(|| "never".to_owned(), |even_s| format!("after {even_s:.1} s"));
        let both = |[one, other]: [u64; 2]| format!("{} and {}", grouped(one as f64), grouped(other as f64));
        vec![
            ("receivers", format!("{}, {} beats/s to each", grouped(f64::from(self.connections)), self.rate)),
            ("set up", format!("{:.1} s", self.set_up_s)),
            ("before", format!("{} clients", both(self.before))),
            ("asked", format!("{} to move within {:.0} s", grouped(self.asked as f64), self.within_s)),
            ("even", even),
            ("watched", format!("{} clients, at most {:.1} % off", both(self.after), self.off_percent)),
            (
                "verified",
                format!(
                    "{} beats missed, {} without a gap, {} repeated",
                    grouped(self.missed as f64),
                    self.untold,
                    self.repeated
                ),
            ),
        ]
    }
}
