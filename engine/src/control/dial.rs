//! Whom to dial, and when: addresses for lane 0, attempts under way, and pauses between attempts.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::{CloseCode, RouterId};

use super::config::{ADDRESS_BYTES_MAX, TARGETS_MAX};
use super::{Control, ControlOutput};
use crate::message::{CoreIndex, DialId};
use crate::time::Time;

/// When to try again, and how often that failed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retry {
    pub(super) failures: u32,
    pub(super) next: Time,
}

/// An address under which a router may be found: a seed, or what a router advertises.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) seed: bool,
    /// Dialling it reached this router itself.
    pub(super) own: bool,
    /// Who answered there last, or advertises it.
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
    deadline: Time,
}

/// Addresses and attempts.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    pub(super) targets: BTreeMap<String, Target>,
    attempts: BTreeMap<DialId, Dial>,
    last: u64,
    /// Epoch of the next lane dialled. Moves on when an attempt or a lane is lost, so that a redial replaces what the peer
    /// may still believe in, while two attempts that reach one router by two addresses are equals, and it keeps the first.
    epoch: u64,
    /// What makes jitter differ from attempt to attempt.
    draws: u64,
}

impl Dialling {
    pub(super) fn new() -> Self {
        Self { epoch: 1, ..Self::default() }
    }

    /// Addresses at which no router has answered: nobody can say whether one is there.
    pub(super) fn unanswered(&self) -> u64 {
        self.targets.values().filter(|target| !target.own && target.router.is_none()).count() as u64
    }

    pub(super) fn lost(&mut self) {
        self.epoch += 1;
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

    /// Knows an address of a router, or of nobody in particular. False when there is no room or it is no address.
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

    fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.attempts.values().map(|attempt| attempt.deadline)
    }
}

impl Control {
    /// The pause after `failures` attempts in a row: doubles from `redial_min` to `redial_max`; half of it is jitter.
    pub(super) fn pause(&mut self, failures: u32) -> Duration {
        let doubled = self.config.redial_min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let full = u64::try_from(doubled.min(self.config.redial_max).as_nanos()).unwrap_or(u64::MAX);
        self.dialling.draws += 1;
        let draw = mix(self.config.seed ^ self.config.router.0.rotate_left(32) ^ mix(self.dialling.draws));
        Duration::from_nanos(full / 2 + draw % (full / 2 + 1))
    }

    /// Dials every address and lane that is due.
    pub(super) fn dial_due(&mut self) {
        let due: Vec<String> = self
            .dialling
            .targets
            .iter()
            .filter(|(_, target)| self.is_wanted(target) && target.retry.next <= self.now)
            .map(|(address, _)| address.clone())
            .collect();
        for address in due {
            // An address dialled in this round may lead to the same router.
            if self.dialling.targets.get(&address).is_some_and(|target| self.is_wanted(target)) {
                let dial = self.begin_dial(address.clone(), 0, None);
                if let Some(target) = self.dialling.targets.get_mut(&address) {
                    target.dial = Some(dial);
                }
            }
        }
        let now = self.now;
        let lanes: Vec<(RouterId, String, u16)> = self
            .peers
            .iter()
            .filter_map(|(&router, peer)| Some((router, peer.link_to_complete()?)))
            .filter_map(|(router, link)| Some((router, link.target.as_ref()?, link)))
            .flat_map(|(router, target, link)| {
                (1u16..).zip(link.lanes.iter().skip(1)).filter_map(move |(number, lane)| {
                    let due = lane.up.is_none() && lane.dial.is_none() && lane.retry.next <= now;
                    due.then(|| (router, target.clone(), number))
                })
            })
            .collect();
        for (router, target, number) in lanes {
            let dial = self.begin_dial(target, number, Some(router));
            if let Some(lane) = self.lane_mut(router, number) {
                lane.dial = Some(dial);
            }
        }
    }

    fn is_wanted(&self, target: &Target) -> bool {
        let reached = target.router.is_some_and(|router| {
            self.dialling.reaches_for(router)
                || self.peers.get(&router).is_some_and(|peer| peer.link.is_some() || peer.leaving)
        });
        !target.own && target.dial.is_none() && !reached
    }

