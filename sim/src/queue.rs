//! The event queue: what happens next, in virtual time.
//!
//! Events of one moment happen in the order in which they were scheduled, so a run depends on
//! nothing but its inputs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use millrace_engine::time::Time;

/// Events that wait, and the time.
#[derive(Debug)]
pub struct Queue<E> {
    now: Time,
    next: u64,
    heap: BinaryHeap<Entry<E>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Time,
    order: u64,
    event: E,
}

impl<E> Queue<E> {
    /// An empty queue at the start of time.
    #[must_use]
    pub fn new() -> Self {
        Self { now: Time::ZERO, next: 0, heap: BinaryHeap::new() }
    }

    /// The time of the event that was taken last.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Events that were taken or wait.
    #[must_use]
    pub const fn scheduled(&self) -> u64 {
        self.next
    }

    /// Schedules an event; one in the past happens now.
    pub fn at(&mut self, at: Time, event: E) {
        let at = at.max(self.now);
        self.heap.push(Entry { at, order: self.next, event });
        self.next += 1;
    }

    /// Schedules an event for later.
    pub fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    /// Takes the next event, which moves time.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        let Entry { at, event, .. } = self.heap.pop()?;
        self.now = at;
        Some((at, event))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Entry<E> {
    const fn key(&self) -> (Time, u64) {
        (self.at, self.order)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_keep_their_order_and_time_never_goes_back() {
        let mut queue = Queue::new();
        queue.at(Time(5), 'b');
        queue.at(Time(3), 'a');
        queue.at(Time(5), 'c');
        assert_eq!(queue.pop(), Some((Time(3), 'a')));
        assert_eq!(queue.pop(), Some((Time(5), 'b')));
        queue.at(Time(1), 'd');
        assert_eq!(queue.pop(), Some((Time(5), 'c')));
        assert_eq!(queue.pop(), Some((Time(5), 'd')));
        assert_eq!(queue.pop(), None);
    }
}
