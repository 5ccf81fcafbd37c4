//! The publishing half of a client: events in, one stream of bytes out.
//!
//! Events get their seq at once and join a queue of *runs*: consecutive events with one tag set. Runs are encoded when they
//! are taken for the stream, never earlier, so numbers of tag sets always belong to the stream that carries them, and events
//! that were still queued when a connection died simply go out on the next one.
//!
//! Output is *due* when 16 KiB are queued, when the oldest queued event has waited for `linger`, or after a flush, and is
//! held back beyond the router's credit (bytes of the stream, its preamble included). The queue is bounded; when it is
//! full, [`PublishError::WouldBlock`] is the back-pressure.
//!
//! The router says what it has received when it likes, within bounds (see [`PublisherConfig::received_within_ns`]); who
//! waits for that asks with [`PublisherSession::report`], which goes out behind the events concerned.
//!
//! ```text
//! next_seq     first seq that is not given yet      ┐ queued: goes out on this stream or the next
//! taken        first seq not handed to a stream     ┘
//!                                                   ┐ on the way: unknown if the stream is lost now
//! received     first seq the router has not read    ┘
//! ```
//!
//! ```
//! use millrace_client::session::{PublisherConfig, PublisherSession};
//! use millrace_client::time::Time;
//! use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet, control::TableCapacity};
//!
//! let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
//! let mut session = PublisherSession::new(PublisherConfig::new(key));
//! let tags = TagSet::from_texts(["host=web-1"])?;
//! let now = Time::ZERO;
//! session.publish(now, &tags, 1_700_000_000_000_000_000, b"up")?;
//! assert!(session.take_output(now).is_none(), "no stream yet");
//! session.stream_started(TableCapacity::CLIENT);
//! session.on_credit(64 * 1024);
//! session.flush();
//! assert!(session.take_output(now).is_some());
//! session.on_received(1)?;
//! assert!(session.is_flushed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod queue;
mod stream;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::put_report;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::{PublisherKey, Shard, TagSet, varint};

use self::queue::RunQueue;
pub(super) use self::stream::PUBLISHER_NUMBER;
use self::stream::PublishStream;
use super::SessionError;
use crate::time::{MILLISECOND_NS, Time};

/// Tag sets that may be registered with one publisher: 1,048,576. Each keeps its canonical bytes.
pub const TAG_HANDLES_MAX: usize = 1 << 20;

/// Most bytes of one output chunk that holds more than one run: large enough for full GSO batches.
const OUTPUT_BYTES: usize = 64 * 1024;

/// A router that has read this much without saying so is late.
const RECEIVED_BYTES: u64 = 64 * 1024;
/// What a router may be late with an answer before the publisher watches it: a round trip, and a busy host.
const ANSWER_SLACK_NS: u64 = 250 * MILLISECOND_NS;

/// Settings of one publisher.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// Who publishes.
    pub key: PublisherKey,
    /// The index that its id follows from. Default 0. Of no weight where the connection shows no secret.
    pub index: u64,
    /// Seq of the first event; above 0 when an epoch goes on.
    pub first_seq: u64,
    /// Longest time that an event waits for company, nanoseconds. Default 5 ms. 0 = none: whatever is queued when the
    /// driver asks.
    pub linger_ns: u64,
    /// Queued bytes that are sent without waiting, and the size at which a run is cut. Default 16 KiB.
    pub flush_bytes: usize,
    /// Most bytes queued. Default 1 MiB. One event always fits an empty queue, however large.
    pub buffer_bytes: usize,
    /// How long the router may take to say what it has received, as the connection's Hello tells it
    /// ([`ConnectionConfig::received_within_us`](super::ConnectionConfig::received_within_us)), nanoseconds. Default 20 ms.
    pub received_within_ns: u64,
}

