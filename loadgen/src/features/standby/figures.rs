//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use crate::features::{Came, Figures, Spread};

/// What the preset measured.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct StandbyFigures {
    pub members: u8,
    pub routers: u16,
    pub receivers: u16,
    /// Numbers per second.
    pub rate: u64,
    /// Numbers of the stream, from the first that was published to the last.
    pub numbers: u64,
    pub kills: u32,
    /// Kills after which another member took over.
    pub takeovers: u32,
    /// From a kill until another member is told that it holds the set.
    pub takeover_us: Spread,
    /// Longest time without an event at each receiver, around each kill.
    pub pause_us: Spread,
    /// Over all receivers.
    #[serde(flatten)]
    pub came: Came,
    pub corrupted: u64,
    /// The first number, the first that each receiver got, and the first stretches that it did not
    /// get behind that.
    pub first: u64,
    pub first_at_receivers: Vec<u64>,
    pub holes: Vec<Vec<[u64; 2]>>,
    /// When generations began: the number that was due, at each takeover.
    pub due_at_takeovers: Vec<u64>,
    /// Gap markers at receivers.
    pub gaps: u64,
    /// Repeats of takeovers that the library of receivers removed.
    pub repeats_removed: u64,
    /// Events of old generations that it dropped.
    pub fenced: u64,
    /// What members complained of.
    pub complaints: Vec<String>,
}

impl Figures for StandbyFigures {
    const SCHEMA: &'static str = "millrace-loadgen-standby/1";
    const PASSED: &'static str = "every number came once and in order, whoever was killed.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "members",
                format!(
                    "{} at {} routers, {} receivers, {} numbers/s",
                    self.members,
                    self.routers,
                    self.receivers,
                    grouped(self.rate as f64)
                ),
            ),
            ("kills", format!("{} of the holder (SIGKILL), {} takeovers", self.kills, self.takeovers)),
            ("takeover", self.takeover_us.to_string()),
            ("pause", self.pause_us.to_string()),
            (
                "verified",
                format!(
                    "{} numbers, {} delivered, {} missing, {} twice, {} out of order",
                    grouped(self.numbers as f64),
                    grouped(self.came.delivered as f64),
                    self.came.missing,
                    self.came.duplicated,
                    self.came.reordered
                ),
            ),
            (
                "removed",
                format!(
                    "{} repeats of takeovers, {} events of old generations, at receivers",
                    grouped(self.repeats_removed as f64),
                    grouped(self.fenced as f64)
                ),
            ),
        ]
    }
}
