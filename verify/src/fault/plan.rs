//! Generates fault schedules from a seed.
//!
//! A generated schedule leaves at least two routers alive for good, never does two things to one
//! router's process at a time, and ends all but crashes before its own end, so that a cluster can
//! settle.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::{Fault, Path, Schedule, Scheduled};

/// One of so many schedules has a rolling restart of all routers, if it is long enough.
const ROLLING_EVERY: u32 = 6;

/// What a schedule is to be generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The schedule follows from it.
    pub seed: u64,
    /// Routers; with fewer than two there are no faults between routers.
    pub routers: u32,
    /// Publishers.
    pub publishers: u32,
    /// Receivers.
    pub receivers: u32,
    /// No fault begins before.
    pub from_ns: u64,
    /// All faults have ended by then.
    pub to_ns: u64,
    /// How many faults.
    pub count: u32,
}

impl Plan {
    /// The schedule: `count` faults, every kind about as often as any other over many seeds.
    #[must_use]
    pub fn generate(&self) -> Schedule {
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let mut faults: Vec<Scheduled> = Vec::new();
        let mut kinds: Vec<&str> = Vec::new();
        if self.routers > 1 && self.count >= self.routers && rng.random_range(0..ROLLING_EVERY) == 0 {
            faults = self.rolling_restart();
        }
        for _ in faults.len()..self.count as usize {
            if kinds.is_empty() {
                kinds = Fault::KINDS.to_vec();
                kinds.shuffle(&mut rng);
            }
            let kind = kinds.pop().unwrap_or("delay");
            let wanted = self.scheduled(kind, &mut rng);
            // What does not fit beside the others becomes the mildest fault.
            let fits = wanted.filter(|wanted| self.fits(wanted, &faults));
            faults.extend(fits.or_else(|| self.scheduled("delay", &mut rng)));
        }
        faults.sort_by_key(|item| item.at_ns);
        Schedule { faults }
    }

    /// Every router goes away in order and starts again, one behind the other.
    fn rolling_restart(&self) -> Vec<Scheduled> {
        let each = self.to_ns.saturating_sub(self.from_ns) / u64::from(self.routers.max(1));
        let one = |router| {
            let at_ns = self.from_ns + u64::from(router) * each;
            let until_ns = at_ns + (each - each / 5).max(1);
            Scheduled { at_ns, until_ns: Some(until_ns), fault: Fault::Drain { router } }
        };
        (0..self.routers).map(one).collect()
    }

    /// A fault of this kind, if these routers and receivers can have it.
    fn scheduled(&self, kind: &str, rng: &mut Pcg64Mcg) -> Option<Scheduled> {
        let fault = self.fault(kind, rng)?;
        let span = self.to_ns.saturating_sub(self.from_ns).max(2);
        let at_ns = self.from_ns + rng.random_range(0..span / 2);
        let ends = !matches!(fault, Fault::Crash { .. } | Fault::ClockJump { .. });
        let longest = self.to_ns.saturating_sub(at_ns).max(1);
        let until_ns = ends.then(|| at_ns + 1 + rng.random_range(0..longest.min(span / 2).max(1)));
        Some(Scheduled { at_ns, until_ns: until_ns.map(|until| until.min(self.to_ns)), fault })
    }

    fn fault(&self, kind: &str, rng: &mut Pcg64Mcg) -> Option<Fault> {
        const MS: u64 = 1_000_000;
        let routers = self.routers.max(1);
        let router = rng.random_range(0..routers);
        let other = (router + 1 + rng.random_range(0..routers.max(2) - 1)) % routers;
        let several = routers > 1;
        let path = match several && rng.random_range(0..3) != 0 {
            true => Path::Routers { a: router, b: other },
            false => Path::Clients { router },
        };
        Some(match kind {
            "loss" => Fault::Loss { path, per_mille: rng.random_range(10..=300) },
            "partition_one_way" if several => Fault::PartitionOneWay { from: router, to: other },
            "partition_two_way" if several => Fault::PartitionTwoWay { a: router, b: other },
            "crash" => Fault::Crash { router },
            "restart" => Fault::Restart { router },
            "drain" => Fault::Drain { router },
            "pause" => Fault::Pause { router },
            "slow_receiver" if self.receivers > 0 => {
                Fault::SlowReceiver { receiver: rng.random_range(0..self.receivers) }
            }
            "kill_publisher" if self.publishers > 0 => Fault::KillPublisher {
                publisher: rng.random_range(0..self.publishers),
                power_lost: rng.random_range(0..3) == 0,
            },
            "clock_jump" => {
                let by_ns = rng.random_range(-3600_i64..=3600) * 1_000_000_000;
                Fault::ClockJump { router, by_ns }
            }
            "delay" => {
                let extra_ns = rng.random_range(1..200) * MS;
                Fault::Delay { path, extra_ns, jitter_ns: rng.random_range(0..50) * MS }
            }
            _ => return None,
        })
    }

