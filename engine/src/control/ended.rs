//! Lives of routers that have ended, with the history that they kept.
//!
//! A receiver that asks for what arrived before such an end does not get what entered there, and is
//! told so (`core/joins.rs`). A router that begins anew does not know that it was there before, and
//! one that comes later does not know who was. So who sees a life end notes it and tells its peers
//! in Peers, and they tell theirs. Routers that keep their history in files are not noted when they
//! begin anew.
//!
//! Of each router the last life counts. Times go from host to host as how long ago, and become a
//! little later with each, so that hearing of the same life again changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::{Incarnation, RouterId};

use super::config::PEERS_MAX;
use crate::time::Time;

/// A life that others tell of counts as a later one than the one that is known only when it ended
/// so much later: two routers that have seen the ends of two lives would tell each other for ever.
pub(super) const LATER: Duration = Duration::from_secs(1);

/// The last life of each router that has ended: at most [`PEERS_MAX`].
#[derive(Debug, Default)]
pub(super) struct EndedLives(BTreeMap<RouterId, (Incarnation, Time)>);

impl EndedLives {
    /// Notes that a life has ended. Says whether that is news.
    pub(super) fn note(&mut self, router: RouterId, life: Incarnation, at: Time, later: Duration) -> bool {
        let known = self.0.get(&router);
        if known.is_some_and(|&(known, since)| known == life || at < since + later) {
            return false;
        }
        self.0.insert(router, (life, at));
        if self.0.len() > PEERS_MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, (_, at))| *at).map(|(&router, _)| router)
        {
            self.0.remove(&first);
        }
        true
    }

    /// The last life of a router, and when it ended.
    pub(super) fn get(&self, router: RouterId) -> Option<(Incarnation, Time)> {
        self.0.get(&router).copied()
    }

    /// Forgets what has ended of a router.
    pub(super) fn forget(&mut self, router: RouterId) {
        self.0.remove(&router);
    }

    /// When the last life of each router has ended, by router.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RouterId, Time)> {
        self.0.iter().map(|(&router, &(_, at))| (router, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RouterId = RouterId(1);

    #[test]
    fn the_last_life_counts_and_is_heard_of_once() {
        let mut ended = EndedLives::default();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert!(ended.note(A, Incarnation(1), at(5), LATER));
        assert!(!ended.note(A, Incarnation(1), at(50), LATER), "the same life, heard of later");
        assert!(!ended.note(A, Incarnation(2), at(5), LATER), "nobody knows which was later");
        assert!(ended.note(A, Incarnation(2), at(5), Duration::ZERO), "seen here");
        assert!(ended.note(A, Incarnation(3), at(9), LATER));
        assert_eq!(ended.iter().collect::<Vec<_>>(), [(A, at(9))]);
    }

    #[test]
    fn of_too_many_the_first_is_forgotten() {
        let mut ended = EndedLives::default();
        for router in 0..=PEERS_MAX as u64 {
            let at = Time::ZERO + Duration::from_secs(1000 - router);
            ended.note(RouterId(router), Incarnation(1), at, LATER);
        }
        assert_eq!(ended.0.len(), PEERS_MAX);
        assert!(!ended.0.contains_key(&RouterId(PEERS_MAX as u64)), "it ended first");
    }
}
