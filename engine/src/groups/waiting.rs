//! What a group hands out, how it ends, and what of it waits for a member that takes it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::limits::LIFE_MAX;
use super::member::MemberIndex;
use crate::time::Time;

/// What a group hands out: consecutive events of one tag set.
pub trait Load: Sized {
    /// How many events, at least 1.
    fn events(&self) -> u64;
    /// Bytes of memory that it takes.
    fn bytes(&self) -> usize;
    /// Hash of its tag set.
    fn key(&self) -> u64;
    /// Cuts it behind its first `events`, fewer than it has.
    fn split(self, events: u64) -> (Self, Self);
}

/// What a member's core says of what the member was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its application has taken it.
    Taken,
    /// The member never saw it.
    NotTaken,
    /// The member may have seen it, and has not acknowledged it.
    MaybeSeen,
}

/// How an event ended that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A member has taken it.
    Taken,
    /// Nobody could take it for as long as the group holds events, or the group holds too many.
    Unavailable,
    /// It was given to members as often as allowed, and none acknowledged it.
    Attempts,
    /// Nobody took it, and the router goes away: its publisher may send it elsewhere.
    Refused,
}

/// A load on its way: in flight, or waiting.
#[derive(Debug)]
pub(super) struct Parcel<L> {
    pub(super) load: L,
    pub(super) serial: u64,
    /// Times that it was given.
    pub(super) generation: u64,
    /// Times that a member may have seen it.
    pub(super) deliveries: u32,
    pub(super) offered: Time,
    /// Since when nobody has it that may have seen it.
    pub(super) since: Time,
    /// Members that have handed it back since it last waited.
    pub(super) refused_by: Vec<MemberIndex>,
}

/// What waits, in order. Loads of one tag set wait behind each other.
#[derive(Debug)]
pub(super) struct Waiting<L> {
    hold: Duration,
    parcels: VecDeque<Parcel<L>>,
    /// Tag sets of what waits, with how many loads of each.
    keys: HashMap<u64, u32, ahash::RandomState>,
    /// Nothing has waited for too long before then.
    none_expires_before: Time,
}

impl<L: Load> Waiting<L> {
    /// Nothing yet; a load may wait for `hold`.
    pub(super) fn new(hold: Duration) -> Self {
        Self { hold, parcels: VecDeque::new(), keys: HashMap::default(), none_expires_before: Time::ZERO }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.parcels.len()
    }

    /// Whether a load of the tag set waits.
    pub(super) fn has_key(&self, key: u64) -> bool {
        !self.parcels.is_empty() && self.keys.contains_key(&key)
    }

    /// Puts a parcel behind all that wait.
    pub(super) fn push_last(&mut self, parcel: Parcel<L>) {
        self.note(&parcel);
        self.parcels.push_back(parcel);
    }

    /// Puts a parcel before all that wait: it came before them.
    pub(super) fn push_first(&mut self, parcel: Parcel<L>) {
        self.note(&parcel);
        self.parcels.push_front(parcel);
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Parcel<L>> {
        let parcel = self.parcels.pop_front()?;
        self.forget(parcel.load.key());
        Some(parcel)
    }

    /// Takes out what has waited for too long.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Parcel<L>> {
        if self.parcels.is_empty() || now < self.none_expires_before {
            return Vec::new();
        }
        self.none_expires_before = now + self.hold;
        let (mut expired, mut left) = (Vec::new(), VecDeque::with_capacity(self.parcels.len()));
        while let Some(parcel) = self.parcels.pop_front() {
            let due = self.due(&parcel);
            if due <= now {
                self.forget(parcel.load.key());
                expired.push(parcel);
            } else {
                self.none_expires_before = self.none_expires_before.min(due);
                left.push_back(parcel);
            }
        }
        self.parcels = left;
        expired
    }

    fn due(&self, parcel: &Parcel<L>) -> Time {
        (parcel.since + self.hold).min(parcel.offered + LIFE_MAX)
    }

    fn note(&mut self, parcel: &Parcel<L>) {
        *self.keys.entry(parcel.load.key()).or_insert(0) += 1;
        self.none_expires_before = self.none_expires_before.min(self.due(parcel));
    }

    fn forget(&mut self, key: u64) {
        if let Some(loads) = self.keys.get_mut(&key) {
            *loads -= 1;
            if *loads == 0 {
                self.keys.remove(&key);
            }
        }
    }
}
