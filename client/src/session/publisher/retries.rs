//! Events that did not reach all their receivers, and when each is sent again.
//!
//! An event has five more tries within ten minutes. Pauses between them grow, because a receiver
//! that has no room needs time rather than attempts:
//!
//! ```text
//! outcome ─ 0.2 s ─▶ again ─ 1 s ─▶ again ─ 5 s ─▶ again ─ 25 s ─▶ again ─ 125 s ─▶ again ─▶ final
//! ```
//!
//! The time is that of the publisher's last turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

/// Times that an event is sent again because of its outcome, at most.
const TRIES_MAX: u32 = 5;
/// How long an event is tried again, from its first outcome on.
const WITHIN_NS: u64 = 600 * SECOND_NS;
/// The first pause; each further one is five times as long.
const PAUSE_NS: u64 = 200 * MILLISECOND_NS;
/// Events that are tried again at once, at most, some 100 bytes each. More end as they are, because
/// new events are not to wait for them.
const EVENTS_MAX: usize = 65_536;

/// How often one event was tried again.
#[derive(Debug, Clone, Copy)]
struct Tried {
    times: u32,
    since: Time,
    /// When it is due, while it waits.
    due: Option<Time>,
}

/// Events with tries left.
#[derive(Debug, Default)]
pub(super) struct Retries {
    events: BTreeMap<u64, Tried>,
    due: BTreeSet<(Time, u64)>,
}

impl Retries {
    /// Splits `seqs`, which ended badly, into those that are tried again later and the parts that
    /// are final now.
    pub(super) fn postpone(&mut self, seqs: Range<u64>, now: Time) -> Vec<Range<u64>> {
        let mut finals: Vec<Range<u64>> = Vec::new();
        for seq in seqs {
            if self.postpone_one(seq, now) {
                continue;
            }
            match finals.last_mut() {
                Some(last) if last.end == seq => last.end = seq + 1,
                _ => finals.push(seq..seq + 1),
            }
        }
        finals
    }

    /// False when the event has no try left, and is forgotten.
    fn postpone_one(&mut self, seq: u64, now: Time) -> bool {
        let is_known = self.events.contains_key(&seq);
        if !is_known && self.events.len() >= EVENTS_MAX {
            return false;
        }
        let tried = self.events.entry(seq).or_insert(Tried { times: 0, since: now, due: None });
        if tried.due.is_some() {
            return true;
        }
        let due = now.after(PAUSE_NS * 5_u64.pow(tried.times));
        if tried.times >= TRIES_MAX || due.nanos_since(tried.since) > WITHIN_NS {
            self.events.remove(&seq);
            return false;
        }
        tried.times += 1;
        tried.due = Some(due);
        self.due.insert((due, seq));
        true
    }

    /// These events are final.
    pub(super) fn forget(&mut self, seqs: &Range<u64>) {
        if self.events.is_empty() {
            return;
        }
        while let Some((&seq, &Tried { due, .. })) = self.events.range(seqs.clone()).next() {
            self.events.remove(&seq);
            if let Some(due) = due {
                self.due.remove(&(due, seq));
            }
        }
    }

    /// Events whose pause is over, as ranges.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<Range<u64>> {
        let mut seqs = BTreeSet::new();
        while let Some(&(due, seq)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, seq));
            if let Some(tried) = self.events.get_mut(&seq) {
                tried.due = None;
            }
            seqs.insert(seq);
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for seq in seqs {
            match ranges.last_mut() {
                Some(last) if last.end == seq => last.end = seq + 1,
                _ => ranges.push(seq..seq + 1),
            }
        }
        ranges
    }

    /// When the next pause is over.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|&(due, _)| due)
    }

    /// The stream is lost: everything goes out again on the next one, without a pause.
    pub(super) fn stream_lost(&mut self) {
        self.due.clear();
        self.events.values_mut().for_each(|tried| tried.due = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(ranges: Vec<Range<u64>>) -> Vec<(u64, u64)> {
        ranges.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn an_event_is_tried_five_times_more_with_growing_pauses() {
        let (mut retries, mut now, mut pauses) = (Retries::default(), Time::ZERO, Vec::new());
        while retries.postpone(7..8, now).is_empty() {
            let due = retries.next_due().unwrap();
            assert!(retries.take_due(now).is_empty());
            pauses.push(due.nanos_since(now) / MILLISECOND_NS);
            now = due;
            assert_eq!(ends(retries.take_due(now)), [(7, 8)]);
        }
        assert_eq!(pauses, [200, 1_000, 5_000, 25_000, 125_000]);
        assert_eq!(retries.next_due(), None);
        assert!(retries.postpone(7..8, now).is_empty(), "what was forgotten begins anew");
    }

    #[test]
    fn ten_minutes_are_enough() {
        let mut retries = Retries::default();
        assert!(retries.postpone(0..2, Time::ZERO).is_empty());
        let late = Time::ZERO.after(WITHIN_NS);
        assert_eq!(ends(retries.take_due(late)), [(0, 2)]);
        assert_eq!(ends(retries.postpone(0..3, late)), [(0, 2)], "the third has its first outcome");
    }

    #[test]
    fn what_is_final_or_goes_out_anyway_is_not_due() {
        let mut retries = Retries::default();
        retries.postpone(0..4, Time::ZERO);
        retries.forget(&(1..3));
        let late = Time::ZERO.after(SECOND_NS);
        assert_eq!(ends(retries.take_due(late)), [(0, 1), (3, 4)]);
        retries.postpone(0..4, late);
        retries.stream_lost();
        assert_eq!(retries.next_due(), None);
    }

    #[test]
    fn events_that_are_tried_again_are_bounded() {
        let mut retries = Retries::default();
        let most = EVENTS_MAX as u64;
        assert_eq!(ends(retries.postpone(0..most + 2, Time::ZERO)), [(most, most + 2)]);
    }
}
