//! The load generator's checker: counts losses, duplicates and disorder while millions of events per second arrive.
//!
//! Subscriptions are fixed, so every pair of emitter and receiver that may meet is known and has a slot with the next event
//! number that it expects: 16 bytes each. The usual delivery costs one look at the emitter's few slots. A number beyond the
//! next opens a *hole*; a number below it fills its hole (reordered) or is a duplicate. What is left of the holes at the end
//! is lost.
//!
//! Several threads share a workload by checking their own receivers each; their verdicts add up.

use std::collections::BTreeMap;

use millrace_proto::data::{Gap, GapReason};

use super::Verdict;
use crate::oracle::Expected;
use crate::payload::Stamp;
use crate::workload::{WordMask, Words};

/// Most holes that are remembered, each some 40 bytes. Beyond it what is missing counts as lost at once, and as duplicated
/// if it arrives after all.
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
        slot.next = n + 1;
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

    /// The verdict when emitter `e` has published events `0..published[e]` and all that would arrive has arrived.
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
        let at = match slots.len() {
            0..=8 => slots.iter().position(|slot| slot.receiver == receiver)?,
            _ => slots.binary_search_by_key(&receiver, |slot| slot.receiver).ok()?,
        };
        Some(from + at as u32)
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
mod tests {
    use super::*;
    use crate::workload::Workload;

    /// What each receiver of a small workload gets when nothing goes wrong, in order: (receiver, emitter, n).
    fn clean(expected: &Expected, each: u64) -> Vec<(u32, u32, u64)> {
        let mut deliveries = Vec::new();
        for n in 0..each {
            for emitter in 0..expected.emitters() {
                let receivers = expected.receivers(emitter);
                let taking = receivers.filter(|&(_, words)| expected.words().takes(words, emitter, n));
                deliveries.extend(taking.map(|(receiver, _)| (receiver, emitter, n)));
            }
        }
        deliveries
    }

    fn payload((_, emitter, n): (u32, u32, u64)) -> Vec<u8> {
        let mut payload = vec![0; 64];
        Stamp { emitter, n, scheduled_ns: 5 }.encode(b"", &mut payload).unwrap();
        payload
    }

    /// The verdict after `change` was made to a clean history of ten events per emitter.
    fn check(change: impl FnOnce(&mut Vec<(u32, u32, u64)>)) -> Verdict {
        let generator = Workload::million().scaled(100, 10).generator().unwrap();
        let expected = Expected::of(&generator).unwrap();
        let mut deliveries = clean(&expected, 10);
        change(&mut deliveries);
        let mut checker = FleetChecker::new(&expected, |_| true);
        for delivery in deliveries {
            checker.deliver(delivery.0, &payload(delivery)).unwrap();
        }
        checker.verdict(&[10; 100])
    }

    #[test]
    fn a_clean_history_is_clean() {
        let verdict = check(|_| ());
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(verdict.published, 1000);
        assert_eq!(verdict.delivered, verdict.expected_deliveries);
        assert!(verdict.delivered >= 1000);
    }

    #[test]
    fn a_lost_event_is_noticed_in_the_middle_and_at_the_end() {
        for at in [0, 500] {
            let verdict = check(|deliveries| {
                deliveries.remove(at);
            });
            assert_eq!((verdict.lost, verdict.is_clean()), (1, false));
        }
        let verdict = check(|deliveries| {
            deliveries.pop();
        });
        assert_eq!(verdict.lost, 1);
        let verdict = check(Vec::clear);
        assert_eq!(verdict.lost, verdict.expected_deliveries);
    }

    #[test]
    fn a_duplicate_is_noticed() {
        let verdict = check(|deliveries| deliveries.insert(700, deliveries[300]));
        assert_eq!((verdict.duplicated, verdict.lost, verdict.is_clean()), (1, 0, false));
    }

    #[test]
    fn a_swap_is_noticed_and_loses_nothing() {
        let verdict = check(|deliveries| {
            let first = deliveries[0];
            let second = deliveries.iter().position(|&(r, e, n)| (r, e, n) == (first.0, first.1, 3)).unwrap();
            deliveries.swap(0, second);
        });
        assert_eq!(
            (verdict.reordered, verdict.lost, verdict.duplicated),
            (3, 0, 0),
            "0, 1 and 2 come behind 3"
        );
    }

    #[test]
    fn a_wrong_receiver_is_noticed() {
        let verdict = check(|deliveries| {
            let (_, emitter, n) = deliveries[400];
            let wrong = (0..10).find(|&r| !deliveries.contains(&(r, emitter, n))).unwrap();
            deliveries[400].0 = wrong;
        });
        assert_eq!((verdict.unexpected, verdict.lost), (1, 1));
        assert_eq!(check(|deliveries| deliveries.push((0, 4_000_000, 0))).unexpected, 1);
    }

    #[test]
    fn an_event_that_was_never_published_is_noticed() {
        let verdict = check(|deliveries| {
            let (receiver, emitter, _) = deliveries[0];
            deliveries.push((receiver, emitter, 10));
        });
        assert_eq!(verdict.unexpected, 1);
    }

    #[test]
    fn a_damaged_payload_is_noticed() {
        let generator = Workload::pipes(1, 1).generator().unwrap();
        let mut checker = FleetChecker::new(&Expected::of(&generator).unwrap(), |_| true);
        let mut damaged = payload((0, 0, 0));
        damaged[40] ^= 4;
        assert_eq!(checker.deliver(0, &damaged), None);
        let verdict = checker.verdict(&[1]);
        assert_eq!((verdict.corrupted, verdict.lost), (1, 1));
    }

    #[test]
    fn patterns_take_only_their_words() {
        let generator = Workload::random(3, 30, 12).generator().unwrap();
        let expected = Expected::of(&generator).unwrap();
        let partial =
            (0..30).flat_map(|emitter| expected.receivers(emitter)).filter(|&(_, words)| words != Words::ALL);
        assert!(partial.count() > 0, "the workload has patterns that match");
        let mut halves = [
            FleetChecker::new(&expected, |receiver| receiver % 2 == 0),
            FleetChecker::new(&expected, |receiver| receiver % 2 == 1),
        ];
        let deliveries = clean(&expected, 20);
        for &delivery in &deliveries {
            halves[delivery.0 as usize % 2].deliver(delivery.0, &payload(delivery)).unwrap();
        }
        let mut verdict = halves[0].verdict(&[20; 30]);
        verdict += halves[1].verdict(&[20; 30]);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(verdict.delivered, deliveries.len() as u64);
        assert_eq!(verdict.expected_deliveries, expected.deliveries(&[20; 30]));
    }
}
