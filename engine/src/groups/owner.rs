//! The groups of a core, as the owner of runs: who their members are and where, and which group a
//! ticket is of.
//!
//! A ticket names, from its low bits on, the member at its router, the group at its owner, and the
//! load within the group. So the router that gets it knows for whom it is, and the owner that gets
//! an answer knows where it belongs, without looking anything up:
//!
//! ```text
//! ticket    serial 30 bits · group 12 bits · member 20 bits
//! ```

use std::collections::{BTreeMap, HashMap};

use millrace_proto::RouterId;
use millrace_proto::selector::Membership;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::group::{Given, Group, SERIALS};
use super::levels::{Rung, Switch};
use super::limits::GroupLimits;
use super::member::{Joining, MemberIndex, MemberState};
use super::waiting::{Answer, End, Load};
use crate::matching::Location;
use crate::message::PeerIndex;
use crate::time::Time;

/// Groups of a router, at most: what a ticket has bits for.
pub const GROUPS_MAX: u16 = 1 << 12;
const GROUP_SHIFT: u32 = 20;
/// Numbers of a router's members, which are used again.
pub const MEMBER_NUMBERS: u32 = 1 << GROUP_SHIFT;
const SERIAL_SHIFT: u32 = 32;

/// A group, among those of a core.
type GroupNumber = u16;

/// The member that a ticket is for, by its router's number.
#[must_use]
pub fn member_of(ticket: u64) -> u32 {
    u32::try_from(ticket % u64::from(MEMBER_NUMBERS)).unwrap_or_default()
}

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its core, or its router.
    pub location: Location,
    /// Its router's number of it.
    pub number: u32,
    group: GroupNumber,
}

/// Something to be given to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Names it at this owner.
    pub number: u64,
    /// How many times it was given before.
    pub generation: u64,
    /// Where the member is.
    pub place: Place,
    /// A member may have seen it before.
    pub maybe_duplicate: bool,
}

#[derive(Debug)]
struct Named<L> {
    name: Box<str>,
    group: Group<L>,
}

/// A group as its owner sees it, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPicture {
    /// Its name.
    pub group: Box<str>,
    /// Its last change of level; none before its first member takes events.
    pub switch: Option<Switch>,
    /// Changes of level.
    pub switches: u64,
    /// Loads that wait for a member.
    pub waiting: u64,
    /// Bytes that wait or are in flight.
    pub bytes: u64,
}

/// The groups of a core, as their owner sees them.
#[derive(Debug)]
pub struct Groups<L> {
    limits: GroupLimits,
    places: Vec<Option<Place>>,
    groups: BTreeMap<GroupNumber, Named<L>>,
    numbers: HashMap<Box<str>, GroupNumber, ahash::RandomState>,
    /// Groups whose loads are to be given, or have ended, each once.
    touched: Vec<GroupNumber>,
    /// Those among them before this place have nothing to give.
    given_to: usize,
    /// Changes of level since the counts were last taken.
    switches: u64,
    /// Bytes of all groups.
    bytes: usize,
    /// Memory to use.
    wanting: Vec<(GroupNumber, MemberIndex)>,
    members: Vec<MemberIndex>,
}

