//! Pacing: a publisher waits a little for a receiver that it is about to drown.
//!
//! A receiver whose queue is more than half full is *crowded*. When a publisher's run reaches one,
//! the publisher's stream is left unread until a quarter of the queue is left, at most
//! [`CoreLimits::pace_max`](super::CoreLimits::pace_max) at a time. Other streams are read
//! meanwhile, and QUIC's windows and the publisher's credit do the rest.
//!
//! Nobody waits for a receiver that gains nothing by it, because each wait costs the publisher's
//! other receivers: not for one that took nothing for `pace_max`, and not for one that takes less
//! than a tenth of what the fastest receiver of the same run takes. Those overflow by their own
//! policy. Nor does a publisher wait while less than three quarters of the queue are taken and the
//! rest is enough, as fast as it fills, until the receiver will have taken nothing for `pace_max`:
//! a receiver that stalls and gets little is given that time by its queue alone.
//!
//! A receiver with policy `block` is waited for by publishers with a confirm level for as long as
//! it takes: none of these rules limits that. What was on its way when its queue became crowded has
//! the other half of the queue. What does not fit that is refused, and its publisher told (*busy*),
//! so that it sends again.
//!
//! A receiver on another core than the publisher's stream, or behind a peer, is waited for in the
//! same way: see [`holds`](super::holds).
//!
//! Worked example: a receiver with a queue of 16 MiB takes 5 MB/s of 50 MB/s. Its queue is half
//! full after 190 ms; from then on the publisher is read for as long as 256 KiB last, and waits
//! until the queue has drained to 4 MiB, or 250 ms.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::PublisherId;

use super::holds::Holds;
use super::outlet::{Backlogged, ReceiverQueue, per_second};
use super::receivers::Receivers;
use super::run::RunOut;
use super::slot::ReceiverSlot;
use crate::message::CrowdedReceiver;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

/// A publisher does not wait for a receiver that takes less than this part of what the fastest
/// takes.
const SLOWEST_SHARE: u64 = 10;

/// A queue with less room than this part of it is short of room, however slowly it fills.
const SHORT_OF_ROOM: u64 = 4;

/// Receivers that crowded ones are compared with in one call into the core. Nobody waits for a
/// receiver for which none is left.
const COMPARED_MAX: u32 = 4_096;

/// How often a wait for a receiver with policy `block` is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The receiver that a publisher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitFor {
    /// A receiver of this core.
    Here(ReceiverSlot),
    /// A receiver elsewhere, whose core or router has asked to hold the publisher back.
    There(CrowdedReceiver),
}

/// Who reads the runs that crowd a receiver, and so who is to be asked to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// This core reads the publisher's stream.
    Publisher,
    /// This core reads the lane of a peer that the publisher is connected to.
    Lane(ConnKey),
    /// A sibling has handed the run over. It comes from a stream that another core reads, or this
    /// core through it.
    Sibling,
}

/// The receiver that the runs read last have crowded, if there is one.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    slowest: Option<WaitFor>,
    /// Whether its policy is `block`.
    blocks: bool,
    /// The lane that is being read, if one is.
    lane: Option<ConnKey>,
    /// How long a receiver may take nothing and still be waited for, nanoseconds: set at each call
    /// into the core.
    pace_max_ns: u64,
    now: Time,
    /// Receivers that may yet be compared in this call into the core.
    compared_left: u32,
}

impl Crowd {
    /// Sets the time of this call into the core.
    pub(super) const fn set_now(&mut self, now: Time, pace_max_ns: u64) {
        self.now = now;
        self.pace_max_ns = pace_max_ns;
        self.compared_left = COMPARED_MAX;
    }

    pub(super) const fn now(&self) -> Time {
        self.now
    }

    /// Forgets the crowded receiver, before a publish stream is read.
    pub(super) const fn clear(&mut self) {
        (self.slowest, self.blocks) = (None, false);
    }

    /// Sets the lane that is being read: while it is, its peer is asked to wait.
    pub(super) const fn set_lane(&mut self, lane: Option<ConnKey>) {
        self.lane = lane;
    }

    /// The receiver to wait for, if the runs read since [`clear`](Self::clear) have crowded one,
    /// and whether its policy is `block`.
    pub(super) fn take(&mut self) -> Option<(WaitFor, bool)> {
        self.slowest.take().map(|receiver| (receiver, self.blocks))
    }

