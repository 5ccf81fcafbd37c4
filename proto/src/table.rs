//! Numbers that stand for tag sets and publishers on one stream.
//!
//! The writer of a stream owns its tables: [`TableWriter`] says, for each thing to be named,
//! whether its number is known, must be defined first, or whether the thing is better written in
//! full. The reader ([`TableReader`]) announced its capacity; streams are ordered, so a number that
//! is defined again simply replaces what it stood for, and eviction needs no message. Both sides
//! count the same entries and bytes, so a writer that honours the capacity can never overflow a
//! reader.
//!
//! Eviction is second chance: a hand goes round the entries and takes the first that was not used
//! since it last passed, looking at two at most. When both were in use, the newcomer is written
//! inline: a stream with more hot tag sets than the table holds degrades to inline tags for the
//! excess, instead of defining each one anew for every run.

use std::cell::Cell;
use std::hash::Hash;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::DecodeError;

/// How to name a thing on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The reader knows this number.
    Known(u64),
    /// Define this number first, then use it.
    Define(u64),
    /// Write the thing itself.
    Inline,
}

/// Mixes keys that peers choose: seeded, so that nobody can make them collide.
static HASHER: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

/// A number that a table gave, for whoever asks again for the same thing: good until the table
/// gives a number to another thing. The default is good for no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memo {
    stamp: u64,
    number: u32,
}

/// Stamps of tables; 0 is no table's. Each is given once, so a memo is never good for another
/// table.
static STAMPS: AtomicU64 = AtomicU64::new(1);

fn next_stamp() -> u64 {
    STAMPS.fetch_add(1, Ordering::Relaxed)
}

/// What a lookup reads: all in one place, so that it costs one cache miss and not one for each of
/// hash, key and number.
#[derive(Debug, Clone)]
struct Place<K> {
    key: K,
    number: u32,
    used: bool,
}

/// By number: what only eviction reads.
#[derive(Debug)]
struct Slot<K> {
    key: K,
    bytes: u64,
}

/// The writer's side of one table.
#[derive(Debug)]
pub struct TableWriter<K> {
    /// Open addressing with linear probing; the length is a power of two, and a quarter of it at
    /// least is vacant.
    places: Vec<Option<Place<K>>>,
    /// What makes a memo good: a new one after each eviction.
    stamp: u64,
    /// The place that was found last.
    last: usize,
    slots: Vec<Slot<K>>,
    hand: usize,
    bytes: u64,
    entries_max: u64,
    bytes_max: u64,
}

/// Places of a table with its first entry.
const PLACES_MIN: usize = 4;

impl<K: Hash + Eq + Clone> TableWriter<K> {
    /// An empty table for a reader that holds `entries_max` things of `bytes_max` bytes together.
    #[must_use]
    pub fn new(entries_max: u64, bytes_max: u64) -> Self {
        Self {
            places: Vec::new(),
            stamp: next_stamp(),
            last: 0,
            slots: Vec::new(),
            hand: 0,
            bytes: 0,
            entries_max: entries_max.min(u64::from(u32::MAX)),
            bytes_max,
        }
    }

    /// Entries that have a number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing has a number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The thing that a number stands for.
    #[must_use]
    pub fn key(&self, number: u64) -> Option<&K> {
        Some(&self.slots.get(usize::try_from(number).ok()?)?.key)
    }

    /// How to name `key`, a thing of `bytes` bytes, in the frame that is written next.
    #[inline]
    pub fn name(&mut self, key: &K, bytes: u64) -> Naming {
        if let Some(place) = self.find(key)
            && let Some(Some(place)) = self.places.get_mut(place)
        {
            if !place.used {
                place.used = true;
            }
            return Naming::Known(u64::from(place.number));
        }
        self.define(key, bytes)
    }

    /// As [`name`](Self::name), for a key that is likely to be the one of the call before: it is
    /// compared first.
    #[inline]
    pub fn name_as_before(&mut self, key: &K, bytes: u64) -> Naming {
        if let Some(Some(place)) = self.places.get_mut(self.last)
            && place.key == *key
        {
            place.used = true;
            return Naming::Known(u64::from(place.number));
        }
        let naming = self.name(key, bytes);
        self.last = self.find(key).unwrap_or(0);
        naming
    }

    /// As [`name`](Self::name), without a lookup while `memo`, which is kept with the key, is good.
    /// A key that is named so does not count as used: eviction may take it, which makes all
    /// memos of the table bad.
    #[inline]
    pub fn name_by_memo(&mut self, key: &K, bytes: u64, memo: &Cell<Memo>) -> Naming {
        let Memo { stamp, number } = memo.get();
        if stamp == self.stamp {
            return Naming::Known(u64::from(number));
        }
        let naming = self.name(key, bytes);
        if let Naming::Known(number) | Naming::Define(number) = naming
            && let Ok(number) = u32::try_from(number)
        {
            memo.set(Memo { stamp: self.stamp, number });
        }
        naming
    }

    /// Whether a memo is good.
    #[inline]
    #[must_use]
    pub const fn knows(&self, memo: Memo) -> bool {
        memo.stamp == self.stamp
    }

    /// Whether a key is the one that [`name_as_before`](Self::name_as_before) compares first.
    #[inline]
    pub fn is_as_before(&self, key: &K) -> bool {
        matches!(self.places.get(self.last), Some(Some(place)) if place.key == *key)
    }

    /// Starts the way of the memory that [`name`](Self::name) will read to the core, without
    /// waiting for it where the caller does so for several keys in a row.
    #[inline]
    pub fn prefetch(&self, key: &K) {
        let place = self.places.get(self.home(key));
        std::hint::black_box(place.is_some_and(Option::is_some));
    }

