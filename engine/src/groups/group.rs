//! One group at one owner: its members, what is in flight, what waits.
//!
//! An event comes in by [`offer`](Group::offer), and is given to a member at once
//! ([`next_given`](Group::next_given)), or waits. The member's core says what became of it
//! ([`answer`](Group::answer)). It ends once: taken, or dropped
//! ([`end_each`](Group::end_each)).
//!
//! ```text
//! offer ─► given to a member ─► taken
//!   │        ▲      │ handed back: to the next member, 8 at most
//!   ▼        │      ▼
//!   └───► waits ◄───┘ not longer than `hold` ─► dropped, group_unavailable
//!                   given 5 times ────────────► dropped, group_attempts
//! ```
//!
//! Order: events of one tag set are given in the order in which they came, and wait behind those
//! that wait. What is given again comes out of order, marked as a possible duplicate if a member
//! may have seen it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::ages::Ages;
use super::levels::{Levels, Switch, SwitchReason};
use super::limits::{DELIVERIES_MAX, GroupLimits, HAND_BACKS_MAX};
use super::member::{Joining, Member, MemberIndex, MemberState};
use super::placing::{Wanted, choose};
use super::waiting::{Answer, End, Load, Parcel, Waiting};
use crate::time::Time;

/// Above what a member's core needs to say that something was not acknowledged in time: an owner
/// looks itself only where that word was lost.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// Ended loads for which memory is kept from turn to turn.
const ENDED_KEPT: usize = 1024;

/// Serials of a group, which are used again: more than a group hands out in a load's life of three
/// minutes.
pub(super) const SERIALS: u64 = 1 << 30;

/// Something to be given to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// The number of the ticket within the group.
    pub(super) serial: u64,
    /// How many times it was given before.
    pub(super) generation: u64,
    /// Whom.
    pub(super) member: MemberIndex,
    /// A member may have seen it before.
    pub(super) maybe_duplicate: bool,
}

#[derive(Debug)]
struct InFlight<L> {
    parcel: Parcel<L>,
    member: MemberIndex,
    given: Time,
}

impl<L> InFlight<L> {
    const fn is_of(&self, generation: u64) -> bool {
        self.parcel.generation == generation
    }
}

/// The member that a tag set stays with, and for how many loads.
#[derive(Debug, Clone, Copy)]
struct Stay {
    member: MemberIndex,
    loads: u32,
}

/// One group. See the [module's description](self).
#[derive(Debug)]
pub(super) struct Group<L> {
    limits: GroupLimits,
    members: BTreeMap<MemberIndex, Member>,
    levels: Levels,
    next_serial: u64,
    in_flight: HashMap<u64, InFlight<L>, ahash::RandomState>,
    /// Serials in the order in which they were given; some of them may be answered by now.
    by_age: Ages,
    stays: HashMap<u64, Stay, ahash::RandomState>,
    waiting: Waiting<L>,
    bytes: usize,
    given: VecDeque<Given>,
    ended: Vec<(L, End)>,
    /// Something changed that may let go what waits.
    is_changed: bool,
    /// The router goes away: nothing waits.
    is_draining: bool,
    stale_answers: u64,
    redelivered: u64,
}