impl<L: Load> Groups<L> {
    /// No groups.
    #[must_use]
    pub fn new(limits: GroupLimits) -> Self {
        Self {
            limits,
            places: Vec::new(),
            groups: BTreeMap::new(),
            numbers: HashMap::default(),
            touched: Vec::new(),
            given_to: 0,
            switches: 0,
            bytes: 0,
            wanting: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Sets the limits of groups that begin from here on.
    pub const fn set_limits(&mut self, limits: GroupLimits) {
        self.limits = limits;
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a group of this name is there, or could be.
    #[must_use]
    pub fn has_room(&self, name: &str) -> bool {
        self.groups.len() < usize::from(GROUPS_MAX) || self.numbers.contains_key(name)
    }

    /// A member joins. Beyond the groups that tickets can name, it is passed over.
    pub fn join(
        &mut self,
        now: Time,
        index: MemberIndex,
        member: &Membership,
        location: Location,
        router: RouterId,
    ) {
        let Some(number) = self.number_of(&member.group) else { return };
        let at = usize::from(index);
        if self.places.len() <= at {
            self.places.resize(at + 1, None);
        }
        self.places[at] = Some(Place { location, number: member.member, group: number });
        let identity = xxh3_64_with_seed(&member.member.to_le_bytes(), router.0);
        let rung = Rung { level: member.level, member: if member.exclusive { identity } else { 0 } };
        let joining = Joining { rung, identity, max_inflight: member.max_inflight };
        self.with(number, |group| group.join(now, index, joining));
    }

    /// A member is gone.
    pub fn leave(&mut self, now: Time, index: MemberIndex) {
        let Some(place) = self.places.get_mut(usize::from(index)).and_then(Option::take) else { return };
        self.with(place.group, |group| group.leave(now, index));
    }

    /// A member's core says how it is.
    pub fn set_state(&mut self, now: Time, index: MemberIndex, state: MemberState) {
        if let Some(place) = self.place(index) {
            self.with(place.group, |group| group.set_state(now, index, state));
        }
    }

    /// A peer answers, or does not.
    pub fn set_reachable(&mut self, now: Time, peer: PeerIndex, is_reachable: bool) {
        for index in 0..self.places.len() {
            let Ok(index) = MemberIndex::try_from(index) else { return };
            if let Some(place) = self.place(index).filter(|place| place.location == Location::Peer(peer)) {
                self.with(place.group, |group| group.set_reachable(now, index, is_reachable));
            }
        }
    }

    /// Where a member is.
    #[must_use]
    pub fn location(&self, index: MemberIndex) -> Option<Location> {
        self.place(index).map(|place| place.location)
    }

    /// Takes an event in for each group among `candidates`, which are the members that want it.
    /// What all groups together have no room for ends as *unavailable*.
    pub fn offer(
        &mut self,
        now: Time,
        candidates: impl Iterator<Item = MemberIndex>,
        mut load: impl FnMut() -> L,
    ) {
        let (mut wanting, mut members) =
            (std::mem::take(&mut self.wanting), std::mem::take(&mut self.members));
        wanting.clear();
        wanting.extend(candidates.filter_map(|index| Some((self.place(index)?.group, index))));
        wanting.sort_by_key(|&(group, _)| group);
        for of_group in wanting.chunk_by(|(one, _), (next, _)| one == next) {
            let load = load();
            let has_room = self.bytes + load.bytes() <= self.limits.hold_all();
            members.clear();
            members.extend(of_group.iter().map(|&(_, index)| index));
            self.with(of_group[0].0, |group| match has_room {
                true => group.offer(now, load, &members),
                false => group.refuse(load),
            });
        }
        (self.wanting, self.members) = (wanting, members);
    }

    /// A member's core answers for a ticket.
    pub fn answer(
        &mut self,
        now: Time,
        (ticket, generation): (u64, u64),
        answer: Answer,
        candidates: &mut dyn FnMut(&L, &mut Vec<MemberIndex>),
    ) {
        let (serial, number) = (ticket >> SERIAL_SHIFT, group_of(ticket));
        self.with(number, |group| group.answer(now, serial % SERIALS, generation, answer, candidates));
    }

    /// Whether something is to be given, or has ended.
    #[inline]
    #[must_use]
    pub const fn has_work(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Gives what waits, as far as members take it.
    pub fn serve(&mut self, now: Time, candidates: &mut dyn FnMut(&L, &mut Vec<MemberIndex>)) {
        self.given_to = 0;
        for number in &self.touched {
            if let Some(named) = self.groups.get_mut(number).filter(|named| named.group.is_changed()) {
                let before = named.group.bytes();
                named.group.serve(now, candidates);
                self.bytes = self.bytes - before + named.group.bytes();
            }
        }
    }

    /// The next thing to be given to a member.
    pub fn next_given(&mut self) -> Option<Ticket> {
        for number in &self.touched[self.given_to..] {
            let Some(Named { group, .. }) = self.groups.get_mut(number) else {
                self.given_to += 1;
                continue;
            };
            while let Some(Given { serial, generation, member, maybe_duplicate }) = group.next_given() {
                // One that has left meanwhile: the load has another generation.
                let Some(Some(place)) = self.places.get(usize::from(member)) else { continue };
                let bits = serial << SERIAL_SHIFT | u64::from(*number) << GROUP_SHIFT;
                let number = bits | u64::from(place.number);
                return Some(Ticket { number, generation, place: *place, maybe_duplicate });
            }
            self.given_to += 1;
        }
        None
    }

    /// What a ticket stands for, while it is with its member.
    pub fn load_mut(&mut self, ticket: u64) -> Option<(&mut L, &str)> {
        let Named { name, group } = self.groups.get_mut(&group_of(ticket))?;
        Some((group.load_mut(ticket >> SERIAL_SHIFT)?, name))
    }

    /// Says what ended since this was asked last. Everything that was to be given was given.
    pub fn end_each(&mut self, mut each: impl FnMut(L, End)) {
        self.given_to = 0;
        for number in self.touched.drain(..) {
            let Some(named) = self.groups.get_mut(&number) else { continue };
            named.group.end_each(&mut each);
            if named.group.is_idle()
                && let Some(gone) = self.groups.remove(&number)
            {
                self.numbers.remove(&gone.name);
            }
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time) {
        let numbers: Vec<GroupNumber> = self.groups.keys().copied().collect();
        for number in numbers {
            self.with(number, |group| group.tick(now));
        }
    }

    /// The router goes away: what no member takes is refused from here on.
    pub fn drain(&mut self) {
        let numbers: Vec<GroupNumber> = self.groups.keys().copied().collect();
        for number in numbers {
            self.with(number, Group::drain);
        }
    }

    /// The groups, in the order of their numbers.
    pub fn pictures(&self) -> impl Iterator<Item = GroupPicture> {
        self.groups.values().map(|Named { name, group }| GroupPicture {
            group: name.clone(),
            switch: group.last_switch(),
            switches: group.switches(),
            waiting: group.waiting() as u64,
            bytes: group.bytes() as u64,
        })
    }

    /// Changes of level, stale answers, and events given again, since this was asked last.
    pub fn take_counts(&mut self) -> Counts {
        let counts = Counts { switches: std::mem::take(&mut self.switches), ..Counts::default() };
        self.groups.values_mut().fold(counts, |mut counts, named| {
            let (stale, redelivered) = named.group.take_counts();
            counts.stale_answers += stale;
            counts.redelivered += redelivered;
            counts.waiting += named.group.waiting() as u64;
            counts.bytes += named.group.bytes() as u64;
            counts
        })
    }

    fn place(&self, index: MemberIndex) -> Option<Place> {
        *self.places.get(usize::from(index))?
    }

    /// The number of a group, which is new if its name is.
    fn number_of(&mut self, name: &str) -> Option<GroupNumber> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        let number = (0..GROUPS_MAX).find(|number| !self.groups.contains_key(number))?;
        self.groups.insert(number, Named { name: name.into(), group: Group::new(self.limits) });
        self.numbers.insert(name.into(), number);
        Some(number)
    }

    /// Lets a group act; notes that it may have something to give.
    fn with(&mut self, number: GroupNumber, act: impl FnOnce(&mut Group<L>)) {
        let Some(Named { group, .. }) = self.groups.get_mut(&number) else { return };
        let (switches, bytes) = (group.switches(), group.bytes());
        act(group);
        self.switches += group.switches() - switches;
        self.bytes = self.bytes - bytes + group.bytes();
        match self.touched.iter().position(|&touched| touched == number) {
            Some(at) => self.given_to = self.given_to.min(at),
            None => self.touched.push(number),
        }
    }
}

/// What groups have counted, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Changes of level, since the counts were last taken.
    pub switches: u64,
    /// Answers of a generation that has passed, since the counts were last taken.
    pub stale_answers: u64,
    /// Events that were given again, since the counts were last taken.
    pub redelivered: u64,
    /// Loads that wait.
    pub waiting: u64,
    /// Bytes that wait or are in flight.
    pub bytes: u64,
}

/// The group that a ticket is of.
fn group_of(ticket: u64) -> GroupNumber {
    u16::try_from(ticket >> GROUP_SHIFT & u64::from(GROUPS_MAX - 1)).unwrap_or(0)
}
