//! What a publisher holds until it is final: which events are queued, on their way, or received,
//! over a [`Store`] that keeps them.
//!
//! ```text
//! next_seq     first seq that is not given yet      ┐ queued: goes out on this stream or the next
//! taken        first seq not handed to a stream     ┘
//!                                                   ┐ on the way: unknown, or sent again, if the
//! received     first seq the router has not read    ┘ stream is lost now
//! ```
//!
//! An event is final for a publisher that does not resend as soon as it is handed to a stream,
//! because nothing is done with it afterwards; for one that resends, when the router has received
//! it. A run that goes out again keeps its seqs and carries a flag, and every run says below which
//! seq nothing is sent again (its *floor*), so that a receiver can know what it has had.

use std::ops::Range;

use super::store::{NewEvent, Store, StoreError, StoredRun};

/// The events of one publisher that are not final.
#[derive(Debug)]
pub(super) struct Window<S> {
    store: S,
    resend: bool,
    taken: u64,
    received: u64,
    /// Events below were handed to a stream before, perhaps by an earlier process.
    sent_below: u64,
}

/// A run that is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) run: StoredRun<'a>,
    /// The lowest seq that may still be sent, now or again.
    pub(super) floor: u64,
    /// It was handed to a stream before.
    pub(super) is_resent: bool,
}

impl<S: Store> Window<S> {
    /// Goes on with what the store holds, all of which may have been sent before.
    pub(super) fn new(store: S, resend: bool) -> Self {
        let Range { start, end } = store.seqs();
        Self { store, resend, taken: start, received: start, sent_below: end }
    }

    /// Takes an event, whose seq is [`Window::next_seq`].
    #[inline]
    pub(super) fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        self.store.append(event)
    }

    /// The next run to write, if any.
    #[inline]
    pub(super) fn next_run(&self) -> Option<Outgoing<'_>> {
        let run = self.store.next_run()?;
        let is_resent = run.first_seq < self.sent_below;
        Some(Outgoing { run, floor: self.store.seqs().start, is_resent })
    }

    /// The run that [`Window::next_run`] gave and that ends at `end_seq` is in a stream.
    #[inline]
    pub(super) fn sent(&mut self, end_seq: u64) {
        self.taken = end_seq;
        self.sent_below = self.sent_below.max(end_seq);
        self.store.advance();
        if !self.resend {
            self.store.release(end_seq);
        }
    }

    /// The router has received everything below `next_seq`; whether that is news. Must not be above
    /// [`Window::taken`].
    pub(super) fn received_below(&mut self, next_seq: u64) -> bool {
        if next_seq <= self.received {
            return false;
        }
        self.received = next_seq;
        self.store.release(next_seq);
        true
    }

    /// The stream is lost. What was on its way goes out again, or is returned: it is unknown.
    pub(super) fn stream_lost(&mut self) -> Range<u64> {
        if self.resend {
            self.store.rewind();
            self.taken = self.received;
            return self.received..self.received;
        }
        let unknown = self.unreceived();
        self.received = self.taken;
        unknown
    }

    #[inline]
    pub(super) const fn resends(&self) -> bool {
        self.resend
    }

    #[inline]
    pub(super) fn next_seq(&self) -> u64 {
        self.store.seqs().end
    }

    #[inline]
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    #[inline]
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    #[inline]
    pub(super) const fn unreceived(&self) -> Range<u64> {
        self.received..self.taken
    }

    /// Bytes that were not handed to the present stream.
    #[inline]
    pub(super) fn unsent_bytes(&self) -> usize {
        self.store.unsent_bytes()
    }
}
