//! When which process is disturbed, and how: a pure function of the seed.
//!
//! Routers have three kinds of faults. In every minute that has begun each router has one of each,
//! in a random order, spread evenly over the minute with a random shift:
//!
//! ```text
//! 0 s   lead                    9 slots for 3 routers                       tail   60 s
//! │ ─── │ kill 2 │ stop 0 │ restart 1 │ kill 0 │ stop 2 │ … │ restart 2 │ ─── │
//! ```
//!
//! What is left behind the last whole minute is a minute of its own from 45 s on, belongs to the
//! one before up to 15 s, and has one fault of each kind in between, each of another router; so has
//! a run of less than 45 s. Publishers are killed independently of that, at least
//! [`PUBLISHER_KILLS_MIN`] times.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::clock::micros;

/// Kills of publishers in any run, at least.
pub const PUBLISHER_KILLS_MIN: u64 = 20;
/// Kills of publishers per minute.
const PUBLISHER_KILLS_PER_MINUTE: u64 = 24;
/// From this length on each router has a fault of each kind.
const FULL_US: u64 = 45_000_000;
const MINUTE_US: u64 = 60_000_000;
/// Before the first fault, and behind the last: all is well at the beginning and at the end.
const LEAD_US: u64 = 3_000_000;
const TAIL_US: u64 = 6_000_000;

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A router is killed (SIGKILL) and starts again after the pause.
    Kill,
    /// A router is stopped (SIGSTOP) and goes on (SIGCONT) after the pause.
    Stop,
    /// A router is asked to end (SIGTERM), which it does in order, and starts again at once.
    Restart,
    /// A publisher is killed (SIGKILL) and starts again on its spool at once.
    PublisherKill,
    /// The holder of the standby set is killed (SIGKILL) and starts again at once.
    HolderKill,
}

impl FaultKind {
    /// The faults of routers.
    pub const ROUTERS: [Self; 3] = [Self::Kill, Self::Stop, Self::Restart];
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When, microseconds since the load began.
    pub at_us: u64,
    /// What.
    pub kind: FaultKind,
    /// Which router, or publisher, from 0.
    pub target: u16,
    /// How long a router stays away.
    pub pause_us: u64,
}

/// The faults of a run of `duration`, in order.
#[must_use]
pub fn schedule(seed: u64, duration: Duration, routers: u16, publishers: u16) -> Vec<Fault> {
    let mut rng = StdRng::seed_from_u64(seed);
    let end_us = micros(duration);
    let mut faults = Vec::new();
    let mut from_us = 0;
    while from_us < end_us {
        let until_us = if end_us - from_us < 2 * MINUTE_US - FULL_US { end_us } else { from_us + MINUTE_US };
        let is_last = until_us == end_us;
        let window_us = until_us - from_us;
        let lead_us = if from_us == 0 { LEAD_US.min(window_us / 8) } else { 0 };
        let tail_us = if is_last { TAIL_US.min(window_us / 4) } else { 0 };
        let mut wanted = round(&mut rng, routers, window_us >= FULL_US);
        wanted.shuffle(&mut rng);
        let slot_us = (window_us - lead_us - tail_us) / (wanted.len() as u64).max(1);
        for (slot, (kind, target)) in (0..).zip(wanted) {
            let at_us = from_us + lead_us + slot * slot_us + rng.random_range(0..=slot_us / 2);
            faults.push(Fault { at_us, kind, target, pause_us: pause_us(&mut rng, kind) });
        }
        from_us = until_us;
    }
    publisher_kills(&mut rng, end_us, publishers, &mut faults);
    faults.sort_by_key(|fault| fault.at_us);
    faults
}

/// The routers' faults of one window.
fn round(rng: &mut StdRng, routers: u16, is_full: bool) -> Vec<(FaultKind, u16)> {
    if is_full {
        return FaultKind::ROUTERS
            .iter()
            .flat_map(|&kind| (0..routers).map(move |router| (kind, router)))
            .collect();
    }
    let mut targets: Vec<u16> = (0..routers).collect();
    targets.shuffle(rng);
    FaultKind::ROUTERS.iter().copied().zip(targets.into_iter().cycle()).collect()
}

fn pause_us(rng: &mut StdRng, kind: FaultKind) -> u64 {
    match kind {
        FaultKind::Kill => rng.random_range(200_000..=1_500_000),
        FaultKind::Stop => rng.random_range(2_000_000..=3_500_000),
        FaultKind::Restart | FaultKind::PublisherKill | FaultKind::HolderKill => 0,
    }
}

