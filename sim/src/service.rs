//! In which order a router's threads serve what waits: for a while some mailboxes and connections
//! are served late, others at once, whichever was filled first.
//!
//! A program must not count on the order in which mailboxes and streams are served, because that
//! depends on the kernel and on the load. Within one mailbox or stream the order stays. Which are
//! late, and how late, is a function of the seed, the time and the place: no state, no chance
//! drawn.

use std::time::Duration;

use millrace_engine::time::Time;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::network::up_to;

/// How long the same places stay late.
const PHASE_NS: u64 = 200_000_000;
/// One of so many places is late in a phase, and one of those very late.
const LATE_ONE_OF: u64 = 4;
/// What a late place waits beside its usual time, in usual times.
const LATE: u32 = 6;
const VERY_LATE: u32 = 30;

/// A place that a thread serves: a mailbox or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A core's mailbox from a sibling.
    Sibling {
        /// The sibling.
        from: u16,
        /// The core.
        to: u16,
    },
    /// A core's mailbox from control.
    FromControl(u16),
    /// Control's mailbox from a core.
    ToControl(u16),
    /// A connection.
    Connection(u64),
}

/// The order of one router's threads.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    seed: u64,
    usual: Duration,
}

impl Service {
    /// The order of a router whose mail usually waits for up to `usual`.
    #[must_use]
    pub const fn new(seed: u64, usual: Duration) -> Self {
        Self { seed, usual }
    }

    /// How much longer than usual a place waits at this time; zero for most.
    #[must_use]
    pub fn delay(&self, place: Served, now: Time) -> Duration {
        let (kind, number) = match place {
            Served::Sibling { from, to } => (0_u64, u64::from(from) << 16 | u64::from(to)),
            Served::FromControl(core) => (1, u64::from(core)),
            Served::ToControl(core) => (2, u64::from(core)),
            Served::Connection(conn) => (3, conn),
        };
        let mut bytes = [0; 24];
        for (part, value) in bytes.chunks_exact_mut(8).zip([kind, number, now.0 / PHASE_NS]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        let drawn = xxh3_64_with_seed(&bytes, self.seed);
        match (drawn % LATE_ONE_OF, drawn / LATE_ONE_OF % LATE_ONE_OF) {
            (0, 0) => self.usual * VERY_LATE,
            (0, _) => self.usual * LATE,
            _ => Duration::ZERO,
        }
    }
}

/// Mostly short; now and then a thread was not scheduled for a while.
pub(crate) fn mail_delay(usual: Duration, rng: &mut Pcg64Mcg) -> Duration {
    let longest = if rng.random_range(0..200) == 0 { usual * 50 } else { usual };
    up_to(rng, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_places_are_late_for_a_while_and_others_then() {
        let service = Service::new(7, Duration::from_micros(10));
        let late = |now: u64| -> Vec<u64> {
            let places = 0..64_u64;
            places
                .filter(|&conn| service.delay(Served::Connection(conn), Time(now)) > Duration::ZERO)
                .collect()
        };
        let first = late(0);
        assert!((4..40).contains(&first.len()), "{first:?}");
        assert_eq!(first, late(PHASE_NS - 1));
        assert_ne!(first, late(PHASE_NS));
    }
}
