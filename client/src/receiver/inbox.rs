//! Batches that wait for the application, and the bytes that it has taken of the present
//! connection's stream.
//!
//! The receiver's window bounds the batches that wait, because the router's grant follows what the
//! application takes. Batches of an older connection count against the first grant on a shared
//! stream; the task leaves a stream of one receiver unread while more than two windows wait.
//! Sessions that are lost one after the other leave one gap.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use millrace_proto::SubscriptionNumber;
use millrace_proto::data::{Gap, GapReason};

use super::batch::Batch;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    batches: VecDeque<Batch>,
    bytes: u64,
    /// Bytes of the present connection's stream that were taken, and that its session was not told.
    taken: u64,
    /// The same, of older connections.
    taken_before: u64,
    connection: u64,
    /// Sessions that were opened; those that receivers move between without a gap are one.
    life: u64,
    /// Whether there is one.
    is_open: bool,
    /// Receipts of the present connection that the application was given and has not acknowledged.
    given: u64,
    waker: Option<Waker>,
    ended: bool,
    /// Numbers on the wire that stand for a subscription of another number, because its selectors
    /// fill several frames.
    names: BTreeMap<SubscriptionNumber, SubscriptionNumber>,
}

impl Inbox {
    /// Begins a new connection: bytes taken of older ones do not count for it.
    pub(super) fn begin_connection(&mut self) -> u64 {
        self.connection += 1;
        self.taken = 0;
        self.taken_before = 0;
        self.given = 0;
        self.connection
    }

    /// A session begins from nothing.
    pub(super) const fn begin_life(&mut self) {
        self.life += 1;
        self.is_open = true;
    }

    /// The session is lost.
    pub(super) const fn end_life(&mut self) {
        self.is_open = false;
    }

    /// The session that the next batch is of; without one, the present session. None: there is
    /// none.
    pub(super) fn next_life(&self) -> Option<u64> {
        let present = (self.is_open && !self.ended).then_some(self.life);
        self.batches.front().map_or(present, |batch| Some(batch.life))
    }

    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    /// Notes the numbers under which a subscription stands on the wire.
    pub(super) fn name_parts(&mut self, name: SubscriptionNumber, parts: &[SubscriptionNumber]) {
        for &part in parts {
            if part == name {
                self.names.remove(&part);
            } else {
                self.names.insert(part, name);
            }
        }
    }

    /// Adds a batch. The caller wakes the waker after it has released the lock.
    pub(super) fn push(&mut self, mut batch: Batch) -> Option<Waker> {
        if !self.names.is_empty() {
            batch.name_matched(&self.names);
        }
        batch.life = self.life;
        self.bytes += batch.stream_bytes;
        self.batches.push_back(batch);
        self.waker.take()
    }

    /// Marks that a session was lost, unless the newest batch says so already. The waker is as for
    /// [`Inbox::push`].
    pub(super) fn session_lost(&mut self) -> Option<Waker> {
        if self.batches.back().is_some_and(Batch::is_session_lost) {
            return None;
        }
        let gap = Gap { reason: GapReason::SessionLost, ..Gap::default() };
        self.push(Batch::of_gap(gap, self.connection))
    }

    pub(super) fn end(&mut self) -> Option<Waker> {
        self.ended = true;
        self.waker.take()
    }

    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.stream_bytes;
        if batch.connection == self.connection {
            self.taken += batch.stream_bytes;
            self.given += batch.receipts();
        } else {
            self.taken_before += batch.stream_bytes;
        }
        Some(batch)
    }

    /// The application has acknowledged so many runs of a connection.
    pub(super) const fn acknowledged(&mut self, connection: u64, receipts: u64) {
        if connection == self.connection {
            self.given = self.given.saturating_sub(receipts);
        }
    }

    /// Whether something of the present connection is to be acknowledged.
    pub(super) fn has_receipts(&self) -> bool {
        self.given > 0 || self.batches.iter().any(|batch| batch.receipts() > 0)
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// What is to be woken though there is no batch.
    pub(super) const fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Takes the bytes taken since the last call: of the present connection, and of older ones.
    pub(super) const fn take_taken(&mut self) -> (u64, u64) {
        (std::mem::replace(&mut self.taken, 0), std::mem::replace(&mut self.taken_before, 0))
    }

    pub(super) const fn taken_in_all(&self) -> u64 {
        self.taken + self.taken_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_lost_in_a_row_leave_one_gap() {
        let mut inbox = Inbox::default();
        for _ in 0..100 {
            inbox.begin_connection();
            inbox.session_lost();
        }
        let mut batch = Batch::of_gap(Gap { reason: GapReason::Overflow, ..Gap::default() }, 0);
        batch.stream_bytes = 7;
        inbox.push(batch);
        inbox.session_lost();
        let sizes: Vec<_> = std::iter::from_fn(|| inbox.pop()).map(|batch| batch.stream_bytes).collect();
        assert_eq!(sizes, [0, 7, 0]);
        inbox.session_lost();
        assert!(inbox.pop().is_some(), "what was taken is not there to say it");
    }
}