impl PublisherConfig {
    /// The defaults for `key`.
    #[must_use]
    pub const fn new(key: PublisherKey) -> Self {
        Self {
            key,
            index: 0,
            first_seq: 0,
            linger_ns: 5 * MILLISECOND_NS,
            flush_bytes: 16 * 1024,
            buffer_bytes: 1024 * 1024,
            received_within_ns: 20 * MILLISECOND_NS,
        }
    }
}

/// A tag set that was registered: publishing with it hashes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagHandle {
    /// Its place among the publisher's handles.
    index: u32,
    shard: Shard,
}

impl TagHandle {
    /// The shard of the tag set.
    #[must_use]
    pub const fn shard(self) -> Shard {
        self.shard
    }
}

/// What an event is published with.
#[derive(Debug, Clone, Copy)]
pub enum Tags<'a> {
    /// A tag set.
    Set(&'a TagSet),
    /// A registered tag set.
    Handle(TagHandle),
}

impl Tags<'_> {
    /// The shard that the event belongs to. Hashes a set that is given by value.
    #[must_use]
    pub fn shard(self) -> Shard {
        match self {
            Self::Set(set) => set.shard(),
            Self::Handle(handle) => handle.shard,
        }
    }
}

impl<'a> From<&'a TagSet> for Tags<'a> {
    #[inline]
    fn from(tags: &'a TagSet) -> Self {
        Self::Set(tags)
    }
}

impl From<TagHandle> for Tags<'_> {
    #[inline]
    fn from(handle: TagHandle) -> Self {
        Self::Handle(handle)
    }
}

/// Why an event was not taken. It got no seq, and nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue is full. Try again when output was taken.
    #[error("the publisher's queue is full")]
    WouldBlock,
    /// The payload exceeds what one event may carry.
    #[error("a payload of {bytes} bytes exceeds the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A handle of another publisher.
    #[error("the tag handle belongs to another publisher")]
    UnknownHandle,
}

/// More tag sets were registered than [`TAG_HANDLES_MAX`]; publish the rest by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{TAG_HANDLES_MAX} tag sets are registered already")]
pub struct HandlesExhausted;

/// One publisher, across the connections that carry it.
#[derive(Debug)]
pub struct PublisherSession {
    config: PublisherConfig,
    handles: Vec<TagSet>,
    queue: RunQueue,
    /// When the oldest queued event came.
    oldest: Time,
    flush_wanted: bool,
    held: bool,
    stream: Option<PublishStream>,
    next_seq: u64,
    taken: u64,
    received: u64,
    /// Somebody waits until everything below this seq is received.
    report_below: Option<u64>,
    /// The router was asked to say at once that everything below this seq is received.
    asked_below: u64,
    /// When output was taken last.
    taken_at: Time,
    /// Since when the router has had something to say.
    unanswered_since: Time,
    /// Bytes of this stream that were taken since the router said something.
    unanswered_bytes: u64,
}

impl PublisherSession {
    /// A publisher without a stream.
    #[must_use]
    pub fn new(config: PublisherConfig) -> Self {
        let first_seq = config.first_seq;
        Self {
            config,
            handles: Vec::new(),
            queue: RunQueue::default(),
            oldest: Time::ZERO,
            flush_wanted: false,
            held: false,
            stream: None,
            next_seq: first_seq,
            taken: first_seq,
            received: first_seq,
            report_below: None,
            asked_below: first_seq,
            taken_at: Time::ZERO,
            unanswered_since: Time::ZERO,
            unanswered_bytes: 0,
        }
    }

    /// Gives `tags` a handle that is good for the life of this publisher. Registering a set twice gives two handles.
    ///
    /// # Errors
    /// [`HandlesExhausted`] when there are [`TAG_HANDLES_MAX`].
    pub fn register(&mut self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        if self.handles.len() >= TAG_HANDLES_MAX {
            return Err(HandlesExhausted);
        }
        let index = u32::try_from(self.handles.len()).map_err(|_| HandlesExhausted)?;
        self.handles.push(tags.clone());
        Ok(TagHandle { index, shard: tags.shard() })
    }

