//! One round: every router is tried once, until one welcomes the client.
//!
//! Addresses of one level are dialled one after the other, each with a head start over the next.
//! The next level begins when all attempts of the levels before have failed, or when they have had
//! a longer head start: a silent host must not cost the whole time of an attempt.

use std::collections::VecDeque;

use super::backoff::Chance;
use super::failure::{Cause, Failure};
use super::interface::{AttachmentConfig, AttemptId, Output};
use super::routers::Router;
use crate::time::Time;

/// Addresses that a search tries, at most. A later round may try others of a name that has more,
/// because each round draws their order anew.
pub(super) const ADDRESSES_MAX: usize = 64;

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Running<R: Router> {
    id: AttemptId,
    pub(super) level: usize,
    pub(super) router: R,
    pub(super) address: R::Address,
    /// Of its connection, once that was measured.
    pub(super) round_trip_ns: Option<u64>,
    /// When it was dialled.
    since: Time,
    deadline: Time,
}

/// The state of one round.
#[derive(Debug)]
pub(super) struct Round<R: Router, E> {
    /// Routers whose names are being looked up.
    lookups: Vec<(usize, R)>,
    lookup_deadline: Time,
    /// By level.
    waiting: VecDeque<(usize, R, R::Address)>,
    seen: Vec<R::Address>,
    /// Tried behind all others of its level.
    last: Option<R::Address>,
    /// Addresses that it tries, at most.
    addresses_max: usize,
    running: Vec<Running<R>>,
    /// When the head start of the attempt dialled last is over.
    next_dial: Time,
    /// The level dialled last.
    level: usize,
    /// When the head start of that level over the next is over.
    next_level: Time,
    failure: Option<Failure<R, E>>,
    /// Its routers: those that it began with, and those that it has heard of since.
    tried: Vec<R>,
}

impl<R: Router, E> Round<R, E> {
    /// Begins a round over `routers` and asks for the lookups in `outputs`. It tries `last` behind
    /// all others of its level.
    pub(super) fn new(
        routers: Vec<(usize, R)>,
        last: Option<R::Address>,
        addresses_max: usize,
        config: &AttachmentConfig,
        now: Time,
        outputs: &mut VecDeque<Output<R, E>>,
    ) -> Self {
        let mut round = Self {
            lookups: Vec::new(),
            lookup_deadline: now.after(config.attempt_ns),
            waiting: VecDeque::new(),
            seen: Vec::new(),
            last,
            addresses_max,
            running: Vec::new(),
            next_dial: now,
            level: routers.first().map_or(0, |(level, _)| *level),
            next_level: now.after(config.level_stagger_ns),
            failure: None,
            tried: routers.iter().map(|(_, router)| router.clone()).collect(),
        };
        for (level, router) in routers {
            round.add(level, router, outputs);
        }
        round
    }

    fn add(&mut self, level: usize, router: R, outputs: &mut VecDeque<Output<R, E>>) {
        match router.address() {
            Some(address) => self.wait(level, router, address),
            None => {
                outputs.push_back(Output::Resolve { router: router.clone() });
                self.lookups.push((level, router));
            }
        }
    }

    /// Tries this address before all others, beyond their number.
    pub(super) fn begin_with(&mut self, router: R, address: R::Address) {
        self.waiting.retain(|(.., waiting)| *waiting != address);
        self.seen.retain(|seen| *seen != address);
        self.seen.push(address.clone());
        self.addresses_max += 1;
        self.waiting.push_front((0, router, address));
    }

    /// Whether it has heard of more than one address.
    pub(super) const fn has_several(&self) -> bool {
        self.seen.len() > 1
    }

    /// Tries these routers of the first level, too, as far as it has not tried them yet.
    pub(super) fn also(&mut self, routers: &[R], outputs: &mut VecDeque<Output<R, E>>) {
        for router in
            routers.iter().filter(|&router| !self.tried.contains(router)).cloned().collect::<Vec<_>>()
        {
            self.tried.push(router.clone());
            self.add(0, router, outputs);
        }
    }

    fn wait(&mut self, level: usize, router: R, address: R::Address) {
        if self.seen.len() < self.addresses_max && !self.seen.contains(&address) {
            self.seen.push(address.clone());
            let order = |level: usize, address: &R::Address| (level, self.last.as_ref() == Some(address));
            let place = order(level, &address);
            let at = self.waiting.partition_point(|(level, _, address)| order(*level, address) <= place);
            self.waiting.insert(at, (level, router, address));
        }
    }

