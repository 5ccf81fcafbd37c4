//! The sets of a router, and what its peers say of them.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::limits::{NAME_BYTES_MAX, SETS_MAX};
use millrace_proto::mesh::{SetMember, SetRecord};
use millrace_proto::{PublisherId, RouterId};

use super::record::{self, Record, Why};
use super::set::{HAND_OVER_REST, Member, Other, Set, SetPicture, told};
use super::words::{MEMBERS_MAX, MemberKey, Refusal, SetCount, SetNews, Words};
use crate::time::Time;

/// A publisher that joins a set.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// The set.
    pub set: &'a str,
    /// The publisher.
    pub publisher: PublisherId,
    /// Its rank.
    pub rank: u8,
    /// It takes over from a holder of a higher rank, too.
    pub preempt: bool,
    /// Its client's identity.
    pub identity: &'a str,
    /// The highest generation that it has heard of.
    pub known: u64,
    /// It can take over without loss: it has all numbers that routers have not had, or is going to
    /// be given them.
    pub is_abreast: bool,
}

/// What becomes of a wish to hand a set over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// Another member takes over.
    Asked,
    /// There is no such set.
    Unknown,
    /// Nobody holds it, so that there is nothing to hand over.
    NotHeld,
    /// There is no other member that answers.
    Alone,
    /// The other members that answer have begun too late to have all that the holder may not get
    /// out.
    Behind,
}

/// All sets, as one router knows them.
#[derive(Debug)]
pub struct SetBook {
    router: RouterId,
    /// At most [`SETS_MAX`]; of those that are idle the oldest gives way.
    sets: BTreeMap<Box<str>, Set>,
    /// Sets that somebody is to claim, by when.
    due: BTreeSet<(Time, Box<str>)>,
    /// The set of each member of this router.
    joined: BTreeMap<MemberKey, Box<str>>,
    /// Routers that can be reached.
    reachable: BTreeSet<RouterId>,
    words: Words,
}

impl SetBook {
    /// The book of a router that knows no sets.
    #[must_use]
    pub const fn new(router: RouterId) -> Self {
        Self {
            router,
            sets: BTreeMap::new(),
            due: BTreeSet::new(),
            joined: BTreeMap::new(),
            reachable: BTreeSet::new(),
            words: Words {
                news: Vec::new(),
                states: Vec::new(),
                records: Vec::new(),
                members: Vec::new(),
                answers: Vec::new(),
                hand_over: Vec::new(),
            },
        }
    }