    /// The registered tag set behind `handle`.
    #[must_use]
    pub fn registered(&self, handle: TagHandle) -> Option<&TagSet> {
        self.handles.get(handle.index as usize)
    }

    /// Queues an event and returns its seq. `time_ns` is when it happened, nanoseconds since 1970 (62 bits are kept).
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    #[inline]
    pub fn publish<'t>(
        &mut self,
        now: Time,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<u64, PublishError> {
        let tags = tags.into();
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes: payload.len() });
        }
        if let Tags::Handle(handle) = tags
            && handle.index as usize >= self.handles.len()
        {
            return Err(PublishError::UnknownHandle);
        }
        if self.queue.is_empty() {
            self.oldest = now;
        } else if self.queue.bytes() + payload.len() > self.config.buffer_bytes {
            return Err(PublishError::WouldBlock);
        }
        let seq = self.next_seq;
        self.queue.push(tags, seq, time_ns.min(varint::MAX), payload, self.config.flush_bytes);
        self.next_seq += 1;
        Ok(seq)
    }

    /// Makes everything that is queued due.
    pub fn flush(&mut self) {
        self.flush_wanted = !self.queue.is_empty();
    }

    /// Asks the router to say that everything published so far is received as soon as it is, behind the last of these events.
    /// To be used with [`PublisherSession::flush`] by who waits for it: each such answer costs packets.
    pub fn report(&mut self) {
        let answered = self.received.max(self.asked_below);
        self.report_below = (self.next_seq > answered).then_some(self.next_seq);
    }

    /// A connection is open and its router's publish table holds `tables`: output begins, as far as credit goes, with the
    /// stream's preamble.
    pub fn stream_started(&mut self, tables: TableCapacity) {
        self.held = false;
        self.unanswered_bytes = 0;
        self.stream =
            Some(PublishStream::new(self.config.key, self.config.index, tables, self.handles.len()));
    }

    /// No more events are taken for this stream; a chunk that was begun is finished, and the router is asked for a report.
    /// Once [`PublisherSession::unreceived`] is empty the publisher can leave without any event unknown.
    pub fn hold(&mut self) {
        self.held = true;
        if self.taken > self.received {
            self.report_below.get_or_insert(self.taken);
        }
    }

    /// The stream is gone. Returns the seqs that were on their way: whether the router got them is unknown, and they are not
    /// sent again. Queued events stay queued for the next stream.
    pub fn stream_lost(&mut self) -> Range<u64> {
        self.stream = None;
        let unknown = self.received..self.taken;
        self.received = self.taken;
        self.report_below = self.report_below.filter(|&below| below > self.received);
        unknown
    }

    /// Whether there is a stream.
    #[must_use]
    pub const fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// The router allows `bytes` of this stream in all. Older, smaller values change nothing.
    pub fn on_credit(&mut self, bytes: u64) {
        if let Some(stream) = &mut self.stream {
            stream.on_credit(bytes);
        }
    }

    /// The router has read everything below `next_seq`.
    ///
    /// # Errors
    /// [`SessionError::Unexpected`] for events that were never sent.
    pub fn on_received(&mut self, next_seq: u64) -> Result<(), SessionError> {
        if next_seq > self.taken {
            return Err(SessionError::Unexpected { frame: "Received for events that were never sent" });
        }
        if next_seq > self.received {
            self.received = next_seq;
            self.unanswered_since = self.taken_at;
            self.unanswered_bytes = 0;
            self.report_below = self.report_below.filter(|&below| below > next_seq);
        }
        Ok(())
    }

    /// The next bytes of the stream, if some are due and credit allows them. Call until `None`; write every chunk in order.
    pub fn take_output(&mut self, now: Time) -> Option<Bytes> {
        let due = self.is_due(now);
        let report_due = self.is_report_due();
        let stream = self.stream.as_mut()?;
        if stream.room() == 0 {
            return None;
        }
        if !stream.has_staged() && due {
            if self.received == self.taken {
                self.unanswered_since = now;
            }
            self.taken_at = now;
            let bytes_max = usize::try_from(stream.room()).unwrap_or(usize::MAX).min(OUTPUT_BYTES);
            // The last run's head may stand beyond the bound.
            let mut out = Vec::with_capacity(bytes_max.min(self.queue.bytes()) + 512);
            while let Some((run, events)) = self.queue.front() {
                if !out.is_empty() && out.len() + events.len() > bytes_max {
                    break;
                }
                stream.encode(&mut out, run, events, &self.handles);
                self.taken = run.first_seq + u64::from(run.count);
                self.queue.pop();
            }
            if self.report_below.is_some_and(|below| self.taken >= below) {
                self.asked_below = self.taken;
                self.report_below = None;
                put_report(&mut out);
            }
            stream.stage(out);
            if self.queue.is_empty() {
                self.flush_wanted = false;
            }
        } else if !stream.has_staged() && report_due {
            self.asked_below = self.taken;
            self.report_below = self.report_below.filter(|&below| below > self.taken);
            let mut out = Vec::new();
            put_report(&mut out);
            stream.stage(out);
        }
        let chunk = stream.take_staged()?;
        self.unanswered_bytes += chunk.len() as u64;
        Some(chunk)
    }

    /// When [`PublisherSession::take_output`] will have something, if only time is missing. In the past when it has already.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let stream = self.stream.as_ref()?;
        if stream.room() == 0 {
            return None;
        }
        if stream.has_staged() || self.is_due(self.oldest) || self.is_report_due() {
            return Some(self.oldest);
        }
        (!self.queue.is_empty() && !self.held).then(|| self.oldest.after(self.config.linger_ns))
    }

    /// Seq that the next event gets.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// First seq that the router has not said it read; everything below is received, or was reported by
    /// [`PublisherSession::stream_lost`].
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Events on their way: what becomes unknown if the stream is lost now.
    #[must_use]
    pub const fn unreceived(&self) -> Range<u64> {
        self.received..self.taken
    }

    /// Whether the router has received every event (or the loss of it was reported).
    #[must_use]
    pub const fn is_flushed(&self) -> bool {
        self.received == self.next_seq
    }

    /// Bytes queued; [`PublisherConfig::buffer_bytes`] bounds them.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether output is due but the router's credit is used up.
    #[must_use]
    pub fn is_out_of_credit(&self, now: Time) -> bool {
        self.stream.as_ref().is_some_and(|stream| {
            stream.room() == 0 && (stream.has_staged() || self.is_due(now) || self.is_report_due())
        })
    }

    /// From when on the silence of the router means something: it should have said what it has received. `None` when it has
    /// nothing to say; in the past when it was asked, or has read enough, and is expected to answer right away.
    #[must_use]
    pub fn answer_due(&self) -> Option<Time> {
        if self.received == self.taken {
            None
        } else if self.asked_below > self.received || self.unanswered_bytes >= RECEIVED_BYTES {
            Some(self.unanswered_since)
        } else {
            let within = self.config.received_within_ns.saturating_add(ANSWER_SLACK_NS);
            Some(self.unanswered_since.after(within))
        }
    }

    /// Whether the router should be saying something: an answer is due, or credit is missing. For
    /// [`ConnectionSession::set_attentive`](super::ConnectionSession::set_attentive).
    #[must_use]
    pub fn expects_answer(&self, now: Time) -> bool {
        self.answer_due().is_some_and(|due| due <= now) || self.is_out_of_credit(now)
    }

    /// Whether a report is asked for by itself, because no more events go out with it.
    fn is_report_due(&self) -> bool {
        self.report_below.is_some_and(|below| self.taken >= below || self.held)
            && self.taken > self.asked_below
            && self.taken > self.received
    }

    fn is_due(&self, now: Time) -> bool {
        !self.queue.is_empty()
            && !self.held
            && (self.flush_wanted
                || self.queue.bytes() >= self.config.flush_bytes
                || now.nanos_since(self.oldest) >= self.config.linger_ns)
    }
}
