//! What a run may do, and what came of it.

use std::time::Duration;

use super::attempt::Attempt;
use super::search::Search;
use super::setup::SetUp;
use crate::chaos::Treated;
use crate::cluster::Home;
use crate::disturb::{Background, DisturbSettings, Disturbance, Outcome};
use crate::scenario::Scenario;

/// Latencies of others below this are not compared: a scheduler's turn.
const DISTURBED_P99_FLOOR: Duration = Duration::from_millis(2);

/// What the run may do besides the scenario.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Look for the highest rate that holds when the wanted one does not.
    pub step_down: bool,
    /// Search the highest rate instead.
    pub search: Option<Search>,
    /// Disturbances, each in a phase of its own behind the undisturbed one.
    pub disturb: Vec<Disturbance>,
    /// How much of them.
    pub disturb_settings: DisturbSettings,
    /// What goes on all the time.
    pub background: Background,
}

/// A phase with a disturbance, at the rate of the undisturbed one before it.
#[derive(Debug)]
pub struct Disturbed {
    /// Which.
    pub disturbance: Disturbance,
    /// What came of the others.
    pub attempt: Attempt,
    /// What came of the disturbance itself.
    pub outcome: Outcome,
    /// The others' p99 in the undisturbed phase.
    pub undisturbed_p99: Duration,
}

impl Disturbed {
    /// The others' p99 against the undisturbed phase; what is below 2 ms there counts as 2 ms.
    #[must_use]
    pub fn p99_ratio(&self) -> f64 {
        self.attempt.p99().as_secs_f64() / self.undisturbed_p99.max(DISTURBED_P99_FLOOR).as_secs_f64()
    }
}

/// A finished run.
#[derive(Debug)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// Where the routers were.
    pub home: Home,
    /// Routers that were used.
    pub routers: usize,
    /// Their addresses, as they were named.
    pub targets: Vec<String>,
    /// What setting up took.
    pub set_up: SetUp,
    /// All attempts in their order; the last one counts.
    pub attempts: Vec<Attempt>,
    /// What was searched, if anything was.
    pub search: Option<Search>,
    /// Undisturbed phases of the rounds behind the first.
    pub controls: Vec<Attempt>,
    /// Disturbed phases, in their order.
    pub disturbed: Vec<Disturbed>,
    /// Resident memory of the generator's process at the end; holds the routers, too, where they
    /// are embedded.
    pub resident_bytes: u64,
    /// Resident memory of router processes at the end.
    pub routers_resident_bytes: Option<u64>,
    /// Reasons of lost connections.
    pub losses: Vec<String>,
    /// What the network between receivers and routers did, if there was one.
    pub treated: Option<Treated>,
    /// Load average of the host before the run, over one minute.
    pub load_average: f64,
}

/// What the others noticed of one kind of disturbance, over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noticed {
    /// Which.
    pub disturbance: Disturbance,
    /// Rounds.
    pub rounds: usize,
    /// Their p99 against the undisturbed phase of the round: the median, and the most.
    pub p99_ratio_median: f64,
    /// The most of any round.
    pub p99_ratio_most: f64,
}

impl Noticed {
    /// Whether the others were no slower than they may be.
    #[must_use]
    pub fn is_borne(&self) -> bool {
        self.disturbance.p99_ratio_max().is_none_or(|most| self.p99_ratio_median <= most)
    }
}

impl RunResult {
    /// What the others noticed, kind by kind, in the order of the phases.
    #[must_use]
    pub fn noticed(&self) -> Vec<Noticed> {
        let mut kinds: Vec<Disturbance> = Vec::new();
        for phase in &self.disturbed {
            if !kinds.contains(&phase.disturbance) {
                kinds.push(phase.disturbance);
            }
        }
        let of = |disturbance: Disturbance| {
            let phases = self.disturbed.iter().filter(|phase| phase.disturbance == disturbance);
            noticed(disturbance, phases.map(Disturbed::p99_ratio).collect())
        };
        kinds.into_iter().map(of).collect()
    }
}

fn noticed(disturbance: Disturbance, mut ratios: Vec<f64>) -> Noticed {
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.len() / 2;
    let median = match ratios.len() % 2 {
        0 if middle > 0 => f64::midpoint(ratios[middle - 1], ratios[middle]),
        _ => ratios.get(middle).copied().unwrap_or(0.0),
    };
    let most = ratios.last().copied().unwrap_or(0.0);
    Noticed { disturbance, rounds: ratios.len(), p99_ratio_median: median, p99_ratio_most: most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_decides() {
        let reload = noticed(Disturbance::Reload, vec![9.0, 1.0, 1.2, 1.4, 1.1]);
        assert_eq!((reload.rounds, reload.p99_ratio_median, reload.p99_ratio_most), (5, 1.2, 9.0));
        assert!(reload.is_borne());
        assert!(!noticed(Disturbance::Reload, vec![1.0, 1.7, 1.8]).is_borne());
        assert!(noticed(Disturbance::JunkSpoofed, vec![1.0, 2.5]).is_borne(), "the mean of two is 1.75");
        assert!(noticed(Disturbance::Churn, vec![50.0]).is_borne(), "churn has no bar");
    }
}