impl<L: Load> Group<L> {
    /// A group without members.
    #[must_use]
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            limits,
            members: BTreeMap::new(),
            levels: Levels::new(limits.failback),
            next_serial: 0,
            in_flight: HashMap::default(),
            by_age: Ages::new(),
            stays: HashMap::default(),
            waiting: Waiting::new(limits.hold),
            bytes: 0,
            given: VecDeque::new(),
            ended: Vec::new(),
            is_changed: false,
            is_draining: false,
            stale_answers: 0,
            redelivered: 0,
        }
    }

    /// A member joins.
    pub(super) fn join(&mut self, now: Time, index: MemberIndex, joining: Joining) {
        self.members.insert(index, Member::new(joining));
        self.changed(now);
    }

    /// A member is gone: what it has goes to others.
    pub(super) fn leave(&mut self, now: Time, index: MemberIndex) {
        if self.members.remove(&index).is_some() {
            self.take_back(now, index);
            self.changed(now);
        }
    }

    /// A member's core says how it is.
    pub(super) fn set_state(&mut self, now: Time, index: MemberIndex, state: MemberState) {
        if let Some(member) = self.members.get_mut(&index) {
            member.set_state(state);
            self.changed(now);
        }
    }

    /// A member's router answers, or does not: then what the member has goes to others.
    pub(super) fn set_reachable(&mut self, now: Time, index: MemberIndex, is_reachable: bool) {
        let Some(member) = self.members.get_mut(&index) else { return };
        if std::mem::replace(&mut member.is_reachable, is_reachable) != is_reachable {
            if !is_reachable {
                self.take_back(now, index);
            }
            self.changed(now);
        }
    }

    /// Does not take an event in: it has no room.
    pub(super) fn refuse(&mut self, load: L) {
        self.ended.push((load, End::Unavailable));
    }

    /// Takes an event in. `candidates` are the members that want it.
    pub(super) fn offer(&mut self, now: Time, load: L, candidates: &[MemberIndex]) {
        if self.bytes + load.bytes() > self.limits.hold_bytes {
            return self.refuse(load);
        }
        self.bytes += load.bytes();
        let serial = self.number();
        let parcel = Parcel {
            load,
            serial,
            generation: 0,
            deliveries: 0,
            offered: now,
            since: now,
            refused_by: Vec::new(),
        };
        let left = if self.waiting.has_key(parcel.load.key()) {
            Some(parcel)
        } else {
            self.place(now, parcel, candidates)
        };
        if let Some(parcel) = left {
            self.waiting.push_last(parcel);
            self.refuse_waiting();
        }
    }

    /// The next thing to be given to a member; its [`load`](Self::load_mut) is there until it ends.
    /// A member's core that does not take it [answers](Self::answer) so.
    pub(super) fn next_given(&mut self) -> Option<Given> {
        while let Some(given) = self.given.pop_front() {
            // Its member may have left before anybody asked.
            if self.in_flight.get(&given.serial).is_some_and(|flight| flight.is_of(given.generation)) {
                return Some(given);
            }
        }
        None
    }

    /// What stands behind a serial that is in flight. Its events, bytes and key stay as they are.
    pub(super) fn load_mut(&mut self, serial: u64) -> Option<&mut L> {
        self.in_flight.get_mut(&serial).map(|flight| &mut flight.parcel.load)
    }

    /// A member's core answers. `candidates` says which members want the load. One of another
    /// generation than the present one changes nothing.
    pub(super) fn answer(
        &mut self,
        now: Time,
        serial: u64,
        generation: u64,
        answer: Answer,
        candidates: &mut dyn FnMut(&L, &mut Vec<MemberIndex>),
    ) {
        let is_present = self.in_flight.get(&serial).is_some_and(|flight| flight.is_of(generation));
        if !is_present {
            self.stale_answers += 1;
            return;
        }
        let Some(InFlight { mut parcel, member, .. }) = self.land(serial) else { return };
        match answer {
            Answer::Taken => {
                self.finish(parcel, End::Taken);
                self.is_changed = true;
            }
            Answer::NotTaken => {
                parcel.deliveries -= 1;
                parcel.refused_by.push(member);
                if let Some(member) = self.members.get_mut(&member) {
                    member.refused(now);
                }
                self.look(now);
                if parcel.refused_by.len() >= HAND_BACKS_MAX as usize {
                    return self.waiting.push_first(parcel);
                }
                let mut wanted_by = Vec::new();
                candidates(&parcel.load, &mut wanted_by);
                if let Some(parcel) = self.place(now, parcel, &wanted_by) {
                    self.waiting.push_first(parcel);
                }
            }
            Answer::MaybeSeen => {
                parcel.refused_by = vec![member];
                self.give_again(now, parcel);
            }
        }
    }

    /// Gives what waits, as far as members take it: when something [is to be
    /// done](Self::is_changed).
    pub(super) fn serve(&mut self, now: Time, candidates: &mut dyn FnMut(&L, &mut Vec<MemberIndex>)) {
        self.is_changed = false;
        let mut blocked = HashSet::new();
        let (mut kept, mut wanted_by) = (Vec::new(), Vec::new());
        while self.has_room(now)
            && let Some(mut parcel) = self.waiting.pop()
        {
            let key = parcel.load.key();
            if blocked.contains(&key) {
                kept.push(parcel);
                continue;
            }
            wanted_by.clear();
            candidates(&parcel.load, &mut wanted_by);
            // Who could not take it before may now; who may have seen it comes last.
            let others = wanted_by.iter().any(|index| !parcel.refused_by.contains(index));
            if parcel.deliveries == 0 || !others {
                parcel.refused_by.clear();
            }
            if let Some(mut parcel) = self.place(now, parcel, &wanted_by) {
                parcel.refused_by.clear();
                blocked.insert(key);
                kept.push(parcel);
            }
        }
        for parcel in kept.into_iter().rev() {
            self.waiting.push_first(parcel);
        }
        self.refuse_waiting();
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Time) {
        self.levels.forget(now);
        self.look(now);
        self.is_changed |= !self.waiting.is_empty();
        for parcel in self.waiting.expire(now) {
            self.finish(parcel, End::Unavailable);
        }
        let wait = self.limits.ack_wait + ANSWER_GRACE;
        while let Some((given, serial)) = self.by_age.pop_due(now, wait) {
            let is_open = self.in_flight.get(&serial).is_some_and(|flight| flight.given == given);
            if is_open && let Some(InFlight { mut parcel, member, .. }) = self.land(serial) {
                parcel.refused_by = vec![member];
                self.give_again(now, parcel);
            }
        }
    }

    /// Whether what waits may be given, or time may change something.
    #[must_use]
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed && !self.waiting.is_empty()
    }

    /// Whether there is nothing here.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty()
            && self.in_flight.is_empty()
            && self.waiting.is_empty()
            && self.ended.is_empty()
    }

    /// The router goes away: what no member takes is refused from here on, so that nothing waits
    /// here that ends with the router.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.refuse_waiting();
    }

    fn refuse_waiting(&mut self) {
        while self.is_draining
            && let Some(parcel) = self.waiting.pop()
        {
            self.finish(parcel, End::Refused);
        }
    }

    /// Says what ended since this was asked last.
    pub(super) fn end_each(&mut self, each: &mut impl FnMut(L, End)) {
        self.ended.drain(..).for_each(|(load, end)| each(load, end));
        self.ended.shrink_to(ENDED_KEPT);
    }

    /// The last change of level.
    #[must_use]
    pub(super) const fn last_switch(&self) -> Option<Switch> {
        self.levels.last()
    }

    /// Changes of level.
    #[must_use]
    pub(super) const fn switches(&self) -> u64 {
        self.levels.switches()
    }

    /// Bytes that are in flight or wait.
    #[must_use]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Loads that wait.
    #[must_use]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the counts of stale answers and of what was given again since this was asked last.
    pub(super) const fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::replace(&mut self.stale_answers, 0), std::mem::replace(&mut self.redelivered, 0))
    }

    fn number(&mut self) -> u64 {
        let serial = self.next_serial;
        self.next_serial = (serial + 1) % SERIALS;
        serial
    }

    fn changed(&mut self, now: Time) {
        self.is_changed = true;
        self.look(now);
    }

    /// Has the levels look at who is eligible.
    fn look(&mut self, now: Time) {
        let eligible = self.members.values().filter(|member| member.is_eligible(now));
        let lowest = eligible.clone().map(|member| member.rung).min();
        let in_use = self.levels.in_use();
        let of_rung = |rung| self.members.values().filter(move |member| member.rung == rung);
        let unfit = in_use.filter(|&rung| !of_rung(rung).any(|member| member.is_eligible(now))).map(|rung| {
            let is_gone = !of_rung(rung).any(|member| member.is_reachable && !member.state.is_silent);
            if is_gone { SwitchReason::Gone } else { SwitchReason::Busy }
        });
        self.levels.look(now, lowest, unfit);
    }

    fn has_room(&self, now: Time) -> bool {
        self.members.values().any(|member| member.is_eligible(now) || member.is_last_resort(now))
    }

    /// Gives a parcel to members, cut to their room; what nobody takes is returned.
    fn place(&mut self, now: Time, mut parcel: Parcel<L>, candidates: &[MemberIndex]) -> Option<Parcel<L>> {
        loop {
            let key = parcel.load.key();
            let wanted = Wanted {
                shard: key & 0xfff,
                events: parcel.load.events(),
                stays: self.stays.get(&key).map(|stay| stay.member),
                refused_by: &parcel.refused_by,
            };
            let members = candidates.iter().filter_map(|&index| Some((index, self.members.get(&index)?)));
            let Some(index) = choose(now, self.levels.in_use(), members, wanted) else { return Some(parcel) };
            let member = self.members.get_mut(&index)?;
            let rung = member.rung;
            // One that is busy may be at its bound as this owner sees it; a load is never empty.
            let room = member.room().max(1);
            let rest = if parcel.load.events() > room && parcel.deliveries == 0 {
                let (serial, offered, since) = (self.number(), parcel.offered, parcel.since);
                self.bytes -= parcel.load.bytes();
                let (first, rest) = parcel.load.split(room);
                self.bytes += first.bytes() + rest.bytes();
                parcel.load = first;
                Some(Parcel {
                    load: rest,
                    serial,
                    generation: 0,
                    deliveries: 0,
                    offered,
                    since,
                    refused_by: parcel.refused_by.clone(),
                })
            } else {
                None
            };
            self.give(now, parcel, index);
            if self.levels.in_use() != Some(rung) {
                self.look(now);
            }
            parcel = rest?;
        }
    }

    fn give(&mut self, now: Time, mut parcel: Parcel<L>, index: MemberIndex) {
        let maybe_duplicate = parcel.deliveries > 0;
        let (serial, generation) = (parcel.serial, parcel.generation);
        parcel.deliveries += 1;
        if let Some(member) = self.members.get_mut(&index) {
            member.in_flight += parcel.load.events();
        }
        let stay = self.stays.entry(parcel.load.key()).or_insert(Stay { member: index, loads: 0 });
        stay.member = index;
        stay.loads += 1;
        self.given.push_back(Given { serial, generation, member: index, maybe_duplicate });
        self.by_age.push(now, serial);
        self.in_flight.insert(serial, InFlight { parcel, member: index, given: now });
    }

    /// Takes a load from the member that it is with; its next generation begins.
    fn land(&mut self, serial: u64) -> Option<InFlight<L>> {
        let mut flight = self.in_flight.remove(&serial)?;
        let Self { in_flight, by_age, .. } = self;
        by_age.answered(in_flight.len(), |given, serial| {
            in_flight.get(&serial).is_some_and(|flight| flight.given == given)
        });
        flight.parcel.generation += 1;
        if let Some(member) = self.members.get_mut(&flight.member) {
            member.in_flight = member.in_flight.saturating_sub(flight.parcel.load.events());
        }
        let key = flight.parcel.load.key();
        if let Some(stay) = self.stays.get_mut(&key) {
            stay.loads -= 1;
            if stay.loads == 0 {
                self.stays.remove(&key);
            }
        }
        Some(flight)
    }

    /// Takes everything back that a member has.
    fn take_back(&mut self, now: Time, index: MemberIndex) {
        let of_member = self.in_flight.iter().filter(|(_, flight)| flight.member == index);
        let mut serials: Vec<(Time, u64)> =
            of_member.map(|(&serial, flight)| (flight.parcel.offered, serial)).collect();
        serials.sort_unstable();
        for (_, serial) in serials.into_iter().rev() {
            if let Some(flight) = self.land(serial) {
                self.give_again(now, flight.parcel);
            }
        }
    }

    /// What a member may have seen waits for another one, before everything else.
    fn give_again(&mut self, now: Time, mut parcel: Parcel<L>) {
        self.is_changed = true;
        if parcel.deliveries >= DELIVERIES_MAX {
            return self.finish(parcel, End::Attempts);
        }
        self.redelivered += parcel.load.events();
        parcel.since = now;
        self.waiting.push_first(parcel);
    }

    fn finish(&mut self, parcel: Parcel<L>, end: End) {
        self.bytes -= parcel.load.bytes();
        self.ended.push((parcel.load, end));
    }
}
