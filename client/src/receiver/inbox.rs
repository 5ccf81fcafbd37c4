//! Batches that wait for the application, and what it has taken of the present connection's stream.
//!
//! Bounded by the receiver's window: the router's grant follows what is taken, and the task stops reading its stream when
//! more than two windows wait (one may be left over from the connection before).

use std::collections::VecDeque;
use std::task::Waker;

use super::batch::Batch;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    batches: VecDeque<Batch>,
    bytes: u64,
    /// Bytes of the present connection's stream that were taken and not yet told to its session.
    taken: u64,
    connection: u64,
    waker: Option<Waker>,
    ended: bool,
}

impl Inbox {
    /// A new connection begins: what is taken of older ones counts no more.
    pub(super) fn begin_connection(&mut self) -> u64 {
        self.connection += 1;
        self.taken = 0;
        self.connection
    }

    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    /// Adds a batch; the waker is to be woken behind the lock.
    pub(super) fn push(&mut self, batch: Batch) -> Option<Waker> {
        self.bytes += batch.stream_bytes;
        self.batches.push_back(batch);
        self.waker.take()
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
        }
        Some(batch)
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Bytes taken since the last call.
    pub(super) const fn take_taken(&mut self) -> u64 {
        std::mem::replace(&mut self.taken, 0)
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }
}
