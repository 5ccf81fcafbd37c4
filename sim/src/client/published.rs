//! What a simulated publisher has published, by seq, and what became of it.

use std::collections::BTreeMap;
use std::ops::Range;

/// What became of an event, as far as its program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing yet.
    Pending,
    /// Its outcome came in the change of the disk in which the process ended: nobody was told, and
    /// the disk may know or not.
    Untold,
    /// Its outcome was told.
    Ended,
    /// It was lost with a process or a host.
    Gone,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Its emitter, and its number there.
    pub(super) event: (u32, u64),
    pub(super) fate: Fate,
}

/// The events of one publisher and epoch.
#[derive(Debug, Default)]
pub(super) struct Published {
    events: BTreeMap<u64, Known>,
}

impl Published {
    pub(super) fn add(&mut self, seq: u64, event: (u32, u64)) {
        self.events.insert(seq, Known { event, fate: Fate::Pending });
    }

    pub(super) fn get(&self, seq: u64) -> Option<Known> {
        self.events.get(&seq).copied()
    }

    pub(super) fn set(&mut self, seq: u64, fate: Fate) {
        if let Some(known) = self.events.get_mut(&seq) {
            known.fate = fate;
        }
    }

    /// Emitters and numbers of a range; seqs that no event has, or none any more, are left out.
    pub(super) fn within(&self, seqs: Range<u64>) -> impl Iterator<Item = (u64, (u32, u64))> {
        let there = self.events.range(seqs).filter(|(_, known)| known.fate != Fate::Gone);
        there.map(|(&seq, known)| (seq, known.event))
    }

    /// The events whose outcome was not told.
    pub(super) fn pending(&self) -> Vec<(u64, Known)> {
        let pending = self.events.iter();
        let pending = pending.filter(|(_, known)| matches!(known.fate, Fate::Pending | Fate::Untold));
        pending.map(|(&seq, &known)| (seq, known)).collect()
    }

    /// Whether it is the newest: the process may have ended while it was being put into a spool.
    pub(super) fn is_last(&self, seq: u64) -> bool {
        self.events.last_key_value().is_some_and(|(&last, _)| last == seq)
    }

    /// Forgets all, for another epoch.
    pub(super) fn clear(&mut self) {
        self.events.clear();
    }
}