    /// Where a key is looked for first.
    #[inline]
    fn home(&self, key: &K) -> usize {
        // The bits above are dropped on purpose.
        #[expect(clippy::cast_possible_truncation, reason = "a hash is cut to the table's length")]
        let hash = HASHER.hash_one(key) as usize;
        hash & self.places.len().wrapping_sub(1)
    }

    #[inline]
    fn find(&self, key: &K) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = self.home(key);
        while let Some(Some(place)) = self.places.get(at) {
            if place.key == *key {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Files a key that has no place yet.
    fn file(&mut self, key: K, number: u32) {
        if self.slots.len() * 4 > self.places.len() * 3 {
            let places = (self.places.len() * 2).max(PLACES_MIN);
            let old = std::mem::replace(&mut self.places, vec![None; places]);
            for place in old.into_iter().flatten() {
                self.settle(place);
            }
        }
        self.settle(Place { key, number, used: false });
    }

    fn settle(&mut self, place: Place<K>) {
        let mask = self.places.len() - 1;
        let mut at = self.home(&place.key);
        while self.places[at].is_some() {
            at = (at + 1) & mask;
        }
        self.places[at] = Some(place);
    }

    /// Vacates a place and moves those behind it up that would not be found otherwise.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.places.len() - 1;
        self.places[hole] = None;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(place) = &self.places[at] else { return };
            let home = self.home(&place.key);
            // It may move to the hole if that is not before its home, seen along the ring.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.places[hole] = self.places[at].take();
                hole = at;
            }
        }
    }

    #[cold]
    fn define(&mut self, key: &K, bytes: u64) -> Naming {
        if bytes > self.bytes_max {
            return Naming::Inline;
        }
        if (self.slots.len() as u64) < self.entries_max && self.bytes + bytes <= self.bytes_max {
            let Ok(number) = u32::try_from(self.slots.len()) else { return Naming::Inline };
            self.slots.push(Slot { key: key.clone(), bytes });
            self.bytes += bytes;
            self.file(key.clone(), number);
            return Naming::Define(u64::from(number));
        }
        for _ in 0..self.slots.len().min(2) {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(old) = self.find(&self.slots[index].key) else { continue };
            let used = self.places[old].as_mut().is_some_and(|place| std::mem::take(&mut place.used));
            if used || self.bytes - self.slots[index].bytes + bytes > self.bytes_max {
                continue;
            }
            let Ok(number) = u32::try_from(index) else { return Naming::Inline };
            self.vacate(old);
            self.stamp = next_stamp();
            let slot = &mut self.slots[index];
            self.bytes = self.bytes - slot.bytes + bytes;
            *slot = Slot { key: key.clone(), bytes };
            self.settle(Place { key: key.clone(), number, used: false });
            return Naming::Define(u64::from(number));
        }
        Naming::Inline
    }
}

/// The reader's side of one table: what each number stands for.
#[derive(Debug)]
pub struct TableReader<T> {
    entries: Vec<Option<(T, u64)>>,
    bytes: u64,
    entries_max: u64,
    bytes_max: u64,
    what: &'static str,
}

impl<T> TableReader<T> {
    /// An empty table of at most `entries_max` things of `bytes_max` bytes; `what` names them in
    /// errors.
    #[must_use]
    pub fn new(entries_max: u64, bytes_max: u64, what: &'static str) -> Self {
        Self { entries: Vec::new(), bytes: 0, entries_max, bytes_max, what }
    }

    /// From here on `number` stands for `thing`, of `bytes` bytes.
    ///
    /// Memory is taken as numbers are used: a gap of numbers costs what its highest number does, so
    /// numbers must be dense enough that no more than 1,024 are skipped at once.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] when the table would exceed what was announced; nothing changed then.
    pub fn define(&mut self, number: u64, thing: T, bytes: u64) -> Result<(), DecodeError> {
        let limit = DecodeError::Limit { what: self.what };
        if number >= self.entries_max || number > self.entries.len() as u64 + 1024 {
            return Err(limit);
        }
        let Ok(index) = usize::try_from(number) else { return Err(limit) };
        let before = self.entries.get(index).and_then(Option::as_ref).map_or(0, |(_, bytes)| *bytes);
        if self.bytes - before + bytes > self.bytes_max {
            return Err(limit);
        }
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        self.bytes = self.bytes - before + bytes;
        self.entries[index] = Some((thing, bytes));
        Ok(())
    }

    /// What `number` stands for.
    ///
    /// # Errors
    /// [`DecodeError::Undefined`] when it was never defined.
    #[inline]
    pub fn get(&self, number: u64) -> Result<&T, DecodeError> {
        usize::try_from(number)
            .ok()
            .and_then(|index| self.entries.get(index))
            .and_then(Option::as_ref)
            .map(|(thing, _)| thing)
            .ok_or(DecodeError::Undefined { what: self.what, number })
    }

    /// What `number` stands for, to be changed in place.
    ///
    /// # Errors
    /// [`DecodeError::Undefined`] when it was never defined.
    #[inline]
    pub fn get_mut(&mut self, number: u64) -> Result<&mut T, DecodeError> {
        usize::try_from(number)
            .ok()
            .and_then(|index| self.entries.get_mut(index))
            .and_then(Option::as_mut)
            .map(|(thing, _)| thing)
            .ok_or(DecodeError::Undefined { what: self.what, number })
    }

    /// All things that have a number, with it, to be changed in place.
    pub fn numbered_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        let entries = (0..).zip(&mut self.entries);
        entries.filter_map(|(number, entry)| Some((number, &mut entry.as_mut()?.0)))
    }

    /// Bytes of all things that have a number.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
