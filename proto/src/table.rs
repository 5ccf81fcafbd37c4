//! Numbers that stand for tag sets and publishers on one stream.
//!
//! The writer of a stream owns its tables: [`TableWriter`] says, for each thing to be named, whether its number is known,
//! must be defined first, or whether the thing is better written in full. The reader ([`TableReader`]) announced its
//! capacity; streams are ordered, so a number that is defined again simply replaces what it stood for, and eviction needs
//! no message. Both sides count the same entries and bytes, so a writer that honours the capacity can never overflow a
//! reader.
//!
//! Eviction is second chance: a hand goes round the entries and takes the first that was not used since it last passed,
//! looking at two at most. When both were in use, the newcomer is written inline: a stream with more hot tag sets than the
//! table holds degrades to inline tags for the excess, instead of defining each one anew for every run.

use std::hash::Hash;

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

#[derive(Debug)]
struct Slot<K> {
    key: K,
    bytes: u64,
    used: bool,
}

/// The writer's side of one table.
#[derive(Debug)]
pub struct TableWriter<K> {
    numbers: std::collections::HashMap<K, u32, ahash::RandomState>,
    slots: Vec<Slot<K>>,
    hand: usize,
    bytes: u64,
    entries_max: u64,
    bytes_max: u64,
}

impl<K: Hash + Eq + Clone> TableWriter<K> {
    /// An empty table for a reader that holds `entries_max` things of `bytes_max` bytes together.
    #[must_use]
    pub fn new(entries_max: u64, bytes_max: u64) -> Self {
        Self {
            numbers: std::collections::HashMap::default(),
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

    /// How to name `key`, a thing of `bytes` bytes, in the frame that is written next.
    #[inline]
    pub fn name(&mut self, key: &K, bytes: u64) -> Naming {
        if let Some(&number) = self.numbers.get(key) {
            if let Some(slot) = self.slots.get_mut(number as usize) {
                slot.used = true;
            }
            return Naming::Known(u64::from(number));
        }
        self.define(key, bytes)
    }

    #[cold]
    fn define(&mut self, key: &K, bytes: u64) -> Naming {
        if bytes > self.bytes_max {
            return Naming::Inline;
        }
        if (self.slots.len() as u64) < self.entries_max && self.bytes + bytes <= self.bytes_max {
            let Ok(number) = u32::try_from(self.slots.len()) else { return Naming::Inline };
            self.slots.push(Slot { key: key.clone(), bytes, used: false });
            self.bytes += bytes;
            self.numbers.insert(key.clone(), number);
            return Naming::Define(u64::from(number));
        }
        for _ in 0..self.slots.len().min(2) {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[index];
            if slot.used || self.bytes - slot.bytes + bytes > self.bytes_max {
                slot.used = false;
                continue;
            }
            let Ok(number) = u32::try_from(index) else { return Naming::Inline };
            self.bytes = self.bytes - slot.bytes + bytes;
            slot.bytes = bytes;
            let old = std::mem::replace(&mut slot.key, key.clone());
            self.numbers.remove(&old);
            self.numbers.insert(key.clone(), number);
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
    /// An empty table of at most `entries_max` things of `bytes_max` bytes; `what` names them in errors.
    #[must_use]
    pub fn new(entries_max: u64, bytes_max: u64, what: &'static str) -> Self {
        Self { entries: Vec::new(), bytes: 0, entries_max, bytes_max, what }
    }

    /// From here on `number` stands for `thing`, of `bytes` bytes.
    ///
    /// Memory is taken as numbers are used: a gap of numbers costs what its highest number does, so numbers must be
    /// dense enough that no more than 1,024 are skipped at once.
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

    /// Bytes of all things that have a number.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
