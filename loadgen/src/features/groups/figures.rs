//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use super::ledger::Outcome;
use crate::features::{Figures, Spread};

/// What the preset measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct GroupFigures {
    pub groups: u32,
    pub routers: u16,
    /// Events per second of all groups.
    pub rate: u64,
    /// Before anything happened, at level 1 and at level 2.
    pub undisturbed: [u64; 2],
    /// From BUSY of level 1 until level 2 has an event.
    pub busy_us: Spread,
    /// Groups in which it got none.
    pub busy_without_switch: u32,
    /// Events that level 1 got behind that first one, although it was busy.
    pub after_busy: u64,
    /// From level 1's word that it is not busy any more until it has an event.
    pub return_us: Spread,
    /// Comings and goings of the member that flaps.
    pub flaps: u32,
    /// Over how long, seconds.
    pub flapped_s: f64,
    /// Changes of the level in use that they caused.
    pub flap_switches: u64,
    pub kills: u32,
    /// From the kill of level 1 until level 2 has an event.
    pub killed_us: Spread,
    /// Groups in which it got none.
    pub killed_without_switch: u32,
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Figures for GroupFigures {
    const SCHEMA: &'static str = "millrace-loadgen-groups/1";
    const PASSED: &'static str = "each event was done by one member, or marked; levels took over in time.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "groups",
                format!(
                    "{} at a time, two levels, {} routers, {} events/s",
                    self.groups,
                    self.routers,
                    grouped(self.rate as f64)
                ),
            ),
            ("busy", format!("{}; {} later ones to level 1", self.busy_us, self.after_busy)),
            ("return", self.return_us.to_string()),
            (
                "flapping",
                format!("{} times in {:.0} s: {} switches", self.flaps, self.flapped_s, self.flap_switches),
            ),
            ("killed", format!("{}, {} kills (SIGKILL)", self.killed_us, self.kills)),
            (
                "verified",
                format!(
                    "{} events, {} missing, {} twice without a mark, {} again with one",
                    grouped(self.outcome.published as f64),
                    self.outcome.missing,
                    self.outcome.twice_unmarked,
                    self.outcome.again_marked
                ),
            ),
        ]
    }
}
