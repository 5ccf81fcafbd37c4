//! What must hold on the simulated cluster: an acknowledgement when it is given, convergence when
//! all is quiet.

use std::collections::BTreeSet;

use millrace_proto::control::Stage;
use millrace_proto::{RouterId, TagSet};

use super::cluster::Cluster;
use crate::control::PeerState;
use crate::matching::{Index, Location, Taker};
use crate::message::Token;

impl Cluster {
    /// Lets a router be reached at another address, too.
    pub(super) fn alias(&mut self, address: &str, place: usize) {
        self.addresses.insert(address.to_owned(), place);
    }

    /// An acknowledgement is true at the moment it is given.
    pub(super) fn check_effective(&self, place: usize, token: Token, stage: Stage, left_out: &[RouterId]) {
        let router = &self.routers[place];
        let Some((core, text)) = router.waits.get(&token) else { return };
        assert!(router.effective.iter().all(|(told, at, _)| (told, at) != (&token, &stage)), "told twice");
        // An only core has no need to be told what it wants itself.
        let told = if router.applied.len() == 1 { &[] } else { &router.applied[..] };
        for index in told {
            assert!(
                matches(index, text).contains(&Location::Core(*core)),
                "{text} is not applied everywhere"
            );
        }
        if stage == Stage::Router {
            return;
        }
        for peer in router.control.status().peers {
            let other = self.routers.iter().find(|other| other.config.router == peer.router).unwrap();
            let same_life = peer.incarnation == Some(other.config.incarnation);
            if left_out.contains(&peer.router) || !other.alive || !same_life {
                continue;
            }
            for index in &other.applied {
                let routers = matches(index, text).into_iter().filter_map(|location| match location {
                    Location::Peer(index) => other.control.router_at(index),
                    Location::Core(_) | Location::Member(_) | Location::Forward(_) => None,
                });
                assert!(
                    routers.into_iter().any(|found| found == router.config.router),
                    "{text} of {} is not applied at {}",
                    router.config.router,
                    peer.router
                );
            }
        }
    }

    /// Every router that lives is linked to every other, and each core's directory is what all
    /// want.
    pub(super) fn check_converged(&self) {
        let alive = || (0..self.routers.len()).filter(|&place| self.routers[place].alive);
        for place in alive() {
            let router = &self.routers[place];
            let mut expected = BTreeSet::new();
            for other in alive() {
                for (core, text) in &self.routers[other].wants {
                    let location = if other == place {
                        Location::Core(*core)
                    } else {
                        assert_eq!(self.state(place, other), Some(PeerState::Linked), "{place} -> {other}");
                        self.place_of(place, other)
                    };
                    expected.insert((location, text.as_str()));
                }
            }
            let dump: BTreeSet<_> = router.control.directory_dump().collect();
            assert_eq!(dump, expected, "directory of {place}");
            let status = router.control.status();
            assert_eq!(status.directory_entries, expected.len());
            assert_eq!(status.directory_applied, status.directory_version);
            assert_eq!(status.waiting, 0);
            for index in &router.applied {
                for (_, text) in &expected {
                    let wanted: Vec<_> = expected
                        .iter()
                        .filter(|(_, other)| other == text)
                        .map(|&(location, _)| location)
                        .filter(|location| router.applied.len() > 1 || matches!(location, Location::Peer(_)))
                        .collect();
                    assert_eq!(matches(index, text), wanted);
                }
            }
        }
    }

    fn place_of(&self, router: usize, peer: usize) -> Location {
        let id = self.routers[peer].config.router;
        let places = 0..u16::MAX;
        let control = &self.routers[router].control;
        Location::Peer(places.into_iter().find(|&place| control.router_at(place) == Some(id)).unwrap())
    }
}

/// Where events with the tag that a selector `k=v` names go.
fn matches(index: &Index<Taker>, text: &str) -> Vec<Location> {
    let (tag, value) = text.split_once('=').unwrap();
    let tags = TagSet::new([(tag, value)]).unwrap();
    let mut found = Vec::new();
    index.matches(tags.borrow(), |taker| found.push(taker.location()));
    found.sort_unstable();
    found.dedup();
    found
}
