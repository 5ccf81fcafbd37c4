//! Copies: an event crosses to each router at most once, reaches each core at most once, and goes
//! at most one hop.

use ahash::AHashSet;
use millrace_proto::RouterId;

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "copies";

/// A core of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The router.
    pub router: RouterId,
    /// The core within it.
    pub core: u16,
}

/// One copy of an event on its way to a location: over a lane, or through a mailbox to a sibling
/// that has sessions for it. Handing an event that just entered to its owner is not a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The event's emitter.
    pub emitter: u32,
    /// The event's number.
    pub n: u64,
    /// The router through which it entered the cluster.
    pub entry: RouterId,
    /// Where the copy comes from.
    pub from: Place,
    /// Where it goes.
    pub to: Place,
}

/// Remembers every copy: meant for runs of thousands of events, not millions.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    at_routers: AHashSet<(RouterId, u32, u64)>,
    at_cores: AHashSet<(Place, u32, u64)>,
}

impl Copies {
    /// Takes one copy; what is wrong with it becomes a finding.
    pub fn hop(&mut self, hop: Hop, findings: &mut Findings) {
        let Hop { emitter, n, entry, from, to } = hop;
        let crosses = from.router != to.router;
        if crosses && from.router != entry {
            findings.add(NAME, || {
                format!(
                    "event {n} of emitter {emitter} entered at {entry} and goes on from {} to {}",
                    from.router, to.router
                )
            });
        }
        if crosses && !self.at_routers.insert((to.router, emitter, n)) {
            findings.add(NAME, || {
                format!("event {n} of emitter {emitter} crosses to router {} again", to.router)
            });
        }
        if !self.at_cores.insert((to, emitter, n)) {
            findings.add(NAME, || {
                format!(
                    "event {n} of emitter {emitter} comes to core {} of router {} again",
                    to.core, to.router
                )
            });
        }
    }

    /// Copies between routers so far.
    #[must_use]
    pub fn crossings(&self) -> usize {
        self.at_routers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(router: u64, core: u16) -> Place {
        Place { router: RouterId(router), core }
    }

    /// Findings when one event that entered at router 1 takes these ways.
    fn check(ways: &[(Place, Place)]) -> u64 {
        let mut copies = Copies::default();
        let mut findings = Findings::default();
        for &(from, to) in ways {
            copies.hop(Hop { emitter: 4, n: 2, entry: RouterId(1), from, to }, &mut findings);
        }
        findings.count
    }

    #[test]
    fn one_copy_for_each_location_is_clean() {
        let to_sibling = (place(1, 0), place(1, 1));
        let at_peer = (place(2, 0), place(2, 1));
        assert_eq!(check(&[to_sibling, (place(1, 0), place(2, 0)), at_peer, (place(1, 0), place(3, 0))]), 0);
    }

    #[test]
    fn a_second_copy_is_noticed() {
        assert_eq!(check(&[(place(1, 0), place(1, 1)), (place(1, 0), place(1, 1))]), 1);
        assert_eq!(check(&[(place(1, 0), place(2, 0)), (place(1, 1), place(2, 1))]), 1, "over another lane");
    }

    #[test]
    fn a_second_hop_is_noticed() {
        assert_eq!(check(&[(place(1, 0), place(2, 0)), (place(2, 0), place(3, 0))]), 1);
    }
}
