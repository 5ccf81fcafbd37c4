//! One group against its rules, whatever its members do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_proto::RouterId;
use millrace_proto::selector::Membership;
use proptest::prelude::*;

use super::group::{Given, Group};
use super::levels::Rung;
use super::limits::GroupLimits;
use super::member::{Joining, MemberIndex, MemberState};
use super::owner::Groups;
use super::waiting::{Answer, End, Load};
use crate::matching::Location;
use crate::time::Time;

/// Events of a tag set: its number, the first event's, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Events {
    key: u64,
    first: u64,
    count: u64,
}

impl Load for Events {
    fn events(&self) -> u64 {
        self.count
    }
    fn bytes(&self) -> usize {
        100
    }
    fn key(&self) -> u64 {
        self.key
    }
    fn split(self, events: u64) -> (Self, Self) {
        assert!(events > 0 && events < self.count);
        (
            Self { count: events, ..self },
            Self { first: self.first + events, count: self.count - events, ..self },
        )
    }
}

/// A group whose members take or refuse what they are given, and the account of every event.
struct World {
    now: Time,
    group: Group<Events>,
    limits: GroupLimits,
    /// With each member: tickets, generations and loads.
    with: BTreeMap<MemberIndex, Vec<(Given, Events)>>,
    /// Members that hand everything back.
    refusing: BTreeSet<MemberIndex>,
    next: BTreeMap<u64, u64>,
    taken: BTreeMap<(u64, u64), u32>,
    dropped: BTreeMap<(u64, u64), End>,
    /// Events that each member was given, in order, those that may be duplicates left out.
    seen: BTreeMap<MemberIndex, Vec<Events>>,
    gave_again: u64,
}

const MAX_INFLIGHT: u64 = 8;

impl World {
    fn new() -> Self {
        let limits = GroupLimits::default();
        Self {
            now: Time::from_nanos(1_000_000_000),
            group: Group::new(limits),
            limits,
            with: BTreeMap::new(),
            refusing: BTreeSet::new(),
            next: BTreeMap::new(),
            taken: BTreeMap::new(),
            dropped: BTreeMap::new(),
            seen: BTreeMap::new(),
            gave_again: 0,
        }
    }

    fn of(levels: &[u8]) -> Self {
        let mut world = Self::new();
        for (index, &level) in (0..).zip(levels) {
            world.join(index, level);
        }
        world
    }

    fn join(&mut self, index: MemberIndex, level: u8) {
        let rung = Rung { level, member: 0 };
        let identity = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.with.insert(index, Vec::new());
        self.group.join(self.now, index, Joining { rung, identity, max_inflight: MAX_INFLIGHT });
        self.settle();
    }

    fn leave(&mut self, index: MemberIndex) {
        self.with.remove(&index);
        self.group.leave(self.now, index);
        self.settle();
    }

    fn publish(&mut self, key: u64, count: u64) {
        let next = self.next.entry(key).or_insert(0);
        let load = Events { key, first: *next, count };
        *next += count;
        let all: Vec<MemberIndex> = self.with.keys().copied().collect();
        self.group.offer(self.now, load, &all);
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.group.tick(self.now);
        self.settle();
    }

    /// The oldest that a member has.
    fn answer_oldest(&mut self, index: MemberIndex, answer: Answer) {
        if let Some(held) = self.with.get_mut(&index).filter(|held| !held.is_empty()) {
            let (given, _) = held.remove(0);
            self.answer(given, answer);
            self.settle();
        }
    }

    fn answer(&mut self, given: Given, answer: Answer) {
        let all: Vec<MemberIndex> = self.with.keys().copied().collect();
        let mut candidates = |_: &Events, out: &mut Vec<MemberIndex>| out.extend(&all);
        self.group.answer(self.now, given.serial, given.generation, answer, &mut candidates);
    }

    /// Does what a core does at the end of a turn.
    fn settle(&mut self) {
        let all: Vec<MemberIndex> = self.with.keys().copied().collect();
        if self.group.is_changed() {
            self.group.serve(self.now, &mut |_, out| out.extend(&all));
        }
        while let Some(given) = self.group.next_given() {
            let load = *self.group.load_mut(given.serial).unwrap();
            let Some(held) = self.with.get_mut(&given.member) else { continue };
            if self.refusing.contains(&given.member) {
                self.answer(given, Answer::NotTaken);
                continue;
            }
            held.push((given, load));
            if given.maybe_duplicate {
                self.gave_again += load.count;
            } else {
                self.seen.entry(given.member).or_default().push(load);
            }
        }
        let mut all = Vec::new();
        self.group.end_each(&mut |load, end| all.push((load, end)));
        for (load, end) in all {
            for event in load.first..load.first + load.count {
                let id = (load.key, event);
                assert!(
                    !self.taken.contains_key(&id) && !self.dropped.contains_key(&id),
                    "{id:?} ended twice"
                );
                match end {
                    End::Taken => drop(self.taken.insert(id, 1)),
                    End::Unavailable | End::Attempts | End::Refused => drop(self.dropped.insert(id, end)),
                }
            }
        }
    }

