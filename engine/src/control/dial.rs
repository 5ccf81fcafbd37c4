//! Dials addresses and lanes: which, when, and what the end of an attempt means.

use std::time::Duration;

use millrace_proto::{CloseCode, RouterId};

use super::config::{HEARSAY_REDIAL_MAX, PROBE_EVERY, SILENT_REDIAL_AFTER};
use super::link::Link;
use super::machine::Control;
use super::output::ControlOutput;
use super::peer::Peer;
use super::targets::{Dial, FIRST_EPOCH, Retry, Target};
use crate::message::{CoreIndex, DialId};
use crate::time::Time;

impl Control {
    /// The pause after `failures` attempts in a row: doubles from `redial_min` to `redial_max`;
    /// half of it is jitter.
    pub(super) fn pause(&mut self, failures: u32) -> Duration {
        self.pause_within(failures, self.config.redial_max)
    }

    fn pause_within(&mut self, failures: u32, longest: Duration) -> Duration {
        let doubled = self.config.redial_min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let full = u64::try_from(doubled.min(longest).as_nanos()).unwrap_or(u64::MAX);
        self.dialling.draws += 1;
        let draw = mix(self.config.seed ^ self.config.router.0.rotate_left(32) ^ mix(self.dialling.draws));
        Duration::from_nanos(full / 2 + draw % (full / 2 + 1))
    }