fn publisher_kills(rng: &mut StdRng, end_us: u64, publishers: u16, faults: &mut Vec<Fault>) {
    if publishers == 0 {
        return;
    }
    let count = (end_us * PUBLISHER_KILLS_PER_MINUTE / MINUTE_US).max(PUBLISHER_KILLS_MIN);
    let (lead_us, tail_us) = (end_us / 20, end_us / 10);
    let slot_us = (end_us - lead_us - tail_us) / count;
    for slot in 0..count {
        faults.push(Fault {
            at_us: lead_us + slot * slot_us + rng.random_range(0..=slot_us / 2),
            kind: FaultKind::PublisherKill,
            target: rng.random_range(0..publishers),
            pause_us: 0,
        });
    }
}

/// When the holder of the standby set is killed: as often as this, by a shift that follows from the
/// seed.
const HOLDER_KILL_EVERY_US: u64 = 5_000_000;

/// Kills of the standby set's holder in a run of `duration`, in order.
pub(super) fn holder_kills(seed: u64, duration: Duration) -> Vec<Fault> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x686f_6c64_6572);
    let end_us = micros(duration).saturating_sub(TAIL_US);
    let slots = (0..).map(|slot| LEAD_US + slot * HOLDER_KILL_EVERY_US);
    let kill = |from_us: u64| Fault {
        at_us: from_us + rng.random_range(0..HOLDER_KILL_EVERY_US / 2),
        kind: FaultKind::HolderKill,
        target: 0,
        pause_us: 0,
    };
    slots.take_while(|&from_us| from_us + HOLDER_KILL_EVERY_US / 2 <= end_us).map(kill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(faults: &[Fault], kind: FaultKind, target: u16, minute: u64) -> usize {
        let is_one = |fault: &&Fault| {
            (fault.kind, fault.target) == (kind, target) && fault.at_us / MINUTE_US == minute
        };
        faults.iter().filter(is_one).count()
    }

    #[test]
    fn each_router_has_each_fault_in_each_minute() {
        for seed in 0..20 {
            let faults = schedule(seed, Duration::from_secs(180), 3, 4);
            for (kind, router, minute) in FaultKind::ROUTERS
                .iter()
                .flat_map(|&kind| (0..9).map(move |at| (kind, at % 3, u64::from(at / 3))))
            {
                assert_eq!(
                    count(&faults, kind, router, minute),
                    1,
                    "{kind:?} of {router} in minute {minute}"
                );
            }
            let stops = faults.iter().filter(|fault| fault.kind == FaultKind::Stop);
            assert!(stops.clone().all(|fault| fault.pause_us >= 2_000_000), "{stops:?}");
        }
    }

    #[test]
    fn a_short_run_has_each_fault_once_of_different_routers_and_enough_kills_of_publishers() {
        let faults = schedule(7, Duration::from_secs(20), 3, 4);
        let routers: Vec<_> = faults.iter().filter(|fault| fault.kind != FaultKind::PublisherKill).collect();
        let mut targets: Vec<u16> = routers.iter().map(|fault| fault.target).collect();
        targets.sort_unstable();
        assert_eq!(targets, [0, 1, 2]);
        assert_eq!((faults.len() - routers.len()) as u64, PUBLISHER_KILLS_MIN);
        assert!(faults.iter().all(|fault| fault.at_us < 18_000_000), "the end is quiet: {faults:?}");
    }

    #[test]
    fn a_seed_gives_one_schedule_in_order() {
        let of = |seed| schedule(seed, Duration::from_secs(100), 3, 2);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(of(1).windows(2).all(|two| two[0].at_us <= two[1].at_us));
    }

    #[test]
    fn the_holder_of_a_set_is_killed_every_few_seconds_but_at_the_end() {
        let kills = holder_kills(5, Duration::from_secs(60));
        assert_eq!(kills.len(), 10);
        assert!(kills.windows(2).all(|two| two[0].at_us < two[1].at_us));
        assert!(kills.iter().all(|kill| kill.at_us <= 54_000_000), "{kills:?}");
        assert_eq!(kills, holder_kills(5, Duration::from_secs(60)));
    }

    #[test]
    fn any_length_and_size_has_a_schedule() {
        for (seconds, routers, publishers) in [(1, 1, 1), (5, 2, 0), (44, 8, 1), (61, 3, 3), (119, 1, 2)] {
            let duration = Duration::from_secs(seconds);
            let faults = schedule(3, duration, routers, publishers);
            assert!(faults.iter().all(|fault| fault.at_us < micros(duration)));
        }
    }
}