    /// Notes that a run has reached a crowded receiver; `all` are the receivers of the run.
    #[cold]
    pub(super) fn note(
        &mut self,
        receivers: &Receivers,
        slot: ReceiverSlot,
        all: impl Iterator<Item = ReceiverSlot>,
        run: &RunOut<'_>,
        holds: &mut Holds,
    ) {
        let publisher = run.publisher.publisher;
        let reader = match (run.from, self.lane) {
            (Some(_), _) => Reader::Sibling,
            (None, Some(lane)) => Reader::Lane(lane),
            (None, None) => Reader::Publisher,
        };
        let Some(queue) = receivers.get(slot).map(|receiver| &receiver.queue) else { return };
        if queue.blocks() && run.entry.is_some() {
            return self.note_blocking(reader, publisher, slot, holds);
        }
        let is_known = match reader {
            Reader::Publisher => self.slowest.is_some(),
            Reader::Lane(lane) => !holds.may_ask_peer(lane, publisher, self.now),
            Reader::Sibling => !holds.may_ask(publisher, self.now),
        };
        if is_known || self.pace_max_ns == 0 {
            return;
        }
        let own = queue.backlogged().unwrap_or(Backlogged::begin(self.now, 0));
        let idle_ns = self.now.nanos_since(own.taken_at);
        let lasts_ns = || queue_lasts_ns(queue, self.now.nanos_since(own.since));
        if idle_ns > self.pace_max_ns || idle_ns.saturating_add(lasts_ns()) > self.pace_max_ns {
            return;
        }
        let own_rate = own.rate(self.now);
        let mut fastest = own_rate;
        for other in all.filter(|&other| other != slot) {
            let Some(left) = self.compared_left.checked_sub(1) else { return };
            self.compared_left = left;
            let Some(other) = receivers.get(other).map(|receiver| &receiver.queue) else { continue };
            let rate = match other.backlogged().filter(|_| !other.is_empty()) {
                Some(backlogged) => backlogged.rate(self.now),
                None => per_second(own.taken() + queue.bytes(), self.now.nanos_since(own.since)),
            };
            fastest = fastest.max(rate);
        }
        if own_rate.saturating_mul(SLOWEST_SHARE) < fastest {
            return;
        }
        match reader {
            Reader::Publisher => self.slowest = Some(WaitFor::Here(slot)),
            Reader::Lane(lane) => holds.ask_peer(lane, publisher, slot, false, self.now),
            Reader::Sibling => holds.ask(publisher, slot, false, self.now),
        }
    }

    /// Notes that a run has reached a crowded receiver with policy `block`.
    fn note_blocking(
        &mut self,
        reader: Reader,
        publisher: PublisherId,
        slot: ReceiverSlot,
        holds: &mut Holds,
    ) {
        match reader {
            Reader::Publisher => (self.slowest, self.blocks) = (Some(WaitFor::Here(slot)), true),
            Reader::Lane(lane) if holds.may_ask_peer(lane, publisher, self.now) => {
                holds.ask_peer(lane, publisher, slot, true, self.now);
            }
            Reader::Sibling if holds.may_ask(publisher, self.now) => {
                holds.ask(publisher, slot, true, self.now);
            }
            Reader::Lane(_) | Reader::Sibling => {}
        }
    }

    /// Notes that a run of a held publisher was read.
    pub(super) fn note_held(&mut self, receiver: CrowdedReceiver, blocks: bool) {
        if self.slowest.is_none() || (blocks && !self.blocks) {
            (self.slowest, self.blocks) = (Some(WaitFor::There(receiver)), blocks);
        }
    }
}

/// For how long the room of a queue lasts that has filled for `ns` nanoseconds, if it goes on
/// filling like that; 0 when it is short of room.
fn queue_lasts_ns(queue: &ReceiverQueue, ns: u64) -> u64 {
    let room = queue.bytes_max().saturating_sub(queue.bytes());
    if room < queue.bytes_max() / SHORT_OF_ROOM {
        return 0;
    }
    let lasts = u128::from(ns) * u128::from(room) / u128::from(queue.bytes().max(1));
    u64::try_from(lasts).unwrap_or(u64::MAX)
}

/// A publisher that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    receiver: WaitFor,
    /// When it ends, or, for a receiver with policy `block`, is looked at again.
    until: Time,
    blocks: bool,
}

/// Publish streams that are left unread for a receiver's sake: at most one for each client.
#[derive(Debug, Default)]
pub(super) struct Paced(BTreeMap<(ConnKey, StreamKey), Waiting>);

impl Paced {
    /// Leaves a stream unread.
    pub(super) fn insert(
        &mut self,
        conn: ConnKey,
        stream: StreamKey,
        (receiver, blocks): (WaitFor, bool),
        until: Time,
    ) {
        self.0.insert((conn, stream), Waiting { receiver, until, blocks });
    }

    /// When a wait for a receiver with policy `block` is to be looked at again, that was looked at
    /// now.
    pub(super) fn look_again(&mut self, conn: ConnKey, now: Time) -> Option<Time> {
        let mut of_conn = self.0.range_mut((conn, StreamKey(0))..=(conn, StreamKey(u64::MAX)));
        let (_, waiting) = of_conn.find(|(_, waiting)| waiting.blocks)?;
        waiting.until = now + LOOK_AGAIN;
        Some(waiting.until)
    }

    /// Whether a stream is left unread for a receiver's sake.
    pub(super) fn has(&self, conn: ConnKey, stream: StreamKey) -> bool {
        self.0.contains_key(&(conn, stream))
    }

    /// Forgets a stream. Returns the time at which its wait would have ended.
    pub(super) fn remove(&mut self, conn: ConnKey, stream: StreamKey) -> Option<Time> {
        self.0.remove(&(conn, stream)).map(|waiting| waiting.until)
    }

    /// Takes out the streams whose receiver is relieved, with the times at which their waits would
    /// have ended.
    pub(super) fn release(
        &mut self,
        now: Time,
        receivers: &Receivers,
        holds: &Holds,
    ) -> Vec<(ConnKey, StreamKey, Time)> {
        let mut released = Vec::new();
        self.0.retain(|&(conn, stream), waiting| {
            let is_crowded = || match waiting.receiver {
                WaitFor::Here(slot) => {
                    receivers.get(slot).is_some_and(|receiver| !receiver.queue.is_relieved())
                }
                WaitFor::There(receiver) => holds.has(receiver),
            };
            let waits = (waiting.blocks || now < waiting.until) && is_crowded();
            if !waits {
                released.push((conn, stream, waiting.until));
            }
            waits
        });
        released
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