    /// Dials every address and lane whose time has come.
    pub(super) fn dial_due(&mut self) {
        let due: Vec<String> = self
            .dialling
            .targets
            .iter()
            .filter(|(_, target)| self.is_wanted(target) && target.retry.next <= self.now)
            .map(|(address, _)| address.clone())
            .collect();
        for address in due {
            // An address that was dialled in this round may lead to the same router.
            if self.dialling.targets.get(&address).is_some_and(|target| self.is_wanted(target)) {
                let epoch = self.epoch_at(&address);
                let dial = self.begin_dial(address.clone(), 0, None, epoch);
                if let Some(target) = self.dialling.targets.get_mut(&address) {
                    target.dial = Some(dial);
                }
            }
        }
        self.probe_due();
        self.redial_silent();
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
            self.dial_lane(router, target, number);
        }
    }

    fn dial_lane(&mut self, router: RouterId, target: String, number: u16) {
        let epoch = self.peers.get(&router).map_or(FIRST_EPOCH, |peer| peer.epoch);
        let dial = self.begin_dial(target, number, Some(router), epoch);
        if let Some(lane) = self.lane_mut(router, number) {
            lane.dial = Some(dial);
        }
    }

    /// Dials linked routers where an answer tells something. Whoever is linked already refuses,
    /// because the epoch is the lowest.
    fn probe_due(&mut self) {
        let due: Vec<String> = self
            .dialling
            .targets
            .iter()
            .filter(|(address, target)| self.is_worth_a_probe(address, target))
            .filter(|(_, target)| target.retry.next <= self.now)
            .map(|(address, _)| address.clone())
            .collect();
        for address in due {
            let dial = self.begin_dial(address.clone(), 0, None, FIRST_EPOCH);
            let next = self.now + self.config.dial_timeout + PROBE_EVERY;
            if let Some(target) = self.dialling.targets.get_mut(&address) {
                target.dial = Some(dial);
                target.retry = Retry { failures: 0, next };
            }
        }
    }

    /// Whether an answer from this address of a linked router tells something: behind a seed that
    /// it does not advertise there may be others, and a larger router that had to call, because
    /// this one had dialled it in vain, hears that its address is reached after all.
    fn is_worth_a_probe(&self, address: &str, target: &Target) -> bool {
        let Some(router) = target.router.filter(|_| target.dial.is_none()) else { return false };
        let Some(peer) = self.peers.get(&router).filter(|peer| !peer.leaving) else { return false };
        let Some(link) = &peer.link else { return false };
        let is_advertised = peer.advertise == address;
        (target.is_set() && !is_advertised)
            || (is_advertised && !link.is_ours() && router > self.config.router)
    }

    /// Dials lanes beside those that were silent for long. A new lane 0 begins a new link.
    fn redial_silent(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for (&router, peer) in &self.peers {
            let Some(link) = peer.link_to_complete() else { continue };
            let Some(target) = &link.target else { continue };
            for (number, lane) in (0u16..).zip(&link.lanes) {
                let silent = lane.silent_since().is_some_and(|since| since + SILENT_REDIAL_AFTER <= now);
                if silent && lane.dial.is_none() && lane.retry.next <= now {
                    due.push((router, target.clone(), number));
                }
            }
        }
        for (router, target, number) in due {
            self.lost_to(router);
            self.dial_lane(router, target, number);
        }
    }

    fn is_wanted(&self, target: &Target) -> bool {
        let reached = target.router.is_some_and(|router| {
            self.dialling.reaches_for(router)
                || self.peers.get(&router).is_some_and(|peer| peer.link.is_some() || peer.leaving)
        });
        !target.own && target.dial.is_none() && !reached
    }

    fn begin_dial(&mut self, target: String, lane: u16, router: Option<RouterId>, epoch: u64) -> DialId {
        self.dialling.last += 1;
        let dial = DialId(self.dialling.last);
        let deadline = self.now + self.config.dial_timeout;
        self.metrics.dials += 1;
        self.dialling.attempts.insert(dial, Dial { target: target.clone(), lane, epoch, router, deadline });
        let core: CoreIndex = lane % self.config.cores;
        let hello = self.hello(lane, epoch);
        self.outputs.push_back(ControlOutput::Dial { dial, target, core, lane, shard: lane, hello });
        dial
    }

    /// The epoch for an attempt at lane 0. A peer that holds a lane of that epoch refuses, and says
    /// who it is.
    fn epoch_at(&self, address: &str) -> u64 {
        let router = self.dialling.targets.get(address).and_then(|target| target.router);
        router.and_then(|router| self.peers.get(&router)).map_or(FIRST_EPOCH, |peer| peer.epoch)
    }

    /// Handles the loss of a peer's lane, or of an attempt beside its lane 0.
    pub(super) fn lost_to(&mut self, router: RouterId) {
        if let Some(peer) = self.peers.get_mut(&router) {
            peer.epoch = self.dialling.next_epoch();
        }
    }

    /// Handles the end of an attempt without a hello, or with one that refuses.
    pub(super) fn attempt_failed(&mut self, attempt: &Dial, code: Option<CloseCode>) {
        self.metrics.dials_failed += 1;
        if let Some(router) = attempt.router {
            self.lost_to(router);
            let failures = self.lane_mut(router, attempt.lane).map_or(1, |lane| lane.retry.failures + 1);
            let next = self.now + self.pause(failures);
            if let Some(lane) = self.lane_mut(router, attempt.lane) {
                lane.dial = None;
                lane.retry = Retry { failures, next };
            }
        } else {
            if code == Some(CloseCode::MyOwnAddress) {
                self.heard_myself(&attempt.target);
            }
            self.put_off(&attempt.target);
            let target = self.dialling.targets.get_mut(&attempt.target);
            let router = target.and_then(|target| {
                target.refused = code == Some(CloseCode::Replaced);
                target.router
            });
            if let Some(peer) = router.and_then(|router| self.peers.get_mut(&router)) {
                peer.unreachable |= peer.link.is_none();
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
        let longest = if self.is_hearsay(address) { HEARSAY_REDIAL_MAX } else { self.config.redial_max };
        let peer = self.dialling.targets.get(address).and_then(|target| self.peers.get(&target.router?));
        let link = peer.and_then(|peer| peer.link.as_ref());
        let pause = match link.map(Link::is_ours) {
            Some(true) => PROBE_EVERY,
            Some(false) => self.config.redial_max,
            None => self.pause_within(failures, longest),
        };
        let next = self.now + pause;
        if let Some(target) = self.dialling.targets.get_mut(address) {
            target.retry = Retry { failures, next };
        }
    }

    /// Whether only others have told of an address.
    fn is_hearsay(&self, address: &str) -> bool {
        let Some(target) = self.dialling.targets.get(address) else { return false };
        let peer = target.router.and_then(|router| self.peers.get(&router));
        !target.is_set() && peer.is_some_and(|peer| peer.incarnation.is_none() && !peer.once_linked)
    }

    /// Notes that an address led to this process. It may lead elsewhere the next time, unless it
    /// certainly is this router's.
    fn heard_myself(&mut self, address: &str) {
        if address == self.config.advertise {
            self.reached_myself(address);
        } else if let Some(target) = self.dialling.targets.get_mut(address) {
            self.metrics.own_address += u64::from(!std::mem::replace(&mut target.echo, true));
            target.router = None;
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

    /// Allows the addresses of a router to be dialled again: soon if this side is to dial,
    /// otherwise late, in case the peer has not learned of this router.
    pub(super) fn rearm(&mut self, router: RouterId) {
        let next =
            self.now + if router > self.config.router { self.pause(1) } else { self.config.sync_timeout / 2 };
        for target in self.dialling.targets.values_mut().filter(|target| target.router == Some(router)) {
            target.retry = Retry { failures: 0, next };
        }
    }

    /// Gives up attempts that took too long, and forgets addresses that belong to no seed or
    /// router.
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
        let is_told = |peer: &Peer, address: &String| {
            peer.advertise == *address
                || (peer.incarnation.is_none() && peer.told_by.values().any(|told| told == address))
        };
        self.dialling.targets.retain(|address, target| {
            let router = target.router.and_then(|router| peers.get(&router));
            if router.is_none() {
                target.router = None;
            }
            target.is_set() || target.dial.is_some() || router.is_some_and(|peer| is_told(peer, address))
        });
    }

    /// The time at which the next dial is due, or the next attempt is given up.
    pub(super) fn next_dial(&self) -> Option<Time> {
        let lanes = self
            .peers
            .values()
            .filter_map(Peer::link_to_complete)
            .filter(|link| link.target.is_some())
            .flat_map(|link| link.lanes.iter().skip(1))
            .filter(|lane| lane.up.is_none() && lane.dial.is_none())
            .map(|lane| lane.retry.next);
        let targets = self.dialling.targets.values().filter(|target| self.is_wanted(target));
        let probed =
            self.dialling.targets.iter().filter(|(address, target)| self.is_worth_a_probe(address, target));
        let probes = probed.map(|(_, target)| target.retry.next);
        let silent = self
            .peers
            .values()
            .filter_map(Peer::link_to_complete)
            .filter(|link| link.target.is_some())
            .flat_map(|link| &link.lanes)
            .filter(|lane| lane.dial.is_none())
            .filter_map(|lane| Some((lane.silent_since()? + SILENT_REDIAL_AFTER).max(lane.retry.next)));
        let due = targets.map(|target| target.retry.next).chain(lanes).chain(probes).chain(silent).min();
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
