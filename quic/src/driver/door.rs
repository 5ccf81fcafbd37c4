//! The line of newcomers that wait for their handshake, and the tokens that let them in.
//!
//! Invariants: the line is at most as long as the number that the door lets in within
//! [`SERVED_WITHIN`]. A newcomer that has waited longer leaves it unserved, because most clients
//! have given up by then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use quinn_proto::Incoming;

use super::bucket::Bucket;
use super::prefixes::Prefix;
use crate::Admission;

/// Most connections that wait for their handshake; each takes some 3 KB. Beyond the first few
/// hundred all have proven their addresses.
const WAITING_MAX: usize = 16_384;
/// A newcomer that has waited so long is not let in, because most clients give up after five
/// seconds and their handshake is lost work. The line is at most as long as the number that the
/// door lets in within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(4);
/// Nobody joins a line whose first has waited this long, because a client that does not get in
/// within seconds gives up.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The part of the handshakes per second that a core begins while it is behind, so that it is not
/// closed to newcomers.
const PART_BEHIND: u32 = 8;

/// One who waits for its handshake.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) since: Instant,
    /// The prefix that it counts for, if that has bounds.
    pub(super) prefix: Option<Prefix>,
    pub(super) incoming: Incoming,
}

/// The line of newcomers, and the tokens that let them in.
#[derive(Debug)]
pub(super) struct Door {
    bucket: Bucket,
    /// What is left of the bucket while this core is behind.
    behind: Bucket,
    waiting: VecDeque<Newcomer>,
    waiting_max: usize,
    /// Handshakes begun per turn.
    pub(super) per_turn: usize,
}

impl Door {
    pub(super) fn new(admission: Admission, per_turn: usize) -> Self {
        Self::reopened(admission, per_turn, VecDeque::new())
    }

    /// With those who waited at the previous door.
    pub(super) fn reopened(admission: Admission, per_turn: usize, waiting: VecDeque<Newcomer>) -> Self {
        let Admission { handshakes_per_second, burst, .. } = admission;
        let served = u64::from(handshakes_per_second) * SERVED_WITHIN.as_secs() + u64::from(burst);
        let waiting_max = usize::try_from(served).unwrap_or(usize::MAX).clamp(1, WAITING_MAX);
        let bucket = Bucket::new(handshakes_per_second, burst);
        let behind = Bucket::new((handshakes_per_second / PART_BEHIND).max(1), 1);
        Self { bucket, behind, waiting, waiting_max, per_turn }
    }

    pub(super) fn into_waiting(self) -> VecDeque<Newcomer> {
        self.waiting
    }

    /// Those who wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts one at the end of the line.
    pub(super) fn join(&mut self, newcomer: Newcomer) {
        self.waiting.push_back(newcomer);
    }

    /// Whether a newcomer waits that can be let in.
    pub(super) fn is_ready(&self) -> bool {
        !self.waiting.is_empty() && self.bucket.has_token()
    }

    /// The time at which a newcomer that waits for a token can be let in.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.waiting.is_empty() { None } else { self.bucket.next() }
    }

    /// Takes the first in line, if it has waited too long.
    pub(super) fn next_expired(&mut self, now: Instant) -> Option<Newcomer> {
        let expired = |first: &mut Newcomer| now.saturating_duration_since(first.since) >= SERVED_WITHIN;
        self.waiting.pop_front_if(expired)
    }

    /// Takes the newcomer to let in next, for a token; while the core is behind, for one of the few
    /// tokens of that time.
    pub(super) fn next_in_line(&mut self, now: Instant, is_behind: bool) -> Option<Newcomer> {
        if self.waiting.is_empty() || (is_behind && !self.behind.take(now)) || !self.bucket.take(now) {
            return None;
        }
        self.waiting.pop_front()
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        let waited = |first: &Newcomer| now.saturating_duration_since(first.since) > WAIT_MAX;
        self.waiting.len() >= self.waiting_max || self.waiting.front().is_some_and(waited)
    }

    /// Whether newcomers have to prove their addresses.
    pub(super) fn is_crowded(&mut self, now: Instant) -> bool {
        !self.bucket.is_half_full_without(now, self.waiting.len())
    }
}
