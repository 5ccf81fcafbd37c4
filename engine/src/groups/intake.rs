//! A member at its own core: what it has, whether it is busy, and whom its answers go to.
//!
//! A member is *busy* from `max_inflight` events that are not acknowledged on, or from 80 % of its
//! queue, or when its application says so. It is busy until both are down to half, and for
//! `busy_hold` at least. While its session does not answer, it takes nothing, and what it has goes
//! to others.
//!
//! Every run that it is given gets a number of this receiver: owners number their tickets each for
//! itself. What is not acknowledged within `ack_wait` is handed back, and its number stands for
//! nothing from then on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use millrace_proto::selector::Membership;

use super::ages::Ages;
use super::limits::GroupLimits;
use super::member::MemberState;
use crate::message::CoreIndex;
use crate::time::Time;
use crate::transport::ConnKey;

/// Where a ticket came from, and where its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whence {
    /// This core owns the run.
    Here,
    /// A sibling core handed it over, for itself.
    Sibling(CoreIndex),
    /// A sibling core handed it over, for a peer on this lane of that core.
    SiblingLane(CoreIndex, ConnKey),
    /// A peer, on this lane.
    Lane(ConnKey),
}

/// A ticket that the member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Where it came from.
    pub whence: Whence,
    /// Its number there.
    pub ticket: u64,
    /// Its generation.
    pub generation: u64,
    /// Its events.
    pub events: u64,
}

/// A member at its own core.
#[derive(Debug)]
pub struct Intake {
    membership: Arc<Membership>,
    held: HashMap<u64, Held, ahash::RandomState>,
    /// When each was given, oldest first; some of them may be acknowledged by now.
    by_age: Ages,
    next_number: u64,
    in_flight: u64,
    /// Since when it is busy because of what it has.
    busy_since: Option<Time>,
    /// Its application says that it is busy.
    is_told_busy: bool,
    /// Its session does not answer, or its router goes away.
    is_silent: bool,
    /// What was reported last.
    reported: Option<(bool, bool, bool)>,
}

