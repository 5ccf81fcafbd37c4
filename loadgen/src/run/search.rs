//! The highest rate that holds, by bisection over short bounded runs: below the wanted rate when
//! the host cannot carry it, and with `--max` wherever it is, as long as p99 stays under a limit.

use millrace_measure::figures::grouped;
use std::time::Duration;

use super::attempt::{Attempt, Wanted, attempt};
use super::bench::Bench;
use super::error::RunError;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The 99th percentile of latency that is still good.
    pub p99: Duration,
}

/// Length of a step.
const STEP: Duration = Duration::from_secs(3);
/// Steps, without those that confirm.
const STEPS_MAX: u32 = 16;
/// Confirming runs of full length; each that fails lowers the rate.
const CONFIRMS_MAX: u32 = 4;
/// The search ends when the lowest rate that failed is this close above the highest that was good.
const CLOSE: f64 = 1.04;
/// The same where no limit on latency is looked for: a run of the main job should not take minutes.
const CLOSE_HELD: f64 = 1.08;
/// Up by this, while nothing has failed.
const UP: f64 = 1.5;
/// Down by this, while nothing was good.
const DOWN: f64 = 0.5;

/// Where the search stands: a pure rule, so that it can be tested without a host.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    good: Option<f64>,
    bad: Option<f64>,
}

impl Bounds {
    fn note(&mut self, rate: f64, good: bool) {
        if good {
            self.good = Some(self.good.map_or(rate, |best| best.max(rate)));
        } else {
            self.bad = Some(self.bad.map_or(rate, |worst| worst.min(rate)));
        }
    }

    /// The rate to try next; `None` when it is known well enough, or nothing is left to try.
    fn next(&self, first: f64, close: f64) -> Option<f64> {
        match (self.good, self.bad) {
            (None, None) => Some(first),
            (Some(good), None) => Some(good * UP),
            (None, Some(bad)) => (bad * DOWN >= 1.0).then_some(bad * DOWN),
            (Some(good), Some(bad)) => (bad / good > close).then_some((good * bad).sqrt()),
        }
    }
}

impl Search {
    fn is_good(&self, attempt: &Attempt) -> bool {
        attempt.held() && attempt.p99() <= self.p99
    }
}

/// Searches, then confirms what was found for the full duration. All steps in their order; the last
/// one counts.
pub(super) fn search(bench: &mut Bench<'_>, search: Search) -> Result<Vec<Attempt>, RunError> {
    let first = bench.scenario.workload.events_per_second as f64;
    let good = |attempt: &Attempt| search.is_good(attempt);
    bisect(bench, Vec::new(), Bounds::default(), first, CLOSE, &good)
}

/// Tries the wanted rate; if the host does not carry it, and every event that is missing is
/// accounted for, looks for the highest rate that holds.
pub(super) fn hold(bench: &mut Bench<'_>, step_down: bool) -> Result<Vec<Attempt>, RunError> {
    let rate = bench.scenario.workload.events_per_second as f64;
    let wanted = attempt(bench, Wanted { rate, duration: bench.scenario.duration, disturbance: None })?;
    if wanted.held() || !step_down || !wanted.is_explained() {
        return Ok(vec![wanted]);
    }
    say(bench, &wanted, false);
    bench.progress.say("looking for the highest rate that this host holds");
    let carried = wanted.offered.min(wanted.ingress);
    let mut bounds = Bounds::default();
    bounds.note(rate, false);
    bisect(bench, vec![wanted], bounds, carried.clamp(rate * 0.1, rate * 0.9), CLOSE_HELD, &Attempt::held)
}

fn bisect(
    bench: &mut Bench<'_>,
    mut attempts: Vec<Attempt>,
    mut bounds: Bounds,
    first: f64,
    close: f64,
    good: &dyn Fn(&Attempt) -> bool,
) -> Result<Vec<Attempt>, RunError> {
    let full = bench.scenario.duration;
    let mut next = Some(first);
    for _ in 0..STEPS_MAX {
        let Some(rate) = next else { break };
        let step =
            attempt(bench, Wanted { rate: rate.round(), duration: STEP.min(full), disturbance: None })?;
        let is_good = good(&step);
        say(bench, &step, is_good);
        bounds.note(rate, is_good);
        next = bounds.next(first, close);
        let is_broken = !step.is_explained();
        attempts.push(step);
        if is_broken {
            // Something is wrong that no rate explains: no search makes it good.
            return Ok(attempts);
        }
    }
    let Some(mut rate) = bounds.good else { return Ok(attempts) };
    for _ in 0..CONFIRMS_MAX {
        let whole = attempt(bench, Wanted { rate: rate.round(), duration: full, disturbance: None })?;
        let is_good = good(&whole);
        say(bench, &whole, is_good);
        attempts.push(whole);
        if is_good {
            break;
        }
        rate *= 0.95;
    }
    Ok(attempts)
}

fn say(bench: &Bench<'_>, step: &Attempt, is_good: bool) {
    bench.progress.say(&format!(
        "{:>12} events/s for {:.0} s: {} offered, lost {}, p99 {:.2} ms: {}",
        grouped(step.target),
        step.elapsed.as_secs_f64(),
        grouped(step.offered),
        step.judged.total().lost,
        step.p99().as_secs_f64() * 1e3,
        if is_good { "good" } else { "too many" }
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_ends_close_below_the_highest_good_rate_wherever_it_begins() {
        for limit in [700.0, 123_456.0, 2_000_000.0] {
            for first in [1_000.0, 100_000.0, 1_000_000.0] {
                let mut bounds = Bounds::default();
                let mut steps = 0;
                while let Some(rate) = bounds.next(first, CLOSE) {
                    bounds.note(rate, rate <= limit);
                    steps += 1;
                }
                let found = bounds.good.unwrap();
                assert!(found <= limit && found * CLOSE >= limit, "{found} of {limit} from {first}");
                assert!(steps <= 30, "{steps} steps");
            }
        }
    }

    #[test]
    fn a_host_that_holds_nothing_ends_the_search() {
        let mut bounds = Bounds::default();
        let mut steps = 0;
        while let Some(rate) = bounds.next(1000.0, CLOSE) {
            bounds.note(rate, false);
            steps += 1;
        }
        assert!(steps <= 12 && bounds.good.is_none());
    }
}