    /// Takes the outcome of a lookup.
    pub(super) fn resolved(&mut self, router: &R, outcome: Result<Vec<R::Address>, E>, chance: &mut Chance) {
        let Some(at) = self.lookups.iter().position(|(_, other)| other == router) else { return };
        let (level, router) = self.lookups.swap_remove(at);
        match outcome {
            Ok(addresses) if addresses.is_empty() => self.fail(Some(router), None, Cause::NoAddress),
            Ok(mut addresses) => {
                chance.shuffle(&mut addresses);
                for address in addresses {
                    self.wait(level, router.clone(), address);
                }
            }
            Err(error) => self.fail(Some(router), None, Cause::Lookup(error)),
        }
    }

    /// Removes an attempt; `None` for one that is not under way.
    pub(super) fn take(&mut self, attempt: AttemptId) -> Option<Running<R>> {
        let at = self.running.iter().position(|running| running.id == attempt)?;
        Some(self.running.swap_remove(at))
    }

    /// Notes that the router of an attempt has answered: if it was dialled last, the next address
    /// waits longer.
    pub(super) fn answered(&mut self, attempt: AttemptId, config: &AttachmentConfig) {
        let last = self.running.iter().max_by_key(|running| running.id);
        if let Some(last) = last.filter(|last| last.id == attempt) {
            self.next_dial = self.next_dial.max(last.since.after(config.answered_stagger_ns));
        }
    }

    /// Notes the round trip of an attempt.
    pub(super) fn measured(&mut self, attempt: AttemptId, round_trip_ns: u64) {
        if let Some(running) = self.running.iter_mut().find(|running| running.id == attempt) {
            running.round_trip_ns = Some(round_trip_ns);
        }
    }

    /// Notes a failure; the one that says most is kept.
    pub(super) fn fail(&mut self, router: Option<R>, address: Option<R::Address>, cause: Cause<E>) {
        let failure = Failure { router, address, cause };
        if self.failure.as_ref().is_none_or(|known| failure.outranks(known)) {
            self.failure = Some(failure);
        }
    }

    /// Attempts that are under way.
    pub(super) fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.running.iter().map(|running| running.id)
    }

    /// Gives up attempts and lookups whose time has passed, and dials the next address when it is
    /// due.
    pub(super) fn advance(
        &mut self,
        config: &AttachmentConfig,
        next: &mut AttemptId,
        now: Time,
        outputs: &mut VecDeque<Output<R, E>>,
    ) {
        while let Some(at) = self.running.iter().position(|running| running.deadline <= now) {
            let Running { id, router, address, .. } = self.running.swap_remove(at);
            self.fail(Some(router), Some(address), Cause::Timeout);
            outputs.push_back(Output::Abandon { attempt: id });
        }
        if now >= self.lookup_deadline {
            while let Some((_, router)) = self.lookups.pop() {
                self.fail(Some(router), None, Cause::LookupTimeout);
            }
        }
        if self.dial_due().is_some_and(|due| due <= now)
            && let Some((level, router, address)) = self.waiting.pop_front()
        {
            let id = next.take();
            outputs.push_back(Output::Dial { attempt: id, router: router.clone(), address: address.clone() });
            let deadline = now.after(config.attempt_ns);
            let running = Running { id, level, router, address, round_trip_ns: None, since: now, deadline };
            self.running.push(running);
            self.next_dial = now.after(config.stagger_ns);
            self.next_level = now.after(config.level_stagger_ns);
            self.level = level;
        }
    }

    /// When the next address is to be dialled, if there is one.
    fn dial_due(&self) -> Option<Time> {
        let (level, ..) = self.waiting.front()?;
        let is_open = |other: usize| other < *level;
        let is_lower_open = self.lookups.iter().any(|(other, _)| is_open(*other))
            || self.running.iter().any(|running| is_open(running.level));
        Some(if is_lower_open && *level > self.level {
            self.next_level
        } else if self.running.is_empty() {
            Time::ZERO
        } else {
            self.next_dial
        })
    }

    /// Why nobody welcomed the client, once everything was tried.
    pub(super) fn outcome(&mut self) -> Option<Failure<R, E>> {
        let nobody = || Failure { router: None, address: None, cause: Cause::NoRouters };
        self.is_over().then(|| self.failure.take().unwrap_or_else(nobody))
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.lookups.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        if self.is_over() {
            return Some(Time::ZERO);
        }
        let lookups = (!self.lookups.is_empty()).then_some(self.lookup_deadline);
        let dial = self.dial_due();
        let attempts = self.running.iter().map(|running| running.deadline).min();
        [lookups, dial, attempts].into_iter().flatten().min()
    }
}
