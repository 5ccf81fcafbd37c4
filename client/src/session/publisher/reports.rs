//! When the router says what it has received, and when its silence means something.
//!
//! A router says so when it likes, within bounds: behind 64 KiB, or after the time that the Hello
//! allowed. Who waits for it asks with a report frame behind the events concerned, because each
//! answer costs packets.

use std::ops::Range;

use crate::time::{MILLISECOND_NS, Time};

/// A router that has read this much without saying so is late.
const RECEIVED_BYTES: u64 = 64 * 1024;
/// What a router may be late with an answer before the publisher watches it: a round trip, and a
/// busy host.
pub(super) const ANSWER_SLACK_NS: u64 = 250 * MILLISECOND_NS;

/// What a publisher has asked its router to say, and what the router owes.
#[derive(Debug)]
pub(super) struct Reports {
    /// How long the router may take.
    within_ns: u64,
    /// Somebody waits until everything below this seq is received.
    wanted_below: Option<u64>,
    /// The router was asked to say at once that everything below this seq is received.
    asked_below: u64,
    /// When output was taken last.
    taken_at: Time,
    /// Since when the router has had something to say.
    unanswered_since: Time,
    /// Bytes of this stream that were taken since the router said something.
    unanswered_bytes: u64,
}

impl Reports {
    pub(super) const fn new(first_seq: u64, within_ns: u64) -> Self {
        Self {
            within_ns,
            wanted_below: None,
            asked_below: first_seq,
            taken_at: Time::ZERO,
            unanswered_since: Time::ZERO,
            unanswered_bytes: 0,
        }
    }

    /// Somebody waits until everything below `next_seq` is received.
    pub(super) fn want(&mut self, next_seq: u64, received: u64) {
        let answered = received.max(self.asked_below);
        self.wanted_below = (next_seq > answered).then_some(next_seq);
    }

    /// No events follow those that were taken for this stream.
    pub(super) fn want_last(&mut self, unreceived: Range<u64>) {
        if !unreceived.is_empty() {
            self.wanted_below.get_or_insert(unreceived.end);
        }
    }

    /// Whether the router is asked behind the events that were just taken.
    #[inline]
    pub(super) fn ask_behind(&mut self, taken: u64) -> bool {
        let asks = self.wanted_below.is_some_and(|below| taken >= below);
        if asks {
            self.asked_below = taken;
            self.wanted_below = None;
        }
        asks
    }

    /// Whether the router is to be asked by itself, because no more events go out with the wish.
    pub(super) fn is_due(&self, unreceived: Range<u64>, is_held: bool) -> bool {
        self.wanted_below.is_some_and(|below| unreceived.end >= below || is_held)
            && unreceived.end > self.asked_below
            && !unreceived.is_empty()
    }

    /// The router is asked by itself.
    pub(super) fn ask(&mut self, taken: u64) {
        self.asked_below = taken;
        self.wanted_below = self.wanted_below.filter(|&below| below > taken);
    }

    /// Events are taken; `is_first`: the router had answered for all others.
    #[inline]
    pub(super) fn taking(&mut self, now: Time, is_first: bool) {
        if is_first {
            self.unanswered_since = now;
        }
        self.taken_at = now;
    }

    #[inline]
    pub(super) const fn wrote(&mut self, bytes: usize) {
        self.unanswered_bytes += bytes as u64;
    }

    /// The router has said that everything below `received` is.
    pub(super) fn answered(&mut self, received: u64) {
        self.unanswered_since = self.taken_at;
        self.unanswered_bytes = 0;
        self.wanted_below = self.wanted_below.filter(|&below| below > received);
    }

    pub(super) const fn stream_started(&mut self) {
        self.unanswered_bytes = 0;
    }

    /// The stream is lost, and with it what the router was asked about events that go out again.
    pub(super) fn stream_lost(&mut self, received: u64) {
        if self.asked_below > received {
            self.wanted_below = self.wanted_below.max(Some(self.asked_below));
            self.asked_below = received;
        }
        self.wanted_below = self.wanted_below.filter(|&below| below > received);
    }

    /// From when on the silence of the router means something. `None` when it has nothing to say;
    /// in the past when it is expected to answer right away.
    pub(super) fn answer_due(&self, unreceived: &Range<u64>) -> Option<Time> {
        if unreceived.is_empty() {
            None
        } else if self.asked_below > unreceived.start || self.unanswered_bytes >= RECEIVED_BYTES {
            Some(self.unanswered_since)
        } else {
            Some(self.unanswered_since.after(self.within_ns.saturating_add(ANSWER_SLACK_NS)))
        }
    }
}
