//! Addresses under which routers may be found, and the attempts under way.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::RouterId;

use super::config::{ADDRESS_BYTES_MAX, TARGETS_MAX};
use crate::message::DialId;
use crate::time::Time;

/// The epoch before anything was lost, and of a dial to an unknown router: it replaces no lane.
pub(super) const FIRST_EPOCH: u64 = 1;

/// When to try again, and how many attempts have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retry {
    pub(super) failures: u32,
    pub(super) next: Time,
}

/// An address under which a router may be found: a seed, a route, or what a router advertises.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) seed: bool,
    /// Whether the router is told to dial it besides: a router may be there of which nobody tells,
    /// or not.
    pub(super) route: bool,
    /// Whether it is an address of this router.
    pub(super) own: bool,
    /// Whether dialling it led back to this router although it is no address of this host, because
    /// something in between chose it.
    pub(super) echo: bool,
    /// Whether the last dial was refused by a router that did not come to say which: it will dial
    /// this one.
    pub(super) refused: bool,
    /// The router that answered there last, or that advertises it.
    pub(super) router: Option<RouterId>,
    pub(super) dial: Option<DialId>,
    pub(super) retry: Retry,
}

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) target: String,
    pub(super) lane: u16,
    pub(super) epoch: u64,
    /// The peer whose lane this is, for lanes behind lane 0.
    pub(super) router: Option<RouterId>,
    pub(super) deadline: Time,
}

/// Addresses and attempts.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) attempts: BTreeMap<DialId, Dial>,
    /// How many names of seeds do not resolve.
    pub(super) unresolved: u64,
    pub(super) last: u64,
    /// The last epoch that was made for a loss.
    last_epoch: u64,
    /// Counts draws of jitter, so that it differs from attempt to attempt.
    pub(super) draws: u64,
}

impl Target {
    /// Whether nobody is waited for who may be there: a router that answered is known, or nobody
    /// answered.
    pub(super) const fn is_tried(&self) -> bool {
        self.own || self.router.is_some() || (self.retry.failures > 0 && !self.refused)
    }

    /// Whether a setting names it.
    pub(super) const fn is_set(&self) -> bool {
        self.seed || self.route
    }
}

impl Dialling {
    pub(super) fn new() -> Self {
        Self { last_epoch: FIRST_EPOCH, ..Self::default() }
    }

    /// Addresses at which no other router has answered, and names without an address: a router may
    /// be behind each.
    pub(super) fn unanswered(&self) -> u64 {
        let silent = self.targets.values().filter(|target| !target.own && target.router.is_none());
        silent.count() as u64 + self.unresolved
    }

    /// Seeds at which another router should be, and nobody has answered.
    pub(super) fn silent_seeds(&self) -> usize {
        let silent = |target: &&Target| target.seed && !target.own && !target.echo && target.router.is_none();
        let names = usize::try_from(self.unresolved).unwrap_or(usize::MAX);
        self.targets.values().filter(silent).count().saturating_add(names)
    }

    /// Marks the addresses that are dialled as routes.
    pub(super) fn set_routes(&mut self, routes: &BTreeSet<String>, now: Time) {
        for (address, target) in &mut self.targets {
            target.route = routes.contains(address);
        }
        for address in routes {
            self.learn(address, None, now);
            if let Some(target) = self.targets.get_mut(address) {
                target.route = true;
            }
        }
    }

    /// Whether a route leads to this router.
    pub(super) fn is_route_of(&self, router: RouterId) -> bool {
        self.targets.values().any(|target| target.route && target.router == Some(router))
    }

    /// Whether a seed leads to this router.
    pub(super) fn is_seed_of(&self, router: RouterId) -> bool {
        self.targets.values().any(|target| target.seed && target.router == Some(router))
    }

    /// An epoch above all before it, for a dial after a loss: it replaces the lane that the peer
    /// may still hold. Without a loss, two attempts that reach one router by two addresses are
    /// equals, and the peer keeps the first.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.last_epoch += 1;
        self.last_epoch
    }

    /// Ends an attempt.
    pub(super) fn take(&mut self, dial: DialId) -> Option<Dial> {
        let attempt = self.attempts.remove(&dial)?;
        if attempt.lane == 0
            && let Some(target) = self.targets.get_mut(&attempt.target)
            && target.dial == Some(dial)
        {
            target.dial = None;
        }
        Some(attempt)
    }

    /// Learns an address of a router, or of no router in particular. False when there is no room or
    /// it is no address.
    pub(super) fn learn(&mut self, address: &str, router: Option<RouterId>, next: Time) -> bool {
        if let Some(target) = self.targets.get_mut(address) {
            target.router = router.or(target.router);
            return true;
        }
        let fits =
            !address.is_empty() && address.len() <= ADDRESS_BYTES_MAX && self.targets.len() < TARGETS_MAX;
        if fits {
            let retry = Retry { failures: 0, next };
            self.targets.insert(address.to_owned(), Target { router, retry, ..Target::default() });
        }
        fits
    }

    /// Whether an attempt for lane 0 of this router is under way.
    pub(super) fn reaches_for(&self, router: RouterId) -> bool {
        self.targets.values().any(|target| target.router == Some(router) && target.dial.is_some())
    }

    /// The times at which attempts are given up.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.attempts.values().map(|attempt| attempt.deadline)
    }
}
