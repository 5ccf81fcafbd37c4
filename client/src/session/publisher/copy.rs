//! What a session does whose events another one sends, too, on another way.

use std::ops::Range;

use super::session::PublisherSession;
use super::store::Store;

impl<S: Store> PublisherSession<S> {
    /// Whether events have an outcome.
    pub(super) const fn has_level(&self) -> bool {
        self.window.has_level()
    }

    /// Whether an event of so many bytes finds room.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        self.window.has_room(payload_bytes)
    }

    /// Events that it holds, as far as its store counts them.
    pub(super) fn held(&self) -> u64 {
        self.window.store().held()
    }

    /// The events that are not final.
    pub(super) fn pending(&self) -> Vec<Range<u64>> {
        self.window.pending_in(self.window.settled()..self.window.next_seq())
    }

    /// These events need not go out on this way, or not again. Nobody is told of them.
    pub(super) fn leave_out(&mut self, seqs: Vec<Range<u64>>) {
        for part in seqs {
            self.retries.forget(&part);
            self.window.leave_out(part);
        }
    }

    /// Receivers are told of no floor above this one, from the next run on.
    pub(super) const fn set_floor(&mut self, floor: u64) {
        self.window.set_floor(floor);
    }
}
