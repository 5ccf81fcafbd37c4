//! One publisher on one way or on two.

use std::ops::Range;

use bytes::Bytes;
use millrace_proto::TagSet;
use millrace_proto::control::TableCapacity;

use super::ends::{Ends, WAIT_NS};
use crate::session::publisher::error::PublishError;
use crate::session::publisher::memory::MemoryStore;
use crate::session::publisher::outcome::Ended;
use crate::session::publisher::session::PublisherSession;
use crate::session::publisher::store::Store;
use crate::session::publisher::tags::{HandlesExhausted, TagHandle, Tags};
use crate::session::side::Side;
use crate::time::Time;

/// What a session without room gives up must be this part of what it holds, because taking events
/// out from between others moves those.
const ROOM_PART: u64 = 8;

/// The ways of one publisher, one to each of its routers.
#[derive(Debug)]
pub struct Ways<S = MemoryStore> {
    first: PublisherSession<S>,
    second: Option<Box<Second<S>>>,
}

/// The second way, and what both together are.
#[derive(Debug)]
struct Second<S> {
    session: PublisherSession<S>,
    ends: Ends,
    /// The first seq that each router has not received, as far as the ends know it.
    received: [u64; 2],
    /// Copies at or above this seq, and until when they may come from a router that is lost.
    late: [Option<(u64, Time)>; 2],
    /// Events that ended before they were handed to one of the routers, or had its answer.
    by_one: u64,
    turned: Time,
}

impl<S: Store> Ways<S> {
    /// A publisher that has one router at a time.
    #[must_use]
    pub const fn one(session: PublisherSession<S>) -> Self {
        Self { first: session, second: None }
    }

    /// A publisher on two routers. Both sessions have just been made, from one configuration with
    /// [`PublisherConfig::redundant`](crate::session::PublisherConfig::redundant).
    #[must_use]
    pub fn two(first: PublisherSession<S>, second: PublisherSession<S>) -> Self {
        let second = Second {
            ends: Ends::new(first.settled()),
            received: [first.received(), second.received()],
            late: [None; 2],
            by_one: 0,
            turned: Time::ZERO,
            session: second,
        };
        Self { first, second: Some(Box::new(second)) }
    }

    /// Whether there are two.
    #[inline]
    #[must_use]
    pub const fn is_redundant(&self) -> bool {
        self.second.is_some()
    }

    /// The session of the first way, or of the only one.
    #[inline]
    #[must_use]
    pub const fn first(&self) -> &PublisherSession<S> {
        &self.first
    }

    /// As [`Ways::first`]. What two ways do together is not to be done with one of them:
    /// publishing, and polling what has ended.
    #[inline]
    pub const fn first_mut(&mut self) -> &mut PublisherSession<S> {
        &mut self.first
    }

    /// The session of a way.
    #[inline]
    #[must_use]
    pub fn way(&self, side: Side) -> &PublisherSession<S> {
        match (side, &self.second) {
            (Side::Second, Some(second)) => &second.session,
            _ => &self.first,
        }
    }

    /// As [`Ways::way`], to tell it what its router says, and what a driver knows of its stream.
    #[inline]
    pub fn way_mut(&mut self, side: Side) -> &mut PublisherSession<S> {
        match (side, &mut self.second) {
            (Side::Second, Some(second)) => &mut second.session,
            _ => &mut self.first,
        }
    }

    /// Registers a tag set with both: as [`PublisherSession::register`].
    ///
    /// # Errors
    /// [`HandlesExhausted`].
    pub fn register(&mut self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        if let Some(second) = &mut self.second {
            second.session.register(tags)?;
        }
        self.first.register(tags)
    }

