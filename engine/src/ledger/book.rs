//! The entries of a core: by id, by age, and by the connection of their origin.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use millrace_proto::control::OutcomeReason;

use super::entry::Entry;
use super::gather::Ended;
use super::verdict::{Level, Origin, Span, Tally};
use crate::time::Time;
use crate::transport::ConnKey;

/// A run with a leg that has bounds of its own ends after this time at the latest: a group gives a
/// run to members five times, waits 30 s for each, and 30 s for a member.
pub const PROLONGED_MAX: Duration = Duration::from_secs(180);

/// Bounds of a core's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Most runs that the ledger follows at once, some 200 bytes each. A run beyond them is routed,
    /// and its publisher is told *unknown*.
    pub entries: usize,
    /// Most events that the ledger counts one by one, because the events of their run have
    /// different receivers. 32 bytes each.
    pub cut_events: usize,
    /// Time after which a run without an answer ends as partial.
    pub timeout: Duration,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self { entries: 262_144, cut_events: 1 << 20, timeout: Duration::from_secs(30) }
    }
}

/// Names an entry; the id of an entry that has ended names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId {
    index: u32,
    generation: NonZeroU32,
}

/// The neighbours of a slot in a list.
#[derive(Debug, Clone, Copy, Default)]
struct Links {
    before: Option<u32>,
    after: Option<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: NonZeroU32,
    entry: Option<Entry>,
    opened: Time,
    /// Until when it may be answered for, if its timeout does not end it.
    prolonged: Option<Time>,
    /// In the list of all entries, by age.
    age: Links,
    /// In the list of the entries of its connection.
    conn: Links,
}

/// The entries of one core. See the [module's description](super).
#[derive(Debug)]
pub struct Ledger {
    limits: LedgerLimits,
    slots: Vec<Slot>,
    free: Vec<u32>,
    oldest: Option<u32>,
    newest: Option<u32>,
    /// The newest entry of each connection.
    by_conn: HashMap<ConnKey, u32, ahash::RandomState>,
    cut_events: usize,
    now: Time,
    ended: Vec<Ended>,
    /// Whether entries have ended otherwise than by their legs, so that those legs may be
    /// forgotten.
    has_orphans: bool,
    timed_out: u64,
    refused: u64,
}

impl Ledger {
    /// A ledger without entries.
    #[must_use]
    pub fn new(limits: LedgerLimits) -> Self {
        Self {
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            oldest: None,
            newest: None,
            by_conn: HashMap::default(),
            cut_events: 0,
            now: Time::ZERO,
            ended: Vec::new(),
            has_orphans: false,
            timed_out: 0,
            refused: 0,
        }
    }

    /// Sets the time for the next calls.
    pub const fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// Sets the bounds for the next calls.
    pub const fn set_limits(&mut self, limits: LedgerLimits) {
        self.limits = limits;
    }

    /// Entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs that ended by the timeout, and events that the bounds kept from being followed.
    #[must_use]
    pub const fn troubles(&self) -> (u64, u64) {
        (self.timed_out, self.refused)
    }

