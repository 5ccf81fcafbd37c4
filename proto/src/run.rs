//! Runs: consecutive events of one publisher with one tag set, the unit that is routed.
//!
//! A run body is written once, by the publisher, and forwarded as it came:
//!
//! ```text
//! first seq, floor distance, base time (ns since 1970), count, then per event: time delta (ns), length, payload
//! ```
//!
//! All integers are varints. `floor distance` is `first seq − floor`, where floor is the lowest seq
//! that may still be resent. Time deltas count from the base time, so no event of a run is earlier
//! than its base. A router checks a body completely when it enters (its lengths must add up), and
//! never reads payloads unless a subscription asks for it.

use std::cmp::Ordering;

use crate::error::DecodeError;
use crate::limits::{EVENTS_PER_RUN_MAX, PAYLOAD_BYTES_MAX, RUN_BYTES_MAX};
use crate::varint;

/// Bytes that a body's head takes at most: three integers of any size, and a count of two bytes.
const HEAD_BYTES_MAX: usize = 3 * 8 + 2;
/// Bytes that an event takes besides its payload, at most: its time, and a length of four bytes.
const EVENT_HEAD_BYTES_MAX: usize = 8 + 4;

/// A checked run body, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunBody<'a> {
    bytes: &'a [u8],
    first_seq: u64,
    floor: u64,
    base_time_ns: u64,
    count: u64,
    /// Where the first event starts in `bytes`.
    events_at: usize,
}

/// Checks that `count` events stand from `at` to the end of `bytes`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a length is compared with its bound first")]
fn check_events(bytes: &[u8], mut at: usize, count: u64, base_time_ns: u64) -> Result<(), DecodeError> {
    for _ in 0..count {
        let (delta, len, size) = take_event_head(bytes, at).ok_or(DecodeError::Truncated)?;
        // Both are below 2^62.
        if base_time_ns + delta > varint::MAX {
            return Err(DecodeError::Malformed { what: "event time" });
        }
        if len > PAYLOAD_BYTES_MAX as u64 {
            return Err(DecodeError::Limit { what: "payload" });
        }
        at += size + len as usize;
    }
    match at.cmp(&bytes.len()) {
        Ordering::Less => Err(DecodeError::Malformed { what: "run" }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(DecodeError::Truncated),
    }
}

impl<'a> RunBody<'a> {
    /// Checks that `bytes` are exactly one run body.
    ///
    /// # Errors
    /// [`DecodeError`] when a bound is exceeded, the run is empty, seqs overflow, or lengths do not
    /// add up.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        // In line, and the events apart, so that the head stays in registers: what a call returns
        // in memory is moved by wider words than it was written by, for which a processor waits.
        let body = Self::parse_head(bytes)?;
        check_events(bytes, body.events_at, body.count, body.base_time_ns)?;
        Ok(body)
    }

    /// Takes bytes that [`RunBody::parse`] accepted before: reads only the head.
    ///
    /// # Errors
    /// [`DecodeError`] when the head is not that of a run.
    #[inline(always)]
    pub fn parse_head(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > RUN_BYTES_MAX {
            return Err(DecodeError::Limit { what: "run" });
        }
        let Some((first_seq, distance, base_time_ns, count, events_at)) = take_head(bytes) else {
            return Err(DecodeError::Truncated);
        };
        let floor = first_seq.checked_sub(distance).ok_or(DecodeError::Malformed { what: "floor" })?;
        if count == 0 || first_seq.saturating_add(count) > varint::MAX {
            return Err(DecodeError::Malformed { what: "run" });
        }
        if count > EVENTS_PER_RUN_MAX {
            return Err(DecodeError::Limit { what: "events per run" });
        }
        Ok(Self { bytes, first_seq, floor, base_time_ns, count, events_at })
    }

    /// The body's bytes, to be forwarded.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Seq of the first event.
    #[inline]
    #[must_use]
    pub const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Seq of the last event.
    #[inline]
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        self.first_seq + self.count - 1
    }

    /// Lowest seq of this publisher that may still be resent.
    #[inline]
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// Number of events, at least 1.
    #[inline]
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Earliest time that an event of this run may have, ns since 1970.
    #[inline]
    #[must_use]
    pub const fn base_time_ns(&self) -> u64 {
        self.base_time_ns
    }

    /// The events in order of their seqs.
    #[inline]
    #[must_use]
    pub fn events(&self) -> Events<'a> {
        Events {
            rest: &self.bytes[self.events_at..],
            next_seq: self.first_seq,
            end_seq: self.first_seq + self.count,
            base_time_ns: self.base_time_ns,
        }
    }
}

