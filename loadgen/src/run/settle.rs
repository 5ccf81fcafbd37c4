//! Settling: waiting until what was published has come, however slow the host is.
//!
//! It is over when every delivery is there or has a gap marker or a drop counter. What is missing
//! besides is lost only if nothing moves any more, neither at receivers nor in routers, for a time
//! that is long against the latencies seen: a packet that is repeated on a starved host takes a
//! multiple of them. A system that still moves after [`SETTLE_MAX`] did not settle, which says
//! nothing about what it would have lost.

use std::time::{Duration, Instant};

use super::bench::{Bench, LOOK_EVERY};
use super::error::RunError;
use crate::cluster::{Counters, UnderWay};
use crate::fleet::Judged;
use crate::fleet::tally::Sum;

/// How long nothing may arrive before it is looked at what is missing; lingers come on top.
const QUIET: Duration = Duration::from_millis(700);
/// How long nothing may move before what is missing is lost, at least; lingers come on top.
const STILL_MIN: Duration = Duration::from_secs(3);
/// … and so many times the largest latency seen,
const STILL_LATENCIES: u32 = 4;
/// … which is enough for the repetition of a repetition.
const STILL_MAX: Duration = Duration::from_secs(20);
/// How long something may go on moving.
const SETTLE_MAX: Duration = Duration::from_secs(90);

/// What was counted before the deliveries that have to settle.
#[derive(Debug, Clone)]
pub(super) struct Earlier {
    pub(super) gap_events: u64,
    pub(super) counters: Counters,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Settled {
    /// From the begin to the last delivery.
    pub(super) took: Duration,
    /// What came. Of what is missing, `unsettled` is not among the lost.
    pub(super) judged: Judged,
    /// Deliveries that were still missing when it took too long, and something still moved.
    pub(super) unsettled: u64,
}

/// What shows that something moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Motion {
    delivered: u64,
    received: u64,
    gaps: u64,
    routers: u64,
}

impl Motion {
    fn of(sum: &Sum, under_way: UnderWay) -> Self {
        Self {
            delivered: sum.delivered,
            received: sum.received,
            gaps: sum.gaps,
            routers: under_way.moved_events,
        }
    }
}

/// The rule, apart from clocks and systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Done,
    Lost,
    Unsettled,
    Wait,
}

/// What is to be done when `missing` deliveries are not accounted for.
fn next(missing: u64, still: Duration, latency_max: Duration, lingers: Duration, waited: Duration) -> Next {
    let patience = (latency_max * STILL_LATENCIES).clamp(STILL_MIN, STILL_MAX) + lingers;
    match missing {
        0 => Next::Done,
        _ if still >= patience => Next::Lost,
        _ if waited >= SETTLE_MAX + lingers => Next::Unsettled,
        _ => Next::Wait,
    }
}

/// Waits until everything has come that will, and judges it.
pub(super) fn settle(
    bench: &mut Bench<'_>,
    lingers: Duration,
    earlier: &Earlier,
) -> Result<Settled, RunError> {
    let begun = Instant::now();
    let mut delivered = (bench.fleet.sum().delivered, begun);
    let mut motion: Option<(Motion, Instant)> = None;
    loop {
        std::thread::sleep(LOOK_EVERY);
        let sum = bench.fleet.sum();
        bench.progress.settling(&sum);
        let now = Instant::now();
        if sum.delivered != delivered.0 {
            delivered = (sum.delivered, now);
        }
        let waited = now - begun;
        let is_quiet = now - delivered.1 >= QUIET + lingers;
        if !is_quiet && waited < SETTLE_MAX + lingers {
            continue;
        }
        // Asking costs: the cores are asked once per quiet stretch, and the checkers walk all that
        // they know.
        let under_way = bench.cluster.under_way();
        let seen = Motion::of(&sum, under_way);
        if under_way.waiting_bytes > 0 || motion.is_none_or(|(before, _)| before != seen) {
            motion = Some((seen, now));
        }
        let still = motion.map_or(Duration::ZERO, |(_, since)| now - since);
        let mut judged = bench.fleet.judge()?;
        let lost = judged.total().lost;
        let dropped: u64 = bench.cluster.counters().since(&earlier.counters).dropped.values().sum();
        let explained = (sum.gap_events - earlier.gap_events).max(dropped);
        let missing = lost.saturating_sub(explained) + sum.published.saturating_sub(sum.received);
        let latency_max = Duration::from_micros(judged.latency.max());
        let took = delivered.1 - begun;
        match next(missing, still, latency_max, lingers + bench.scenario.received_within, waited) {
            Next::Done | Next::Lost => return Ok(Settled { took, judged, unsettled: 0 }),
            Next::Unsettled => {
                let unsettled = judged.take_lost(lost.saturating_sub(explained));
                return Ok(Settled { took, judged, unsettled: unsettled.max(1) });
            }
            Next::Wait => {
                bench.progress.missing(missing, still);
                // The next look comes when something had time to move.
                std::thread::sleep(QUIET / 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_missing_ends_it_at_once() {
        assert_eq!(next(0, s(0), s(30), s(0), s(0)), Next::Done);
    }

    #[test]
    fn what_is_missing_is_lost_only_after_a_time_that_is_long_against_the_latency() {
        let latency = Duration::from_millis(2300);
        assert_eq!(next(279, s(9), latency, s(0), s(12)), Next::Wait);
        assert_eq!(next(279, s(10), latency, s(0), s(12)), Next::Lost);
        assert_eq!(next(1, s(3), Duration::from_millis(5), s(0), s(3)), Next::Lost);
        assert_eq!(next(1, s(3), Duration::from_millis(5), s(2), s(3)), Next::Wait, "lingers come on top");
        assert_eq!(next(1, STILL_MAX, s(60), s(0), s(30)), Next::Lost, "whatever the latency");
    }

    #[test]
    fn a_system_that_moves_for_too_long_did_not_settle() {
        assert_eq!(next(5, s(1), s(1), s(0), SETTLE_MAX), Next::Unsettled);
    }
}
