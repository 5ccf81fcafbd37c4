//! The load generator's checker: counts losses, duplicates and disorder while millions of events
//! per second arrive.
//!
//! Subscriptions are fixed, so every pair of emitter and receiver that may meet is known and has a
//! slot with the next event number that it expects: 16 bytes each. The usual delivery costs one
//! look at the emitter's few slots. A number beyond the next opens a *hole*; a number below it
//! fills its hole (reordered) or is a duplicate. What is left of the holes at the end is lost.
//!
//! Several threads share a workload by checking their own receivers each; their verdicts add up.

use std::collections::BTreeMap;

use millrace_proto::data::{Gap, GapReason};

use super::Verdict;
use crate::oracle::Expected;
use crate::payload::Stamp;
use crate::workload::{WordMask, Words};

/// Most holes that are remembered, each some 40 bytes. Beyond it what is missing counts as lost at
/// once, and as duplicated if it arrives after all.
const HOLES_MAX: usize = 1 << 20;

/// Checks the deliveries of one thread's receivers. See the module.
#[derive(Debug)]
pub struct FleetChecker {
    words: Words,
    /// Where each emitter's slots start, and one more.
    starts: Vec<u32>,
    /// Per emitter in order of receivers.
    slots: Vec<Slot>,
    /// Missing numbers by (slot, first), up to but without the value.
    holes: BTreeMap<(u32, u64), u64>,
    /// What is counted as it happens; the rest of a verdict is known at the end.
    seen: Verdict,
    /// Lost without a hole, because there were too many.
    lost_at_once: u64,
    gaps: BTreeMap<GapReason, GapCount>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    receiver: u32,
    words: WordMask,
    /// Number behind the highest that arrived.
    next: u64,
}

/// Gap markers of one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapCount {
    /// Markers.
    pub gaps: u64,
    /// Events that they say are missing, as far as they say.
    pub events: u64,
}

impl FleetChecker {
    /// A checker for those receivers of a workload that `mine` chooses.
    #[must_use]
    pub fn new(expected: &Expected, mine: impl Fn(u32) -> bool) -> Self {
        let mut starts = vec![0];
        let mut slots = Vec::new();
        for emitter in 0..expected.emitters() {
            let receivers = expected.receivers(emitter).filter(|&(receiver, _)| mine(receiver));
            slots.extend(receivers.map(|(receiver, words)| Slot { receiver, words, next: 0 }));
            starts.push(u32::try_from(slots.len()).expect("fewer than 2^32 slots"));
        }
        Self {
            words: expected.words().clone(),
            starts,
            slots,
            holes: BTreeMap::new(),
            seen: Verdict::default(),
            lost_at_once: 0,
            gaps: BTreeMap::new(),
        }
    }

    /// Takes one delivery. Returns what its payload says, or `None` when it is damaged.
    #[inline]
    pub fn deliver(&mut self, receiver: u32, payload: &[u8]) -> Option<Stamp> {
        let Ok(stamp) = Stamp::decode(payload) else {
            self.seen.corrupted += 1;
            return None;
        };
        self.stamp(receiver, stamp);
        Some(stamp)
    }

    #[inline]
    fn stamp(&mut self, receiver: u32, Stamp { emitter, n, .. }: Stamp) {
        let Some(at) = self.slot_of(receiver, emitter) else {
            self.seen.unexpected += 1;
            return;
        };
        let slot = &mut self.slots[at as usize];
        if !self.words.takes(slot.words, emitter, n) {
            self.seen.unexpected += 1;
            return;
        }
        let next = slot.next;
        if n < next {
            self.late(at, emitter, n);
            return;
        }
        slot.next = n.saturating_add(1);
        self.seen.delivered += 1;
        if n > next {
            self.open_hole(at, emitter, next, n);
        }
    }

    /// Takes a gap marker: counted by reason. A fleet's losses are not excused by it.
    pub fn gap(&mut self, gap: &Gap) {
        let count = self.gaps.entry(gap.reason).or_default();
        count.gaps += 1;
        count.events += gap.events;
    }

    /// Gap markers by reason.
    #[must_use]
    pub const fn gaps(&self) -> &BTreeMap<GapReason, GapCount> {
        &self.gaps
    }

    /// What has been counted so far: delivered, duplicated, reordered, corrupted, unexpected.
    #[must_use]
    pub const fn so_far(&self) -> &Verdict {
        &self.seen
    }

    /// The verdict when emitter `e` has published events `0..published[e]` and all that would
    /// arrive has arrived.
    #[must_use]
    pub fn verdict(&self, published: &[u64]) -> Verdict {
        let mut verdict = Verdict { lost: self.lost_at_once, ..self.seen };
        let mut holes = self.holes.iter().peekable();
        for (emitter, &published) in (0..).zip(published).take(self.starts.len() - 1) {
            verdict.published += published;
            for at in self.range_of(emitter) {
                let Slot { words, next, .. } = self.slots[at as usize];
                verdict.expected_deliveries += self.words.taken(words, emitter, 0, published);
                verdict.lost += self.words.taken(words, emitter, next, published);
                let mut missing_beyond = 0;
                while let Some((&(_, from), &to)) = holes.next_if(|((slot, _), _)| *slot == at) {
                    verdict.lost += self.words.taken(words, emitter, from, to.min(published));
                    missing_beyond += self.words.taken(words, emitter, from.max(published), to);
                }
                let never_published = self.words.taken(words, emitter, published, next) - missing_beyond;
                verdict.unexpected += never_published;
                verdict.delivered -= never_published;
            }
        }
        verdict
    }

    fn range_of(&self, emitter: u32) -> std::ops::Range<u32> {
        self.starts[emitter as usize]..self.starts[emitter as usize + 1]
    }

    #[inline]
    fn slot_of(&self, receiver: u32, emitter: u32) -> Option<u32> {
        let from = *self.starts.get(emitter as usize)?;
        let to = *self.starts.get(emitter as usize + 1)?;
        let slots = &self.slots[from as usize..to as usize];
        if slots.len() <= 8 {
            return (from..to).zip(slots).find(|(_, slot)| slot.receiver == receiver).map(|(at, _)| at);
        }
        let at = slots.binary_search_by_key(&receiver, |slot| slot.receiver).ok()?;
        u32::try_from(at).ok().map(|at| from + at)
    }

    #[cold]
    fn open_hole(&mut self, at: u32, emitter: u32, from: u64, to: u64) {
        let missing = self.words.taken(self.slots[at as usize].words, emitter, from, to);
        if missing == 0 {
            return;
        }
        if self.holes.len() < HOLES_MAX {
            self.holes.insert((at, from), to);
        } else {
            self.lost_at_once += missing;
        }
    }

    #[cold]
    fn late(&mut self, at: u32, emitter: u32, n: u64) {
        let hole = self.holes.range((at, 0)..=(at, n)).next_back().map(|(&key, &to)| (key, to));
        let Some(((_, from), to)) = hole.filter(|&(_, to)| n < to) else {
            self.seen.duplicated += 1;
            return;
        };
        self.seen.delivered += 1;
        self.seen.reordered += 1;
        self.holes.remove(&(at, from));
        self.open_hole(at, emitter, from, n);
        self.open_hole(at, emitter, n + 1, to);
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
