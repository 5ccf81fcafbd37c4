//! The shortest round trip to each router that any connection of a client has measured lately.
//!
//! All connections of a client take the same way to a router. Where thousands begin at once, the
//! handshake of each is slow, and so is what follows while the others' handshakes go on: each by
//! itself would take its router for far, and look for a nearer one. What the fastest of them has
//! measured counts for all.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::time::{SECOND_NS, Time};

/// Routers that are remembered, at most: those that were measured last.
const ROUTERS_MAX: usize = 64;
/// Ways change: a round trip that was measured before this time is replaced by the next one.
const KEPT_NS: u64 = 60 * SECOND_NS;

#[derive(Debug)]
struct Seen {
    address: SocketAddr,
    round_trip_ns: u64,
    at: Time,
}

/// What the connections of a client have measured.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips {
    /// The router that was measured last is the last.
    seen: Mutex<VecDeque<Seen>>,
}

impl RoundTrips {
    /// Notes a round trip, and returns the shortest that is known of this router.
    pub(crate) fn shortest(&self, address: SocketAddr, round_trip_ns: u64, now: Time) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.iter().position(|seen| seen.address == address).and_then(|at| seen.remove(at));
        let known = known.filter(|known| now.nanos_since(known.at) <= KEPT_NS);
        let news = Seen { address, round_trip_ns, at: now };
        let shortest = known.filter(|known| known.round_trip_ns < round_trip_ns).unwrap_or(news);
        let round_trip_ns = shortest.round_trip_ns;
        if seen.len() == ROUTERS_MAX {
            seen.pop_front();
        }
        seen.push_back(shortest);
        round_trip_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(port: usize) -> SocketAddr {
        ([192, 0, 2, 1], u16::try_from(port).unwrap()).into()
    }

    #[test]
    fn the_shortest_of_the_last_minute_counts_for_all_connections_of_a_router() {
        let trips = RoundTrips::default();
        let at = |seconds: u64| Time::from_nanos(seconds * SECOND_NS);
        assert_eq!(trips.shortest(router(1), 9, at(0)), 9);
        assert_eq!(trips.shortest(router(1), 5, at(10)), 5);
        assert_eq!(trips.shortest(router(2), 7, at(10)), 7, "another router");
        assert_eq!(trips.shortest(router(1), 8, at(70)), 5);
        assert_eq!(trips.shortest(router(1), 8, at(71)), 8, "the way may be another one");
    }

    #[test]
    fn routers_are_bounded_and_those_measured_last_stay() {
        let trips = RoundTrips::default();
        for port in 0..=ROUTERS_MAX {
            trips.shortest(router(port), 1, Time::ZERO);
        }
        assert_eq!(trips.seen.lock().unwrap().len(), ROUTERS_MAX);
        assert_eq!(trips.shortest(router(0), 3, Time::ZERO), 3, "it was the oldest");
        assert_eq!(trips.shortest(router(ROUTERS_MAX), 3, Time::ZERO), 1);
    }
}
