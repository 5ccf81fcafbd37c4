//! Timers of connections: a binary heap with one entry per connection, and the place of each entry.
//!
//! An entry is never later than its connection's own next timeout, and may be earlier, because
//! moving a timer later costs nothing until it is first and looked at again: before a core rests,
//! or when it fires. The usual packet (a short acknowledgement timer before a long idle timer)
//! therefore costs one sift up and one down, and memory is one entry per connection however often
//! timers move.

use std::time::Instant;

/// Marks a connection without an entry.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: Vec<(Instant, u32)>,
    /// For each connection its entry's place in the heap.
    places: Vec<u32>,
}

impl Timers {
    /// Makes the connection's entry no later than `at`.
    pub(super) fn arm(&mut self, index: u32, at: Instant) {
        let i = index as usize;
        if i >= self.places.len() {
            self.places.resize(i + 1, NOWHERE);
        }
        if self.places[i] == NOWHERE {
            self.heap.push((at, index));
            self.rise(self.heap.len() - 1);
        } else if self.heap[self.places[i] as usize].0 > at {
            let place = self.places[i] as usize;
            self.heap[place].0 = at;
            self.rise(place);
        }
    }

    /// The earliest entry: its time and its connection.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Makes the earliest entry, of which there must be one, as late as `at`.
    pub(super) fn postpone(&mut self, at: Instant) {
        self.heap[0].0 = at;
        self.sink(0);
    }

    /// Forgets the connection's entry.
    pub(super) fn disarm(&mut self, index: u32) {
        if let Some(&place) = self.places.get(index as usize).filter(|place| **place != NOWHERE) {
            self.remove(place as usize);
        }
    }

    /// The earliest entry's time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes one connection whose entry is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (_, index) = *self.heap.first().filter(|(at, _)| *at <= now)?;
        self.remove(0);
        Some(index)
    }

    fn remove(&mut self, place: usize) {
        let (_, index) = self.heap.swap_remove(place);
        self.places[index as usize] = NOWHERE;
        if place < self.heap.len() {
            self.sink(place);
            self.rise(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.heap.swap(parent, place);
            self.note(place);
            place = parent;
        }
        self.note(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(mut least) = self.heap.get(left).map(|_| left) else { break };
            if self.heap.get(left + 1).is_some_and(|right| *right < self.heap[left]) {
                least = left + 1;
            }
            if self.heap[place] <= self.heap[least] {
                break;
            }
            self.heap.swap(place, least);
            self.note(place);
            place = least;
        }
        self.note(place);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are fewer entries than connections, whose index is u32"
    )]
    fn note(&mut self, place: usize) {
        self.places[self.heap[place].1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec((0..5_u8, 0..20_u32, 0..100_u64), 0..400)) {
            let start = Instant::now();
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            for (kind, index, millis) in steps {
                let at = start + Duration::from_millis(millis);
                match kind {
                    0 | 1 => {
                        timers.arm(index, at);
                        model.entry(index).and_modify(|old| *old = at.min(*old)).or_insert(at);
                    }
                    2 => {
                        timers.disarm(index);
                        model.remove(&index);
                    }
                    3 => {
                        let first = model.iter().map(|(index, at)| (*at, *index)).min();
                        prop_assert_eq!(timers.first(), first);
                        if let Some((_, index)) = first.filter(|(first, _)| *first < at) {
                            timers.postpone(at);
                            model.insert(index, at);
                        }
                    }
                    _ => {
                        let due = model.iter().map(|(index, at)| (*at, *index)).min().filter(|(due, _)| *due <= at);
                        prop_assert_eq!(timers.pop_due(at), due.map(|(_, index)| index));
                        due.map(|(_, index)| model.remove(&index));
                    }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
                prop_assert_eq!(timers.heap.len(), model.len());
            }
        }
    }
}