    fn state(&mut self, index: MemberIndex, busy: bool, room: u64) {
        let in_flight = self.with.get(&index).map_or(0, Vec::len) as u64;
        self.group.set_state(self.now, index, MemberState { in_flight, room, busy, is_silent: false });
        self.settle();
    }

    fn published(&self) -> u64 {
        self.next.values().sum()
    }

    fn level_of_newest(&self) -> u8 {
        self.group.last_switch().unwrap().to.level
    }
}

#[test]
fn the_second_level_gets_the_next_event_when_the_first_is_busy_or_gone() {
    let mut world = World::of(&[1, 2]);
    world.publish(1, 1);
    assert_eq!(world.with[&0].len(), 1);
    world.state(0, true, 0);
    world.publish(1, 1);
    assert_eq!((world.with[&1].len(), world.level_of_newest()), (1, 2));
    world.state(0, false, 8);
    world.publish(2, 1);
    assert_eq!(world.with[&1].len(), 2, "the better level waits for its time");
    world.pass(Duration::from_secs(5));
    world.publish(3, 1);
    assert_eq!((world.with[&0].len(), world.level_of_newest()), (2, 1));
    world.leave(0);
    assert_eq!(world.with[&1].len(), 4, "what it had goes on at once");
    assert_eq!(world.gave_again, 2);
}

#[test]
fn a_run_is_cut_to_the_room_of_members_and_the_rest_waits() {
    let mut world = World::of(&[1, 1]);
    world.publish(1, 20);
    let counts: Vec<u64> =
        world.with.values().map(|held| held.iter().map(|(_, load)| load.count).sum()).collect();
    assert_eq!((counts.iter().sum::<u64>(), world.group.waiting()), (16, 1));
    world.answer_oldest(0, Answer::Taken);
    assert_eq!(world.group.waiting(), 0);
}

#[test]
fn events_wait_for_the_first_member_that_comes_back_and_not_longer_than_the_hold() {
    let mut world = World::of(&[1]);
    world.state(0, true, 0);
    world.publish(1, 1);
    world.publish(1, 1);
    world.pass(Duration::from_secs(29));
    assert_eq!(world.group.waiting(), 2);
    world.join(7, 3);
    assert_eq!((world.with[&7].len(), world.group.waiting()), (2, 0));
    world.leave(7);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.dropped.values().collect::<Vec<_>>(), [&End::Unavailable; 2]);
    assert_eq!(world.group.bytes(), 0);
}

#[test]
fn nothing_waits_at_a_router_that_goes_away() {
    let mut world = World::of(&[1]);
    world.state(0, true, 0);
    world.publish(1, 1);
    world.group.drain();
    world.publish(2, 1);
    assert_eq!(world.dropped.values().collect::<Vec<_>>(), [&End::Refused; 2]);
}

#[test]
fn an_event_that_nobody_acknowledges_ends_after_five_deliveries() {
    let mut world = World::of(&[1, 1, 2]);
    world.publish(1, 1);
    for _ in 0..5 {
        let index = *world.with.iter().find(|(_, held)| !held.is_empty()).unwrap().0;
        world.answer_oldest(index, Answer::MaybeSeen);
    }
    assert_eq!(world.dropped.values().collect::<Vec<_>>(), [&End::Attempts]);
    assert_eq!(world.gave_again, 4);
}

#[test]
fn an_old_generation_changes_nothing() {
    let mut world = World::of(&[1, 1]);
    world.publish(1, 1);
    let first = *world.with.iter().find(|(_, held)| !held.is_empty()).unwrap().0;
    let (given, _) = world.with[&first][0];
    world.answer(given, Answer::MaybeSeen);
    world.settle();
    world.answer(given, Answer::Taken);
    assert_eq!((world.taken.len(), world.group.take_counts().0), (0, 1));
    world.answer_oldest(1 - first, Answer::Taken);
    assert_eq!(world.taken.len(), 1);
}

#[test]
fn a_member_that_hands_back_is_asked_once_and_the_next_one_serves() {
    let mut world = World::of(&[1, 1, 1]);
    world.refusing = [0, 1].into();
    (0..4).for_each(|key| world.publish(key, 1));
    assert_eq!(world.with[&2].len(), 4);
    world.refusing = [0, 1, 2].into();
    world.publish(9, 1);
    assert_eq!(world.group.waiting(), 1);
    world.refusing.clear();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.group.waiting(), 0);
}