    /// A publisher of this router joins a set, or says anew whether it is abreast. The holder
    /// itself goes on where it was, or in the next generation when it comes from another router;
    /// where events have numbers, only if its process is the one that held the set.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn join(&mut self, now: Time, key: MemberKey, joining: &Joining<'_>) -> Result<(), Refusal> {
        let Joining { set: name, publisher, rank, preempt, identity, known, is_abreast } = *joining;
        if self.hears_abreast(now, key, joining) {
            return Ok(());
        }
        if self.sets.get(name).is_some_and(|set| *set.identity != *identity) {
            return Err(Refusal::Identity);
        }
        if !self.has_room_for(name) {
            return Err(Refusal::Full);
        }
        self.leave(now, key, Why::Left);
        let set = self.sets.entry(name.into()).or_insert_with(|| Set::new(now, identity));
        if set.members.len() == MEMBERS_MAX {
            return Err(Refusal::Full);
        }
        // The connection that it had before may not have ended yet.
        let before: Vec<MemberKey> = set
            .members
            .iter()
            .filter(|(_, member)| member.publisher == publisher)
            .map(|(&key, _)| key)
            .collect();
        for key in before {
            set.members.remove(&key);
            self.joined.remove(&key);
        }
        let is_numbered = set.next_source_seq > 0;
        let holds = set.record.as_mut().filter(|record| record.publisher == publisher);
        // A process that has not heard of its own generation has begun since: where it goes on
        // nobody knows, while others may have what is missing.
        let is_anew = is_numbered && holds.as_ref().is_some_and(|record| known < record.generation);
        let mut member = Member::new(now, publisher, rank, preempt);
        (member.is_abreast, member.is_anew) = (is_abreast, is_anew);
        set.members.insert(key, member);
        set.known = set.known.max(known);
        self.joined.insert(key, name.into());
        let comes_back = match holds.filter(|_| !is_anew) {
            Some(record) if record.router == self.router && record.generation >= known => {
                record.is_vacant = false;
                false
            }
            Some(_) => true,
            None => false,
        };
        if comes_back {
            self.claim(now, name, key, Why::Moved);
        } else if self.sets.get(name).is_some_and(|set| set.own_holder(self.router).is_some()) {
            self.tell_record(name);
        }
        self.tell_member(name, key);
        self.settle(now, name);
        self.give_up_for(name, publisher);
        Ok(())
    }

    /// A member says anew whether it is abreast. False when it is no such member yet.
    fn hears_abreast(&mut self, now: Time, key: MemberKey, joining: &Joining<'_>) -> bool {
        let name = joining.set;
        if self.joined.get(&key).is_none_or(|joined| **joined != *name) {
            return false;
        }
        let Some(set) = self.sets.get_mut(name) else { return false };
        let Some(member) = set.members.get_mut(&key) else { return false };
        if member.publisher != joining.publisher || member.rank != joining.rank {
            return false;
        }
        set.known = set.known.max(joining.known);
        let is_abreast = joining.is_abreast && joining.known >= member.lost_in;
        if std::mem::replace(&mut member.is_abreast, is_abreast) != is_abreast {
            self.tell_member(name, key);
            self.settle(now, name);
        }
        true
    }

    /// The process that held a set at this router is gone, and another one has its id: tells peers
    /// that nobody holds it.
    fn give_up_for(&mut self, name: &str, publisher: PublisherId) {
        let router = self.router;
        let Some(set) = self.sets.get_mut(name) else { return };
        let is_gone = set.own_holder(router).is_none();
        let own = |record: &&mut Record| record.publisher == publisher && record.router == router;
        if let Some(record) = set.record.as_mut().filter(own)
            && is_gone
            && !std::mem::replace(&mut record.is_vacant, true)
        {
            self.tell_record(name);
        }
    }

    /// A publisher leaves its set, or its connection has ended: `why` says which.
    pub fn leave(&mut self, now: Time, key: MemberKey, why: Why) {
        let Some(name) = self.joined.remove(&key) else { return };
        let Some(set) = self.sets.get_mut(&name) else { return };
        let was_holder = set.own_holder(self.router).is_some_and(|(holder, _)| holder == key);
        let Some(member) = set.members.remove(&key) else { return };
        if was_holder && let Some(record) = &mut set.record {
            record.is_vacant = true;
            set.dead.get_or_insert((now, why));
        }
        self.words.members.push(SetMember { gone: true, ..told(&name, set, &member) });
        if was_holder {
            self.tell_record(&name);
        }
        self.settle(now, &name);
    }

    /// A member's client answers, or does not.
    pub fn set_silent(&mut self, now: Time, key: MemberKey, is_silent: bool) {
        let Some(name) = self.joined.get(&key).cloned() else { return };
        let Some(set) = self.sets.get_mut(&name) else { return };
        let is_holder = set.own_holder(self.router).is_some_and(|(holder, _)| holder == key);
        let Some(member) = set.members.get_mut(&key) else { return };
        if std::mem::replace(&mut member.is_silent, is_silent) == is_silent {
            return;
        }
        if !is_silent {
            member.since = now;
        }
        if is_holder && let Some(record) = &mut set.record {
            // Nobody has claimed the set meanwhile: it goes on.
            record.is_vacant = is_silent;
            if is_silent {
                set.dead.get_or_insert((now, Why::Died));
            }
            self.tell_record(&name);
        }
        self.tell_member(&name, key);
        self.settle(now, &name);
    }

    /// A core has counted runs of a set.
    pub fn count(&mut self, now: Time, count: &SetCount) {
        let Some(set) = self.sets.get_mut(&count.set) else { return };
        set.fenced += count.fenced;
        if count.next_source_seq > set.next_source_seq {
            set.next_source_seq = count.next_source_seq;
            self.tell_record(&count.set);
            self.settle(now, &count.set);
        }
    }

    /// A peer says who holds a set. What is newer than what this router knows is passed on to all
    /// others; what is older is answered.
    pub fn told(&mut self, now: Time, from: RouterId, frame: &SetRecord) {
        let Some(told) = Record::read(frame) else { return };
        let name = frame.set.as_str();
        if name.len() > NAME_BYTES_MAX || !self.has_room_for(name) {
            return;
        }
        let router = self.router;
        let set = self.sets.entry(name.into()).or_insert_with(|| Set::new(now, &frame.identity));
        set.next_source_seq = set.next_source_seq.max(frame.next_source_seq);
        match set.record {
            Some(own) if told.age() < own.age() => {
                self.words.answers.extend(set.told(name).map(|answer| (from, answer)));
                // Its runs cannot be told from those of the other holder: a generation more tells
                // them.
                if told.generation == own.generation
                    && let Some((key, _)) = set.own_holder(router)
                {
                    self.claim(now, name, key, Why::Conflict);
                }
            }
            // Whether the holder is there its own router knows.
            Some(own) if told.age() == own.age() => {
                if own.router == from {
                    set.record = Some(Record { is_vacant: told.is_vacant, ..own });
                    set.note_vacant(now, told);
                }
            }
            _ => {
                set.record = Some(told);
                set.identity = frame.identity.as_str().into();
                (set.since, set.dead) = (now, None);
                set.note_vacant(now, told);
                // This router had an earlier life, or the holder has left it: peers cannot know.
                if told.router == router && set.own_holder(router).is_none() {
                    set.record = Some(Record { is_vacant: true, ..told });
                }
                self.news_of(name);
                self.tell_record(name);
            }
        }
        self.settle(now, name);
    }

    /// A peer says of a member of its own.
    pub fn told_member(&mut self, now: Time, from: RouterId, frame: &SetMember) {
        let (Some(publisher), Ok(rank)) = (record::publisher(&frame.publisher), u8::try_from(frame.rank))
        else {
            return;
        };
        let name = frame.set.as_str();
        if frame.gone {
            if let Some(set) = self.sets.get_mut(name) {
                set.others.remove(&(from, publisher));
            }
            return self.reschedule(name);
        }
        if name.len() > NAME_BYTES_MAX || !self.has_room_for(name) {
            return;
        }
        let set = self.sets.entry(name.into()).or_insert_with(|| Set::new(now, &frame.identity));
        if set.others.len() < MEMBERS_MAX {
            set.others.insert((from, publisher), other(frame, rank));
        }
        self.reschedule(name);
    }

    /// Says which routers can be reached.
    pub fn set_reachable(&mut self, now: Time, reachable: BTreeSet<RouterId>) {
        if reachable == self.reachable {
            return;
        }
        self.reachable = reachable;
        let names: Vec<Box<str>> = self.sets.keys().cloned().collect();
        names.iter().for_each(|name| self.settle(now, name));
    }

    /// Forgets the members of a router: it tells them anew when it comes back.
    pub fn forget(&mut self, router: RouterId) {
        let names: Vec<Box<str>> = self.sets.keys().cloned().collect();
        for name in names {
            if let Some(set) = self.sets.get_mut(&name) {
                set.others.retain(|&(other, _), _| other != router);
            }
            self.reschedule(&name);
        }
    }

    /// Has the holder of a set give way to another member.
    pub fn hand_over(&mut self, now: Time, name: &str) -> Handed {
        let router = self.router;
        let Some(set) = self.sets.get_mut(name) else { return Handed::Unknown };
        let Some(own) = set.record.filter(|record| !record.is_vacant && set.dead.is_none()) else {
            return Handed::NotHeld;
        };
        match set.next_is_abreast(own.publisher) {
            None => return Handed::Alone,
            Some(false) => return Handed::Behind,
            Some(true) => {}
        }
        if own.router != router {
            self.words.hand_over.push((own.router, name.into()));
            return Handed::Asked;
        }
        set.record = Some(Record { is_vacant: true, ..own });
        set.resting = Some((own.publisher, now + HAND_OVER_REST));
        set.dead = Some((now, Why::HandedOver));
        self.tell_record(name);
        self.settle(now, name);
        Handed::Asked
    }

    /// When somebody is to claim a set.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Claims the sets that are due.
    pub fn claim_due(&mut self, now: Time) {
        while let Some((at, name)) = self.due.first().cloned()
            && at <= now
        {
            self.due.pop_first();
            if let Some(set) = self.sets.get_mut(&name) {
                set.due = None;
            }
            match self.sets.get(&name).and_then(Set::claimant) {
                Some((at, key, why)) if at <= now => {
                    self.claim(now, &name, key, why);
                    self.settle(now, &name);
                }
                _ => self.reschedule(&name),
            }
        }
    }

    /// What is to be said since this was asked last.
    pub fn take_words(&mut self) -> Words {
        std::mem::take(&mut self.words)
    }

    /// Everything that a new peer is to be told.
    #[must_use]
    pub fn snapshot(&self) -> (Vec<SetRecord>, Vec<SetMember>) {
        let records = self.sets.iter().filter_map(|(name, set)| set.told(name));
        let members = self
            .sets
            .iter()
            .flat_map(|(name, set)| set.members.values().map(move |member| told(name, set, member)));
        (records.collect(), members.collect())
    }

    /// Pictures of all sets, by name.
    pub fn pictures(&self) -> impl Iterator<Item = SetPicture> {
        self.sets.iter().map(|(name, set)| set.picture(name, self.router))
    }

    /// Sets that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether a set is known, or has room; then the oldest that is idle gives way.
    fn has_room_for(&mut self, name: &str) -> bool {
        if self.sets.contains_key(name) || self.sets.len() < SETS_MAX {
            return true;
        }
        let idle = self.sets.iter().filter(|(_, set)| set.is_idle()).min_by_key(|(_, set)| set.since);
        let Some(idle) = idle.map(|(name, _)| name.clone()) else { return false };
        if let Some(at) = self.sets.remove(&idle).and_then(|set| set.due) {
            self.due.remove(&(at, idle.clone()));
        }
        self.words.news.push(SetNews { set: idle, holder: None });
        true
    }

    /// A member takes the next generation.
    fn claim(&mut self, now: Time, name: &str, key: MemberKey, why: Why) {
        let Some(set) = self.sets.get_mut(name) else { return };
        let Some(member) = set.members.get_mut(&key) else { return };
        member.is_anew = false;
        let before = set.record.map_or(0, |record| record.generation).max(set.known);
        set.resting = set.resting.filter(|&(publisher, _)| publisher != member.publisher);
        set.record = Some(Record {
            generation: before.saturating_add(1).min(millrace_proto::varint::MAX),
            rank: member.rank,
            publisher: member.publisher,
            router: self.router,
            is_vacant: false,
            why,
        });
        (set.since, set.dead) = (now, None);
        self.news_of(name);
        self.tell_record(name);
    }

    /// After a change: looks whether the set is held, tells its members, and notes when it is to be
    /// claimed.
    fn settle(&mut self, now: Time, name: &str) {
        let Self { sets, reachable, words, router, .. } = self;
        if let Some(set) = sets.get_mut(name) {
            set.look(now, *router, |other| reachable.contains(&other));
            for key in set.states(name, *router, &mut words.states) {
                words.members.extend(set.members.get(&key).map(|member| told(name, set, member)));
            }
            if set.resting.is_some_and(|(_, until)| until <= now) {
                set.resting = None;
            }
        }
        self.reschedule(name);
    }

    fn reschedule(&mut self, name: &str) {
        let Some(set) = self.sets.get_mut(name) else { return };
        let due = set.claimant().map(|(at, ..)| at);
        if due == set.due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut set.due, due) {
            self.due.remove(&(before, name.into()));
        }
        if let Some(at) = due {
            self.due.insert((at, name.into()));
        }
    }

    fn news_of(&mut self, name: &str) {
        if let Some(record) = self.sets.get(name).and_then(|set| set.record) {
            let holder = Some((record.generation, record.publisher));
            self.words.news.push(SetNews { set: name.into(), holder });
        }
    }

    fn tell_record(&mut self, name: &str) {
        self.words.records.extend(self.sets.get(name).and_then(|set| set.told(name)));
    }

    fn tell_member(&mut self, name: &str, key: MemberKey) {
        let Some(set) = self.sets.get(name) else { return };
        self.words.members.extend(set.members.get(&key).map(|member| told(name, set, member)));
    }
}

const fn other(frame: &SetMember, rank: u8) -> Other {
    Other { rank, preempt: frame.preempt, is_silent: frame.silent, is_abreast: frame.abreast }
}
