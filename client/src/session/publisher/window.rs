//! What a publisher holds until it is final: which events are queued, on their way, received, or
//! ended, over a [`Store`] that keeps them.
//!
//! ```text
//! next_seq     first seq that is not given yet      ┐ queued: goes out on this stream or the next
//! taken        first seq not handed to a stream     ┘
//!                                                   ┐ on the way: unknown, or sent again, if the
//! received     first seq the router has not read    ┘ stream is lost now
//!                                                   ┐ with a confirm level, sent again, too, but
//! settled      first seq that is not final          ┘ for those that have had their outcome
//! ```
//!
//! An event is final
//!
//! - with a confirm level: when its outcome has come, in any order;
//! - for a publisher that resends: when the router has received it;
//! - for one that does not: as soon as it is handed to a stream, because nothing is done with it
//!   afterwards.
//!
//! - with either: when the store has given it up by itself.
//!
//! With a confirm level at most 65,536 events are in flight. A store in memory takes no more than
//! that either; a spool does, and hands them out when there is room.
//!
//! A run that goes out again keeps its seqs and carries a flag, and every run says below which seq
//! nothing is sent again (its *floor*), so that a receiver can know what it has had. Runs are sent
//! again whole while one of their events is not final, so the floor is where a run begins.

use std::ops::Range;

use millrace_proto::data::flag;

use super::config::{ConfirmLevel, PublisherConfig};
use super::finals::Finals;
use super::standby::SetStamp;
use super::store::{GivenUp, NewEvent, Store, StoreError, StoredRun};

/// Events without an outcome, at most: routers close a connection with more.
pub(super) const UNCONFIRMED_MAX: u64 = 65_536;

/// The events of one publisher that are not final.
#[derive(Debug)]
pub(super) struct Window<S> {
    store: S,
    level: ConfirmLevel,
    resend: bool,
    /// The confirm level in the flags of this stream's runs.
    level_flags: u64,
    taken: u64,
    received: u64,
    /// Events below were handed to a stream before, perhaps by an earlier process.
    sent_below: u64,
    /// Events of this stream whose outcome its router owes.
    in_flight: u64,
    /// Nothing that runs say of the floor is above.
    floor_max: u64,
    /// Which events are final: below `settled` all, above it some.
    finals: Finals,
}

/// A run that is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) run: StoredRun<'a>,
    /// The lowest seq that may still be sent, now or again.
    pub(super) floor: u64,
    /// Flags of its hop header.
    pub(super) flags: u64,
    /// The set that it is published for, if it is for one.
    pub(super) set: Option<SetStamp<'a>>,
}

impl<S: Store> Window<S> {
    /// Goes on with what the store holds, all of which may have been sent before.
    pub(super) fn new(store: S, config: &PublisherConfig) -> Self {
        let Range { start, end } = store.seqs();
        let PublisherConfig { level, redundant, .. } = *config;
        let (mut finals, level_flags) = (Finals::below(start), level.flags());
        let mut from = start;
        for pending in store.pending_in(start..end) {
            finals.insert(from..pending.start);
            from = pending.end;
        }
        finals.insert(from..end);
        Self {
            store,
            level,
            resend: config.resend || redundant,
            level_flags,
            taken: start,
            received: start,
            // Where no level says it, receivers are to know that each run may come on another way,
            // too.
            sent_below: if redundant && !level.is_confirmed() { u64::MAX } else { end },
            in_flight: 0,
            floor_max: u64::MAX,
            finals,
        }
    }

    /// Receivers are told of no floor above this one.
    pub(super) const fn set_floor(&mut self, floor_max: u64) {
        self.floor_max = floor_max;
    }

    /// What holds the events.
    pub(super) const fn store(&self) -> &S {
        &self.store
    }

    /// As [`Window::store`]. Events that it gives up are to be taken in with
    /// [`Window::poll_given_up`].
    pub(super) const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Events that the store gave up by itself, as far as they were not final before.
    pub(super) fn poll_given_up(&mut self) -> Option<(Vec<Range<u64>>, GivenUp)> {
        let (seqs, why) = self.store.poll_given_up()?;
        let news = self.finals.pending_in(seqs.clone());
        self.finals.insert(seqs);
        Some((news, why))
    }