impl Intake {
    /// A member that has nothing.
    #[must_use]
    pub fn new(membership: Arc<Membership>) -> Self {
        Self {
            membership,
            held: HashMap::default(),
            by_age: Ages::new(),
            next_number: 0,
            in_flight: 0,
            busy_since: None,
            is_told_busy: false,
            is_silent: false,
            reported: None,
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// Whether it takes a run, while its queue holds `queued` of `queue_max` bytes.
    #[must_use]
    pub fn takes(&self, queued: u64, queue_max: u64) -> bool {
        !self.is_told_busy
            && !self.is_silent
            && self.in_flight < self.membership.max_inflight
            && queued < busy_bytes(queue_max)
    }

    /// It was given a run; returns the run's number for the receiver.
    pub fn give(&mut self, now: Time, held: Held, queued: u64, queue_max: u64) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.in_flight += held.events;
        self.held.insert(number, held);
        self.by_age.push(now, number);
        if self.in_flight >= self.membership.max_inflight || queued >= busy_bytes(queue_max) {
            self.busy_since.get_or_insert(now);
        }
        number
    }

    /// Its application answers for a run. None for one that it has not, or not in this generation.
    pub fn answered(&mut self, number: u64, generation: u64) -> Option<Held> {
        let Entry::Occupied(entry) = self.held.entry(number) else { return None };
        if entry.get().generation != generation {
            return None;
        }
        let answered = entry.remove();
        self.in_flight -= answered.events;
        let Self { held, by_age, .. } = self;
        by_age.answered(held.len(), |_, number| held.contains_key(&number));
        Some(answered)
    }

    /// Its application says whether it is busy.
    pub const fn set_told_busy(&mut self, is_busy: bool) {
        self.is_told_busy = is_busy;
    }

    /// Its session answers, or does not.
    pub const fn set_silent(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
    }

    /// Takes back everything that it has, in the order in which it was given.
    pub fn take_all(&mut self) -> Vec<Held> {
        self.by_age.clear();
        self.in_flight = 0;
        let mut held: Vec<(u64, Held)> = std::mem::take(&mut self.held).into_iter().collect();
        held.sort_unstable_by_key(|&(number, _)| number);
        held.into_iter().map(|(_, held)| held).collect()
    }

    /// What was not acknowledged in time.
    pub fn expire(&mut self, now: Time, limits: &GroupLimits) -> Vec<Held> {
        let mut expired = Vec::new();
        while let Some((_, number)) = self.by_age.pop_due(now, limits.ack_wait) {
            if let Some(held) = self.held.remove(&number) {
                self.in_flight -= held.events;
                expired.push(held);
            }
        }
        expired
    }

    /// Looks whether it is busy no more.
    pub fn tick(&mut self, now: Time, limits: &GroupLimits, queued: u64, queue_max: u64) {
        if queued >= busy_bytes(queue_max) {
            self.busy_since.get_or_insert(now);
        }
        let is_down = self.in_flight <= self.membership.max_inflight / 2 && queued <= queue_max / 2;
        if is_down && self.busy_since.is_some_and(|since| now.since(since) >= limits.busy_hold) {
            self.busy_since = None;
        }
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> MemberState {
        let takes_none = self.is_told_busy || self.is_silent;
        MemberState {
            in_flight: self.in_flight,
            room: if takes_none { 0 } else { self.membership.max_inflight.saturating_sub(self.in_flight) },
            busy: takes_none || self.busy_since.is_some(),
            is_silent: self.is_silent,
        }
    }

    /// How it is, if that matters to owners and they were not told.
    pub fn take_news(&mut self) -> Option<MemberState> {
        let state = self.state();
        let is_down = self.in_flight <= self.membership.max_inflight / 2;
        let seen = (state.busy, state.room > 0, is_down);
        (self.reported.replace(seen) != Some(seen)).then_some(state)
    }
}

/// Bytes of a queue from which on its member is busy.
const fn busy_bytes(queue_max: u64) -> u64 {
    queue_max / 5 * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(max_inflight: u64) -> Intake {
        let membership =
            Membership { group: "disks".into(), member: 1, level: 1, exclusive: false, max_inflight };
        Intake::new(Arc::new(membership))
    }

    fn held(ticket: u64, events: u64) -> Held {
        Held { whence: Whence::Here, ticket, generation: 2, events }
    }

    const fn seconds(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn busy_begins_at_the_bound_and_ends_at_half_of_it_after_a_second() {
        let (limits, mut member) = (GroupLimits::default(), intake(4));
        let numbers: Vec<u64> =
            (0..4).map(|ticket| member.give(seconds(1), held(ticket, 1), 0, 1000)).collect();
        assert!(member.state().busy && !member.takes(0, 1000));
        assert_eq!(member.answered(numbers[0], 2), Some(held(0, 1)));
        assert_eq!(member.answered(numbers[0], 2), None, "once");
        assert_eq!(member.answered(numbers[1], 1), None, "of another generation");
        member.tick(seconds(3), &limits, 0, 1000);
        assert!(member.state().busy, "three of four are left");
        member.answered(numbers[1], 2);
        member.tick(Time::from_nanos(1_900_000_000), &limits, 0, 1000);
        assert!(member.state().busy, "a second has not passed");
        member.tick(seconds(2), &limits, 0, 1000);
        assert_eq!(member.state(), MemberState { in_flight: 2, room: 2, ..MemberState::default() });
    }

    #[test]
    fn a_full_queue_or_a_word_of_the_application_makes_it_busy() {
        let (limits, mut member) = (GroupLimits::default(), intake(100));
        assert!(member.takes(799, 1000) && !member.takes(800, 1000));
        member.tick(seconds(1), &limits, 800, 1000);
        assert!(member.state().busy);
        member.tick(seconds(2), &limits, 500, 1000);
        assert!(!member.state().busy);
        member.set_told_busy(true);
        assert_eq!(member.state(), MemberState { busy: true, ..MemberState::default() });
        assert!(!member.takes(0, 1000));
        member.set_told_busy(false);
        assert!(member.takes(0, 1000) && !member.state().busy);
    }

    #[test]
    fn what_is_not_acknowledged_in_time_is_handed_back_and_makes_room() {
        let (limits, mut member) = (GroupLimits::default(), intake(2));
        let first = member.give(seconds(1), held(7, 1), 0, 1000);
        member.give(seconds(2), held(8, 1), 0, 1000);
        assert_eq!(member.expire(seconds(30), &limits), []);
        assert_eq!(member.expire(seconds(31), &limits), [held(7, 1)]);
        assert_eq!(member.answered(first, 2), None);
        assert_eq!(member.take_all(), [held(8, 1)]);
        assert_eq!(member.state().in_flight, 0);
    }
}