    /// Follows a run. The entry has one leg, the guard, which the caller ends ([`end`](Self::end))
    /// when all legs are added. None when there is no room: then the origin is told *unknown*.
    pub fn open(&mut self, origin: Origin, level: Level, span: Span) -> Option<EntryId> {
        if self.len() >= self.limits.entries {
            self.refused += u64::from(span.events);
            self.tell(origin, level, span, Tally::unknown(OutcomeReason::Busy));
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: NonZeroU32::MAX,
                entry: None,
                opened: Time::ZERO,
                prolonged: None,
                age: Links::default(),
                conn: Links::default(),
            });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        slot.entry = Some(Entry::new(origin, level, span));
        slot.prolonged = None;
        let id = EntryId { index, generation: slot.generation };
        self.link_newest(index);
        if let Some(conn) = origin.conn() {
            let before = self.by_conn.insert(conn, index);
            self.slots[index as usize].conn = Links { before, after: None };
            if let Some(before) = before {
                self.slots[before as usize].conn.after = Some(index);
            }
        }
        Some(id)
    }

    /// An entry has a leg that ends by bounds of its own: the timeout does not end the entry, and
    /// [`PROLONGED_MAX`] does.
    pub fn prolong(&mut self, id: EntryId) {
        let slot = self.slots.get_mut(id.index as usize);
        if let Some(slot) = slot.filter(|slot| slot.generation == id.generation) {
            slot.prolonged = Some(slot.opened + PROLONGED_MAX);
        }
    }

    /// The level that an entry is for; none when it has ended.
    #[must_use]
    pub fn level(&self, id: EntryId) -> Option<Level> {
        self.get(id).map(Entry::level)
    }

    /// The whole run of an entry; none when it has ended.
    #[must_use]
    pub fn span(&self, id: EntryId) -> Option<Span> {
        self.get(id).map(Entry::span)
    }

    /// Whether an entry has not ended.
    #[must_use]
    pub fn has(&self, id: EntryId) -> bool {
        self.get(id).is_some()
    }

    /// Opens a leg of these events.
    pub fn add(&mut self, id: EntryId, span: Span) {
        self.change(id, span, |entry, _| entry.add(span));
    }

    /// Ends a leg of these events with a tally.
    pub fn end(&mut self, id: EntryId, span: Span, tally: Tally) {
        self.change(id, span, |entry, ended| entry.settle(span, tally, 1, ended));
    }

    /// Adds the tally of a leg that ended as it was opened.
    pub fn count(&mut self, id: EntryId, span: Span, tally: Tally) {
        self.change(id, span, |entry, ended| entry.settle(span, tally, 0, ended));
    }

    /// Tells an origin about events that the ledger does not follow.
    pub fn tell(&mut self, origin: Origin, level: Level, span: Span, tally: Tally) {
        self.ended.push(Ended { origin, level, run: span, span, tally });
    }

    /// Forgets the entries of a connection that is gone, because nobody is left to be told.
    pub fn forget(&mut self, conn: ConnKey) {
        let mut next = self.by_conn.get(&conn).copied();
        while let Some(index) = next {
            next = self.slots[index as usize].conn.before;
            self.has_orphans = true;
            self.remove(index);
        }
        self.ended.retain(|ended| ended.origin.conn() != Some(conn));
    }

    /// The time at which the oldest entry is given up.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.oldest.map(|index| self.slots[index as usize].opened + self.limits.timeout)
    }

    /// Gives up entries whose time has come.
    pub fn expire(&mut self) {
        while let Some(index) = self.oldest
            && self.slots[index as usize].opened + self.limits.timeout <= self.now
        {
            if self.slots[index as usize].prolonged.is_some_and(|until| self.now < until) {
                // It is looked at again after another timeout.
                self.unlink(index);
                self.link_newest(index);
                continue;
            }
            self.timed_out += 1;
            self.has_orphans = true;
            if let Some(entry) = &mut self.slots[index as usize].entry {
                entry.give_up(OutcomeReason::Timeout, &mut self.ended);
            }
            self.remove(index);
        }
    }

    /// Whether entries have ended otherwise than by their legs since the last call, so that outlets
    /// may [sweep](super::Legs::sweep) those legs.
    pub const fn take_orphans(&mut self) -> bool {
        std::mem::replace(&mut self.has_orphans, false)
    }

    /// Whether an origin is to be told.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Takes what origins are to be told, sorted by origin. The caller [gives it
    /// back](Self::give_back).
    pub fn take_ended(&mut self) -> Vec<Ended> {
        let mut ended = std::mem::take(&mut self.ended);
        ended.sort_unstable_by_key(Ended::order);
        ended
    }

    /// Takes a list back, so that its memory is used again.
    pub fn give_back(&mut self, mut ended: Vec<Ended>) {
        if self.ended.is_empty() {
            ended.clear();
            self.ended = ended;
        }
    }

    fn get(&self, id: EntryId) -> Option<&Entry> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.entry.as_ref()
    }

    /// Changes an entry, unless it has ended, and removes it when the change ends it.
    fn change(&mut self, id: EntryId, span: Span, act: impl FnOnce(&mut Entry, &mut Vec<Ended>)) {
        let Some(slot) =
            self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)
        else {
            return;
        };
        let Some(entry) = &mut slot.entry else { return };
        let before = entry.cut_events() as usize;
        let after = if entry.is_cut_by(span) { entry.span().events as usize } else { before };
        if self.cut_events + after - before > self.limits.cut_events {
            self.refused += u64::from(entry.span().events);
            self.has_orphans = true;
            entry.abandon(OutcomeReason::Busy, &mut self.ended);
        } else {
            self.cut_events += after - before;
            act(entry, &mut self.ended);
        }
        if entry.is_over() {
            self.remove(id.index);
        }
    }

    /// Puts an entry behind all others in the list by age: it is as old as a new one.
    fn link_newest(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.opened = self.now;
        slot.age = Links { before: self.newest, after: None };
        match self.newest.replace(index) {
            Some(before) => self.slots[before as usize].age.after = Some(index),
            None => self.oldest = Some(index),
        }
    }

    /// Takes an entry out of the list by age.
    fn unlink(&mut self, index: u32) {
        let age = self.slots[index as usize].age;
        match age.before {
            Some(before) => self.slots[before as usize].age.after = age.after,
            None => self.oldest = age.after,
        }
        match age.after {
            Some(after) => self.slots[after as usize].age.before = age.before,
            None => self.newest = age.before,
        }
    }

    fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let Some(entry) = slot.entry.take() else { return };
        let conn = slot.conn;
        self.cut_events -= entry.cut_events() as usize;
        self.unlink(index);
        if let Some(key) = entry.origin().conn() {
            if let Some(before) = conn.before {
                self.slots[before as usize].conn.after = conn.after;
            }
            match (conn.after, conn.before) {
                (Some(after), before) => self.slots[after as usize].conn.before = before,
                (None, Some(before)) => drop(self.by_conn.insert(key, before)),
                (None, None) => drop(self.by_conn.remove(&key)),
            }
        }
        self.free.push(index);
    }
}