    /// Takes an event, whose seq is [`Window::next_seq`].
    #[inline]
    pub(super) fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        if self.is_at_its_bound() {
            return Err(StoreError::Full);
        }
        self.store.append(event)
    }

    #[inline]
    fn is_at_its_bound(&self) -> bool {
        self.level.is_confirmed() && self.store.held() >= UNCONFIRMED_MAX && !self.store.is_spacious()
    }

    /// Whether an event of so many bytes finds room.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        !self.is_at_its_bound() && self.store.has_room(payload_bytes)
    }

    /// The next run to write, if any.
    #[inline]
    pub(super) fn next_run(&self) -> Option<Outgoing<'_>> {
        let run = self.store.next_run()?;
        if self.in_flight > 0 && self.in_flight + u64::from(run.count) > UNCONFIRMED_MAX {
            return None;
        }
        let resent = if run.first_seq < self.sent_below { flag::RESENT } else { 0 };
        let floor = self.store.seqs().start.min(self.floor_max);
        Some(Outgoing { run, floor, flags: self.level_flags | resent, set: None })
    }

    /// Whether [`Window::next_run`] has a run.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        self.next_run().is_some()
    }

    /// The run of `count` events that [`Window::next_run`] gave and that ends at `end_seq` is in a
    /// stream.
    #[inline]
    pub(super) fn sent(&mut self, end_seq: u64, count: u32) {
        self.taken = self.taken.max(end_seq);
        self.sent_below = self.sent_below.max(end_seq);
        if self.is_confirmed() {
            self.in_flight += u64::from(count);
        }
        self.store.advance();
        if !self.resends() {
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
        if !self.level.is_confirmed() {
            self.finals.insert(0..next_seq);
            self.store.release(next_seq);
        }
        true
    }

    /// The router has told the outcome of so many events of this stream.
    pub(super) const fn told(&mut self, events: u64) {
        self.in_flight = self.in_flight.saturating_sub(events);
    }

    /// Whether events have an outcome.
    pub(super) const fn has_level(&self) -> bool {
        self.level.is_confirmed()
    }

    /// The parts of `seqs` that are not final.
    pub(super) fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        self.finals.pending_in(seqs)
    }

    /// These events have their outcome; must not be above [`Window::taken`]. The parts of them that
    /// had none before.
    pub(super) fn finish(&mut self, seqs: Range<u64>) -> Vec<Range<u64>> {
        let news = self.finals.pending_in(seqs.clone());
        // There are never more ranges than events that are in flight or tried again.
        self.finals.insert(seqs);
        for part in &news {
            self.store.release_range(part.clone());
        }
        news
    }

    /// These events are final, whether they were handed to a stream or not.
    pub(super) fn leave_out(&mut self, seqs: Range<u64>) {
        let news = self.finals.pending_in(seqs.clone());
        self.finals.insert(seqs);
        for part in news {
            self.store.leave_out(part);
        }
    }

    /// All that is held is given up, because another member of the publisher's set holds it. What
    /// was sent and has no outcome yet, and what was not sent.
    pub(super) fn fence(&mut self) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
        let next = self.next_seq();
        let sent = if self.level.is_confirmed() { self.finals.pending_in(0..self.taken) } else { Vec::new() };
        let unsent = self.finals.pending_in(self.taken..next);
        for seqs in sent.iter().chain(&unsent) {
            self.finals.insert(seqs.clone());
        }
        self.store.forget_all();
        (sent, unsent)
    }

    /// The stream's router confirms, or does not.
    pub(super) fn set_confirmed(&mut self, is_confirmed: bool) {
        self.level_flags = if is_confirmed { self.level.flags() } else { 0 };
    }

    /// Whether events of the present stream get an outcome from its router.
    #[inline]
    pub(super) const fn is_confirmed(&self) -> bool {
        self.level_flags != 0
    }

    /// The stream is lost. What was on its way goes out again, or is returned: it is unknown.
    pub(super) fn stream_lost(&mut self) -> Range<u64> {
        self.in_flight = 0;
        if self.level.is_confirmed() {
            self.store.rewind();
            let start = self.store.seqs().start;
            (self.taken, self.received) = (start, start);
            return start..start;
        }
        if self.resend {
            self.store.rewind();
            self.taken = self.received;
            return self.received..self.received;
        }
        let unknown = self.unreceived();
        self.received = self.taken;
        self.finals.insert(0..self.taken);
        unknown
    }

    #[inline]
    pub(super) const fn resends(&self) -> bool {
        self.resend || self.level.is_confirmed()
    }

    /// First seq that is not final; without a level, that is neither received nor given up.
    #[inline]
    pub(super) const fn settled(&self) -> u64 {
        self.finals.floor()
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