#[test]
fn delivery_goes_on_when_all_members_of_all_levels_have_timed_out() {
    let mut world = World::of(&[1, 1, 2]);
    (0..40).for_each(|key| world.publish(key, 1));
    assert_eq!(world.group.waiting(), 40 - 24);
    // Their cores hand back what was not acknowledged, and say that there is room.
    world.pass(world.limits.ack_wait);
    for index in 0..3 {
        for (given, _) in std::mem::take(world.with.get_mut(&index).unwrap()) {
            world.answer(given, Answer::MaybeSeen);
        }
        world.state(index, false, MAX_INFLIGHT);
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(world.with.values().map(Vec::len).sum::<usize>(), 24);
    assert!(world.gave_again > 0);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish(u64, u64),
    Take(MemberIndex),
    HandBack(MemberIndex),
    TimeOut(MemberIndex),
    Refuse(MemberIndex, bool),
    Busy(MemberIndex, bool),
    Leave(MemberIndex),
    Join(MemberIndex, u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..5_u16;
    prop_oneof![
        6 => (0..6_u64, 1..12_u64).prop_map(|(key, count)| Step::Publish(key, count)),
        6 => member.clone().prop_map(Step::Take),
        1 => member.clone().prop_map(Step::HandBack),
        1 => member.clone().prop_map(Step::TimeOut),
        1 => (member.clone(), any::<bool>()).prop_map(|(index, on)| Step::Refuse(index, on)),
        2 => (member.clone(), any::<bool>()).prop_map(|(index, on)| Step::Busy(index, on)),
        1 => member.clone().prop_map(Step::Leave),
        2 => (member, 1..4_u8).prop_map(|(index, level)| Step::Join(index, level)),
        2 => (1..8_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Every event ends once, whatever members do; what no member may have seen twice comes in
    /// order; and a group whose members work again gives out all that it has.
    #[test]
    fn every_event_ends_once_and_in_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::of(&[1, 1, 2]);
        for step in steps {
            match step {
                Step::Publish(key, count) => world.publish(key, count),
                Step::Take(index) => world.answer_oldest(index, Answer::Taken),
                Step::HandBack(index) => world.answer_oldest(index, Answer::NotTaken),
                Step::TimeOut(index) => world.answer_oldest(index, Answer::MaybeSeen),
                Step::Refuse(index, true) => drop(world.refusing.insert(index)),
                Step::Refuse(index, false) => drop(world.refusing.remove(&index)),
                Step::Busy(index, on) => world.state(index, on, if on { 0 } else { MAX_INFLIGHT }),
                Step::Leave(index) => world.leave(index),
                Step::Join(index, level) if !world.with.contains_key(&index) => world.join(index, level),
                Step::Join(..) => {}
                Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
            }
        }
        world.refusing.clear();
        world.join(9, 1);
        for _ in 0..400 {
            world.pass(Duration::from_millis(500));
            let members: Vec<MemberIndex> = world.with.keys().copied().collect();
            members.into_iter().for_each(|index| world.answer_oldest(index, Answer::Taken));
        }
        prop_assert_eq!(world.group.bytes(), 0);
        prop_assert_eq!((world.taken.len() + world.dropped.len()) as u64, world.published());
    }

    /// With members that stay, and take what they are given, each tag set arrives in order at each
    /// member, nothing is given twice, and nothing is dropped.
    #[test]
    fn stable_members_see_each_tag_set_in_order(
        steps in prop::collection::vec((0..6_u64, 1..12_u64, 0..4_u16), 1..80)
    ) {
        let mut world = World::of(&[1, 1, 1, 1]);
        for (key, count, index) in steps {
            world.publish(key, count);
            world.answer_oldest(index, Answer::Taken);
        }
        for seen in world.seen.values() {
            let mut next = BTreeMap::new();
            for load in seen {
                prop_assert!(next.insert(load.key, load.first + load.count).is_none_or(|next| next <= load.first));
            }
        }
        prop_assert_eq!((world.gave_again, world.dropped.len()), (0, 0));
    }
}

#[test]
fn all_groups_of_a_core_keep_so_much_together() {
    let now = Time::from_nanos(1_000_000_000);
    // Ten loads of a group, forty of all.
    let mut groups = Groups::new(GroupLimits { hold_bytes: 1000, ..GroupLimits::default() });
    for member in 0..8 {
        let membership = Membership {
            group: format!("group-{member}").into(),
            member: u32::from(member),
            level: 1,
            exclusive: false,
            max_inflight: 1,
        };
        groups.join(now, member, &membership, Location::Core(0), RouterId(1));
    }
    let all: Vec<MemberIndex> = (0..8).collect();
    let (mut given, mut ended) = (BTreeSet::new(), 0);
    for first in 0..7 {
        groups.offer(now, all.iter().copied(), || Events { key: 1, first, count: 1 });
        while let Some(ticket) = groups.next_given() {
            assert!(given.insert(ticket.place.number), "each has room for one");
        }
        groups.end_each(|_, _| ended += 1);
    }
    assert_eq!((given.len(), ended), (8, 7 * 8 - 40));
    assert_eq!(groups.take_counts().bytes, 40 * 100);
}