/// The integers of a body's head, and where they end.
#[inline(always)]
fn take_head(bytes: &[u8]) -> Option<(u64, u64, u64, u64, usize)> {
    let (first_seq, size) = varint::peek(bytes)?;
    let mut at = size;
    let (distance, size) = varint::peek(bytes.get(at..)?)?;
    at += size;
    let (base_time_ns, size) = varint::peek(bytes.get(at..)?)?;
    at += size;
    let (count, size) = varint::peek(bytes.get(at..)?)?;
    Some((first_seq, distance, base_time_ns, count, at + size))
}

/// Time and length of the event at `at`, and the bytes that they take.
#[inline(always)]
fn take_event_head(bytes: &[u8], at: usize) -> Option<(u64, u64, usize)> {
    let rest = bytes.get(at..)?;
    let (delta, size) = varint::peek(rest)?;
    let (len, len_size) = varint::peek(rest.get(size..)?)?;
    Some((delta, len, size + len_size))
}

/// One event of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Its seq.
    pub seq: u64,
    /// When the publisher says it happened, ns since 1970.
    pub time_ns: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The events of a run.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    rest: &'a [u8],
    next_seq: u64,
    end_seq: u64,
    base_time_ns: u64,
}

impl<'a> Iterator for Events<'a> {
    type Item = EventRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next_seq == self.end_seq {
            return None;
        }
        let delta = varint::take(&mut self.rest).ok()?;
        let payload = varint::take_prefixed(&mut self.rest, PAYLOAD_BYTES_MAX, "payload").ok()?;
        let seq = self.next_seq;
        self.next_seq += 1;
        Some(EventRef { seq, time_ns: self.base_time_ns.saturating_add(delta), payload })
    }
}

/// Writes run bodies: push events, then take the body.
///
/// ```
/// use millrace_proto::run::{RunBody, RunBuilder};
/// let mut run = RunBuilder::default();
/// run.start(7, 7, 1_000);
/// run.push(1_000, b"up");
/// run.push(1_250, b"down");
/// let mut body = Vec::new();
/// run.finish(&mut body);
/// let body = RunBody::parse(&body).unwrap();
/// assert_eq!(body.events().map(|event| event.time_ns).collect::<Vec<_>>(), [1_000, 1_250]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct RunBuilder {
    first_seq: u64,
    floor: u64,
    base_time_ns: u64,
    count: u64,
    events: Vec<u8>,
}

impl RunBuilder {
    /// Starts an empty run at `first_seq`; `base_time_ns` is the earliest time of its events.
    pub fn start(&mut self, first_seq: u64, floor: u64, base_time_ns: u64) {
        self.first_seq = first_seq;
        self.floor = floor.min(first_seq);
        self.base_time_ns = base_time_ns.min(varint::MAX);
        self.count = 0;
        self.events.clear();
    }

    /// Events pushed since the start.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Bytes that the events take so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events.len()
    }

    /// Whether another event of `payload_bytes` keeps the run within its bounds. An event of at
    /// most [`PAYLOAD_BYTES_MAX`] always fits an empty run.
    #[must_use]
    pub fn fits(&self, payload_bytes: usize) -> bool {
        payload_bytes <= PAYLOAD_BYTES_MAX
            && self.count < EVENTS_PER_RUN_MAX
            && self.first_seq + self.count < varint::MAX
            && self.events.len() + payload_bytes + HEAD_BYTES_MAX + EVENT_HEAD_BYTES_MAX <= RUN_BYTES_MAX
    }

    /// Adds an event, one that [`fits`](Self::fits). A time before the base counts as the base.
    #[inline]
    pub fn push(&mut self, time_ns: u64, payload: &[u8]) {
        let mut head = varint::Gathered::<{ 2 * 8 }>::default();
        head.put(time_ns.saturating_sub(self.base_time_ns).min(varint::MAX - self.base_time_ns));
        head.put(payload.len() as u64);
        self.events.reserve(head.len() + payload.len());
        self.events.extend_from_slice(head.bytes());
        self.events.extend_from_slice(payload);
        self.count += 1;
    }

    /// Bytes of the finished body.
    #[must_use]
    pub fn finished_bytes(&self) -> usize {
        varint::size(self.first_seq)
            + varint::size(self.first_seq - self.floor)
            + varint::size(self.base_time_ns)
            + varint::size(self.count)
            + self.events.len()
    }

    /// Appends the body to `out`: a valid one when at least one event was pushed. The builder is
    /// empty after it, until the next start.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let mut head = varint::Gathered::<{ 4 * 8 }>::default();
        head.put(self.first_seq);
        head.put(self.first_seq - self.floor);
        head.put(self.base_time_ns);
        head.put(self.count);
        out.reserve(head.len() + self.events.len());
        head.append_to(out);
        out.extend_from_slice(&self.events);
        self.count = 0;
        self.events.clear();
    }
}