    /// Whether a fault leaves two routers for good and does not touch a process that another fault
    /// has stopped.
    fn fits(&self, wanted: &Scheduled, faults: &[Scheduled]) -> bool {
        let Some(process) = wanted.fault.stopped() else {
            return true;
        };
        let overlaps = |item: &Scheduled| {
            item.fault.stopped() == Some(process)
                && item.until_ns.is_none_or(|until| wanted.at_ns <= until)
                && wanted.until_ns.is_none_or(|until| item.at_ns <= until)
        };
        let crashes = faults.iter().filter(|item| matches!(item.fault, Fault::Crash { .. })).count();
        let spare = !matches!(wanted.fault, Fault::Crash { .. }) || crashes + 2 < self.routers as usize;
        spare && !faults.iter().any(overlaps)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Phase;
    use super::*;

    const PLAN: Plan = Plan {
        seed: 0,
        routers: 3,
        publishers: 10,
        receivers: 30,
        from_ns: 1_000_000_000,
        to_ns: 9_000_000_000,
        count: 5,
    };

    #[test]
    fn every_seed_gives_the_faults_that_were_ordered_within_their_time() {
        for seed in 0..500 {
            let plan = Plan { seed, ..PLAN };
            let schedule = plan.generate();
            assert_eq!(schedule, plan.generate());
            assert_eq!(schedule.counts().values().sum::<u64>(), 5);
            for item in &schedule.faults {
                assert!(item.at_ns >= plan.from_ns && item.at_ns < plan.to_ns, "{item:?}");
                assert!(
                    item.until_ns.is_none_or(|until| item.at_ns < until && until <= plan.to_ns),
                    "{item:?}"
                );
            }
        }
    }

    #[test]
    fn all_kinds_occur_and_two_routers_outlive_each_schedule() {
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 0..300 {
            let schedule = Plan { seed, count: 12, ..PLAN }.generate();
            assert!(schedule.counts().get("crash").is_none_or(|&crashes| crashes <= 1));
            for (kind, count) in schedule.counts() {
                *totals.entry(kind).or_default() += count;
            }
        }
        assert_eq!(totals.len(), Fault::KINDS.len(), "{totals:?}");
        assert!(totals.values().all(|&count| count > 100), "{totals:?}");
    }

    #[test]
    fn nothing_happens_to_a_process_that_is_stopped() {
        for seed in 0..300 {
            let mut stopped = BTreeMap::new();
            for (_, phase, fault) in (Plan { seed, count: 12, ..PLAN }).generate().changes() {
                if let Some(process) = fault.stopped() {
                    let begins = phase == Phase::Begin;
                    let before = stopped.insert(process, begins).unwrap_or(false);
                    assert_ne!(before, begins, "seed {seed}: {fault:?}");
                }
            }
        }
    }

    #[test]
    fn a_single_router_without_receivers_has_faults_too() {
        let schedule = Plan { routers: 1, receivers: 0, count: 20, ..PLAN }.generate();
        assert_eq!(schedule.faults.len(), 20);
        assert!(!schedule.counts().contains_key("partition_two_way"));
    }

    #[test]
    fn schedules_are_data() {
        let schedule = PLAN.generate();
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        for item in &schedule.faults {
            assert!(text.contains(item.fault.kind()));
        }
    }
}