    fn begin_dial(&mut self, target: String, lane: u16, router: Option<RouterId>) -> DialId {
        self.dialling.last += 1;
        let dial = DialId(self.dialling.last);
        let epoch = self.dialling.epoch;
        let deadline = self.now + self.config.dial_timeout;
        self.metrics.dials += 1;
        self.dialling.attempts.insert(dial, Dial { target: target.clone(), lane, epoch, router, deadline });
        let core: CoreIndex = lane % self.config.cores;
        let hello = self.hello(lane, epoch);
        self.outputs.push_back(ControlOutput::Dial { dial, target, core, lane, shard: lane, hello });
        dial
    }

    /// An attempt ended without a hello, or with one that says no.
    pub(super) fn attempt_failed(&mut self, attempt: &Dial, code: Option<CloseCode>) {
        self.metrics.dials_failed += 1;
        self.dialling.lost();
        if let Some(router) = attempt.router {
            let failures = self.lane_mut(router, attempt.lane).map_or(1, |lane| lane.retry.failures + 1);
            let next = self.now + self.pause(failures);
            if let Some(lane) = self.lane_mut(router, attempt.lane) {
                lane.dial = None;
                lane.retry = Retry { failures, next };
            }
        } else {
            if code == Some(CloseCode::MyOwnAddress) {
                self.reached_myself(&attempt.target);
            }
            self.put_off(&attempt.target);
            let router = self.dialling.targets.get(&attempt.target).and_then(|target| target.router);
            if let Some(peer) = router.and_then(|router| self.peers.get_mut(&router)) {
                peer.unreachable = true;
            }
        }
        self.mesh_changed = true;
    }

    /// Lets some time pass before an address is dialled again.
    pub(super) fn put_off(&mut self, address: &str) {
        let Some(failures) = self.dialling.targets.get(address).map(|target| target.retry.failures + 1)
        else {
            return;
        };
        let next = self.now + self.pause(failures);
        if let Some(target) = self.dialling.targets.get_mut(address) {
            target.retry = Retry { failures, next };
        }
    }

    pub(super) fn reached_myself(&mut self, address: &str) {
        if let Some(target) = self.dialling.targets.get_mut(address)
            && !target.own
        {
            target.own = true;
            target.router = None;
            self.metrics.own_address += 1;
        }
    }

    /// The addresses of a router may be dialled again: soon if dialling is this side's task, else only in case the peer
    /// has not learned of this router.
    pub(super) fn rearm(&mut self, router: RouterId) {
        let next =
            self.now + if router > self.config.router { self.pause(1) } else { self.config.join_timeout / 2 };
        for target in self.dialling.targets.values_mut().filter(|target| target.router == Some(router)) {
            target.retry = Retry { failures: 0, next };
        }
    }

    /// Gives up attempts that took too long, and addresses that nobody stands for.
    pub(super) fn tidy_dials(&mut self) {
        let late: Vec<DialId> = self
            .dialling
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.deadline <= self.now)
            .map(|(&dial, _)| dial)
            .collect();
        for dial in late {
            if let Some(attempt) = self.dialling.take(dial) {
                self.attempt_failed(&attempt, None);
            }
        }
        let peers = &self.peers;
        self.dialling.targets.retain(|address, target| {
            let router = target.router.and_then(|router| peers.get(&router));
            if router.is_none() {
                target.router = None;
            }
            target.seed || target.dial.is_some() || router.is_some_and(|peer| peer.advertise == *address)
        });
    }

    /// When the next dial is due, or the next attempt given up.
    pub(super) fn next_dial(&self) -> Option<Time> {
        let lanes = self
            .peers
            .values()
            .filter_map(super::Peer::link_to_complete)
            .filter(|link| link.target.is_some())
            .flat_map(|link| link.lanes.iter().skip(1))
            .filter(|lane| lane.up.is_none() && lane.dial.is_none())
            .map(|lane| lane.retry.next);
        let targets = self.dialling.targets.values().filter(|target| self.is_wanted(target));
        let due = targets.map(|target| target.retry.next).chain(lanes).min();
        due.into_iter().chain(self.dialling.deadlines()).min()
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014): spreads a counter over all 64 bits.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