    /// Queues an event on each way: as [`PublisherSession::publish_addressed`].
    ///
    /// # Errors
    /// [`PublishError`]; no way has taken the event then. On two ways an event has no address.
    #[inline]
    pub fn publish_addressed<'t>(
        &mut self,
        now: Time,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
    ) -> Result<u64, PublishError> {
        match self.second {
            None => self.first.publish_addressed(now, tags, time_ns, payload, address),
            Some(_) => self.publish_twice(now, tags.into(), time_ns, payload, address),
        }
    }

    fn publish_twice(
        &mut self,
        now: Time,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
    ) -> Result<u64, PublishError> {
        if !address.is_empty() {
            return Err(PublishError::AddressedTwice);
        }
        for side in Side::BOTH {
            if !self.way(side).has_room(payload.len()) {
                self.make_room(side);
                if !self.way(side).has_room(payload.len()) {
                    return Err(PublishError::WouldBlock);
                }
            }
        }
        let seq = self.first.publish(now, tags, time_ns, payload)?;
        match &mut self.second {
            // It has room, and what else can be wrong with an event the first one has found.
            Some(second) => second.session.publish(now, tags, time_ns, payload),
            None => Ok(seq),
        }
    }

    /// Whether each way has nothing queued, so that the time of the next event matters; false of a
    /// way that there is not.
    #[inline]
    #[must_use]
    pub fn are_empty(&self) -> [bool; 2] {
        let second = self.second.as_ref().is_some_and(|second| second.session.queued_bytes() == 0);
        [self.first.queued_bytes() == 0, second]
    }

    /// Makes everything that is queued due, on each way.
    pub fn flush(&mut self) {
        self.first.flush();
        if let Some(second) = &mut self.second {
            second.session.flush();
        }
    }

    /// Asks the routers for reports: as [`PublisherSession::report`].
    pub fn report(&mut self) {
        self.first.report();
        if let Some(second) = &mut self.second {
            second.session.report();
        }
    }

    /// As [`PublisherSession::expire_before`], on each way.
    pub fn expire_before(&mut self, time_ns: u64) {
        self.first.expire_before(time_ns);
        if let Some(second) = &mut self.second {
            second.session.expire_before(time_ns);
        }
    }

    /// Seq that the next event gets.
    #[inline]
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.first.next_seq()
    }

    /// First seq that no router has said it read.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.first.received().max(self.second.as_ref().map_or(0, |second| second.session.received()))
    }

    /// First seq that waits for something: as [`PublisherSession::settled`].
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.second.as_ref().map_or_else(|| self.first.settled(), |second| second.ends.ended().floor())
    }

    /// Whether no event waits for anything: as [`PublisherSession::is_flushed`].
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        match &self.second {
            None => self.first.is_flushed(),
            Some(second) => second.ends.ended().floor() == self.first.next_seq(),
        }
    }

    /// Whether an event has not ended.
    #[must_use]
    pub fn is_pending(&self, seq: u64) -> bool {
        match &self.second {
            None => self.first.is_pending(seq),
            Some(second) => second.ends.ended().next_pending(seq) == seq,
        }
    }

    /// Events that ended before they were handed to one of two routers, or before its answer was
    /// there when it was lost, because the other one had answered: copies that went only one way.
    #[must_use]
    pub fn by_one(&self) -> u64 {
        self.second.as_ref().map_or(0, |second| second.by_one)
    }

    /// How events have ended: as [`PublisherSession::poll_ended`].
    pub fn poll_ended(&mut self) -> Option<Ended> {
        if self.second.is_some() {
            self.hear();
        }
        match &mut self.second {
            None => self.first.poll_ended(),
            Some(second) => second.ends.poll(),
        }
    }

    /// Takes in what both sessions know.
    fn hear(&mut self) {
        let mut is_news = false;
        for side in Side::BOTH {
            while let Some(Ended { seqs, outcome }) = self.way_mut(side).poll_ended() {
                if let Some(second) = &mut self.second {
                    second.ends.told(side, seqs, &outcome, second.turned);
                    is_news = true;
                }
            }
            let session = self.way(side);
            let (received, has_level) = (session.received(), session.has_level());
            let Some(second) = &mut self.second else { return };
            let known = &mut second.received[side as usize];
            if received > *known && !has_level {
                second.ends.received(side, *known..received);
                is_news = true;
            }
            *known = received.max(*known);
        }
        if is_news {
            self.leave_out_of_absent();
        }
    }

    /// Takes what has ended out of each session that has no router.
    fn leave_out_of_absent(&mut self) {
        for side in Side::BOTH {
            if !self.way(side).has_stream() {
                let ended = self.ended_on_other(side);
                self.leave_out(side, ended);
            }
        }
    }

    /// Takes what has ended out of a session that has no room, if that makes some.
    fn make_room(&mut self, side: Side) {
        let ended = self.ended_on_other(side);
        let events: u64 = ended.iter().map(|seqs| seqs.end - seqs.start).sum();
        if events >= self.way(side).held().div_ceil(ROOM_PART) {
            self.leave_out(side, ended);
        }
    }

    /// Events that have ended and that a session still holds.
    fn ended_on_other(&self, side: Side) -> Vec<Range<u64>> {
        let Some(second) = &self.second else { return Vec::new() };
        let held = self.way(side).pending();
        held.into_iter().flat_map(|part| second.ends.ended().final_in(part)).collect()
    }

    fn leave_out(&mut self, side: Side, ended: Vec<Range<u64>>) {
        let events: u64 = ended.iter().map(|seqs| seqs.end - seqs.start).sum();
        self.way_mut(side).leave_out(ended);
        if let Some(second) = &mut self.second {
            second.by_one += events;
        }
    }

    /// A router is there: as [`PublisherSession::stream_started`].
    pub fn stream_started(&mut self, side: Side, tables: TableCapacity) {
        if let Some(second) = &mut self.second {
            second.ends.opened(side);
        }
        self.way_mut(side).stream_started(tables);
    }

    /// A router is lost: as [`PublisherSession::stream_lost`]. On two ways nothing is unknown,
    /// because each sends again.
    pub fn stream_lost(&mut self, side: Side) -> Range<u64> {
        let received = self.way(side).received();
        if let Some(second) = &mut self.second {
            let late = second.late[side as usize].filter(|(_, until)| second.turned < *until);
            let from = late.map_or(received, |(seq, _)| seq.min(received));
            second.late[side as usize] = Some((from, second.turned.after(WAIT_NS)));
            second.ends.lost(side, second.turned);
        }
        let unknown = self.way_mut(side).stream_lost();
        if self.second.is_some() {
            self.hear();
            self.leave_out_of_absent();
        }
        unknown
    }

    /// The next bytes of a way's stream: as [`PublisherSession::take_output`].
    #[inline]
    pub fn take_output(&mut self, side: Side, now: Time) -> Option<Bytes> {
        if self.second.is_some() {
            self.turn(side, now);
        }
        self.way_mut(side).take_output(now)
    }

    /// What two ways do before one of them sends.
    fn turn(&mut self, side: Side, now: Time) {
        let floor = self.low(Side::First, now).min(self.low(Side::Second, now)).min(self.settled());
        let Some(second) = &mut self.second else { return };
        second.turned = second.turned.max(now);
        second.ends.turn(now);
        self.way_mut(side).set_floor(floor);
    }

    /// The lowest seq of what has ended and may still come on a way: what its router has not
    /// received, and for a while what a lost router had not.
    fn low(&self, side: Side, now: Time) -> u64 {
        let session = self.way(side);
        let late = self.second.as_ref().and_then(|second| second.late[side as usize]);
        let late = late.filter(|(_, until)| now < *until).map_or(u64::MAX, |(seq, _)| seq);
        // Without a router it holds nothing that has ended.
        let here = if session.has_stream() { session.received() } else { u64::MAX };
        here.min(late)
    }

    /// When [`Ways::take_output`] will have something, or something ends: as
    /// [`PublisherSession::poll_timeout`].
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self, side: Side) -> Option<Time> {
        let ends = self.second.as_ref().and_then(|second| second.ends.poll_timeout());
        self.way(side).poll_timeout().into_iter().chain(ends).min()
    }
}
