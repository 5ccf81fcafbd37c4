//! Where a client was attached a short while ago, and lost its connection.
//!
//! A router that was lost is the one that answers least likely. Clients that lose one after the
//! other, as when a router dies and the next one is busy with all of its clients, have several of
//! them, and would wait at each for the head start of the next.

use std::collections::VecDeque;

use crate::time::{SECOND_NS, Time};

/// Places that are remembered, at most.
const LOST_MAX: usize = 4;
/// For how long: a router may be back by then. The one lost last stays.
const KEPT_NS: u64 = 60 * SECOND_NS;

/// The places of one client.
#[derive(Debug)]
pub(super) struct Places<A> {
    /// Where the newest connection was made.
    newest: Option<A>,
    /// Where connections were lost, and when; the last one is the last.
    lost: VecDeque<(A, Time)>,
}

impl<A: Clone + PartialEq> Places<A> {
    pub(super) const fn new() -> Self {
        Self { newest: None, lost: VecDeque::new() }
    }

    pub(super) fn attached(&mut self, address: A) {
        self.newest = Some(address);
    }

    /// The newest connection is lost.
    pub(super) fn lost(&mut self, now: Time) {
        let Some(address) = self.newest.take() else { return };
        self.lost.retain(|(known, at)| *known != address && now.nanos_since(*at) <= KEPT_NS);
        if self.lost.len() == LOST_MAX {
            self.lost.pop_front();
        }
        self.lost.push_back((address, now));
    }

    /// Those to try behind all others, in this order.
    pub(super) fn behind_others(&self, now: Time) -> Vec<A> {
        let (last, all) = (self.lost.len().saturating_sub(1), self.lost.iter().enumerate());
        let counts = |(at, (_, lost)): &(usize, &(A, Time))| *at == last || now.nanos_since(*lost) <= KEPT_NS;
        all.filter(counts).map(|(_, (address, _))| address.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_lost_last_comes_last_and_is_never_forgotten() {
        let mut places = Places::new();
        let at = |seconds: u64| Time::from_nanos(seconds * SECOND_NS);
        for (address, seconds) in [(1, 0), (2, 1), (1, 2)] {
            places.attached(address);
            places.lost(at(seconds));
        }
        places.lost(at(3));
        assert_eq!(places.behind_others(at(3)), [2, 1]);
        assert_eq!(places.behind_others(at(62)), [1], "the other one may be back");
        assert_eq!(places.behind_others(at(1_000)), [1]);
        for address in 2..10 {
            places.attached(address);
            places.lost(at(3));
        }
        assert_eq!(places.behind_others(at(3)), [6, 7, 8, 9]);
    }
}
