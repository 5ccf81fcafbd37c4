//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use crate::features::{Figures, Spread};

/// What the preset measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct FailoverFigures {
    pub connections: u32,
    pub routers: u16,
    /// Beats per second, each to all receivers.
    pub rate: u32,
    /// From the first dial until all subscriptions were effective, seconds.
    pub set_up_s: f64,
    /// Datagrams of an idle receiver's connection per second, both ways together, beyond what
    /// routers have with each other: what it costs to notice within 1.5 s that a router is gone.
    pub idle_datagrams_per_s: f64,
    /// From the kill until a receiver has a beat that was published behind it.
    pub again_us: Spread,
    /// Receivers that had none when waiting ended.
    pub lost: u64,
    /// Datagrams of the other routers, both ways together, from the kill until all were back, for
    /// each receiver: handshakes, subscriptions, and the beats of that time.
    pub move_datagrams: f64,
    /// Handshakes that the other routers accepted in that time, for each receiver: 1 is what it
    /// takes.
    pub handshakes: f64,
    /// Connections that were lost again after they had found a router.
    pub lost_again: u64,
    /// Beats that receivers missed, over all of them, and those of which no gap told.
    pub missed: u64,
    pub untold: u64,
    /// Beats that came twice or late.
    pub repeated: u64,
}

impl Figures for FailoverFigures {
    const SCHEMA: &'static str = "millrace-loadgen-failover/1";
    const PASSED: &'static str = "every receiver of the killed router had events again in time.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "receivers",
                format!(
                    "{} on the router that is killed, {} routers, {} beats/s to each",
                    grouped(f64::from(self.connections)),
                    self.routers,
                    self.rate
                ),
            ),
            ("set up", format!("{:.1} s", self.set_up_s)),
            ("idle", format!("{:.1} datagrams/s for each receiver, both ways", self.idle_datagrams_per_s)),
            ("events again", self.again_us.to_string()),
            (
                "moving",
                format!(
                    "{:.0} datagrams and {:.2} handshakes for each receiver, at the others; {} lost again",
                    self.move_datagrams,
                    self.handshakes,
                    grouped(self.lost_again as f64)
                ),
            ),
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
