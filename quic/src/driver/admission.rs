//! Who may begin a handshake, and when.
//!
//! A handshake costs a signature and a few hundred microseconds of a core that everybody else waits for. So newcomers wait
//! in line, few of them are served per turn, and each pays a token (see [`Admission`]). Who comes while the line is long, or
//! few tokens are left, first has to prove its address, which costs it a round trip and this core next to nothing. Then
//! it waits, rather than dial again: what thousands dial and give up is the work that makes a storm last.
//!
//! Who is there comes first: while sockets have more than a turn can receive, or many connections wait to be heard or to
//! send, few are let in, at a rate in time. Otherwise a storm of handshakes makes a line of its own, in the socket's buffer or
//! inside of the core, in which everybody's packets wait. A line that moves so slowly holds some who have given up by the time
//! that they come first: whoever has waited for too long leaves it unserved.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quinn_proto::Incoming;

use super::Driver;
use super::bucket::Bucket;
use super::prefixes::{Prefix, Room};
use super::slots::Phase;
use crate::{Admission, Network, SocketId};

/// Connections that wait for their handshake, at most; each takes some 3 KB. Beyond the first few hundred all have proven
/// their addresses.
const WAITING_MAX: usize = 16_384;
/// Who has waited for so long is not let in: most give up after five seconds, and their handshake is lost work. The line is at
/// most what the door lets in within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(4);
/// Nobody joins a line whose first has waited for this long: who does not get in within seconds gives up, and the work is
/// lost.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// With more connections that wait to be heard or to send, a core is behind: well above what one turn receives.
const BEHIND_ABOVE: usize = 256;
/// The part of the handshakes per second that a core begins while it is behind, so that it is not closed to newcomers.
const PART_BEHIND: u32 = 8;

/// One who waits for its handshake.
#[derive(Debug)]
pub(super) struct Newcomer {
    since: Instant,
    prefix: Option<Prefix>,
    incoming: Incoming,
}

#[derive(Debug)]
pub(super) struct Door {
    bucket: Bucket,
    /// What is left of the bucket while this core is behind.
    behind: Bucket,
    waiting: VecDeque<Newcomer>,
    waiting_max: usize,
    per_turn: usize,
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

    /// Whether somebody waits who can be let in.
    pub(super) fn is_ready(&self) -> bool {
        !self.waiting.is_empty() && self.bucket.has_token()
    }

    /// When somebody who waits for a token can be let in.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.waiting.is_empty() { None } else { self.bucket.next() }
    }

    /// Takes the first in line, if it has waited for too long.
    fn next_expired(&mut self, now: Instant) -> Option<Newcomer> {
        let expired = |first: &mut Newcomer| now.saturating_duration_since(first.since) >= SERVED_WITHIN;
        self.waiting.pop_front_if(expired)
    }

    /// Who is let in next, for a token; while the core is behind, for one of the few that there are then.
    fn next_in_line(&mut self, now: Instant, is_behind: bool) -> Option<Newcomer> {
        if self.waiting.is_empty() || (is_behind && !self.behind.take(now)) || !self.bucket.take(now) {
            return None;
        }
        self.waiting.pop_front()
    }

    fn is_full(&self, now: Instant) -> bool {
        let waited = |first: &Newcomer| now.saturating_duration_since(first.since) > WAIT_MAX;
        self.waiting.len() >= self.waiting_max || self.waiting.front().is_some_and(waited)
    }

    /// Whether newcomers have to prove their addresses.
    fn is_crowded(&mut self, now: Instant) -> bool {
        !self.bucket.is_half_full_without(now, self.waiting.len())
    }
}

impl Driver {
    /// Begins as many of the waiting handshakes as one turn may; `unread` says that this turn could not receive everything.
    pub fn begin_turn(&mut self, now: Instant, net: &mut dyn Network, unread: bool) {
        self.waking.extend(self.woken.drain(..));
        let busy = self.events.len().max(self.transmit.len());
        let is_behind = unread || busy > BEHIND_ABOVE;
        while let Some(newcomer) = self.door.as_mut().and_then(|door| door.next_expired(now)) {
            self.metrics.drops.admission_expired += 1;
            self.ignore(newcomer);
        }
        self.metrics.resumptions_refused = self.resumptions_refused.load(Ordering::Relaxed);
        self.expire_handshakes(now);
        for _ in 0..self.door.as_ref().map_or(0, |door| door.per_turn) {
            let next = self.door.as_mut().and_then(|door| door.next_in_line(now, is_behind));
            let Some(newcomer) = next else { break };
            self.accept(now, net, newcomer);
        }
    }

    /// Decides about one newcomer.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        socket: SocketId,
        incoming: Incoming,
    ) {
        let Some(door) = self.door.as_mut().filter(|_| socket == SocketId::SHARED) else {
            self.metrics.drops.not_accepting += 1;
            self.endpoint.ignore(incoming);
            return;
        };
        let proven = incoming.remote_address_validated();
        let prefix = self.prefixes.of(incoming.remote_address().ip());
        let room = self.prefixes.room(prefix);
        if self.slots.count() + door.waiting.len() >= self.connections_max {
            self.refuse(net, incoming);
        } else if door.is_full(now) {
            if proven {
                return self.refuse(net, incoming);
            }
            self.metrics.drops.admission_full += 1;
            self.endpoint.ignore(incoming);
        } else if !proven && (room != Room::Plenty || door.is_crowded(now)) {
            self.retry(net, incoming);
        } else if room == Room::NoHandshakes {
            self.metrics.drops.prefix_handshakes += 1;
            self.refuse(net, incoming);
        } else if room == Room::NoConnections {
            self.metrics.drops.prefix_connections += 1;
            self.refuse(net, incoming);
        } else {
            self.prefixes.begin(prefix);
            door.waiting.push_back(Newcomer { since: now, prefix, incoming });
        }
    }

    /// Drops one who waited, without an answer.
    pub(super) fn ignore(&mut self, newcomer: Newcomer) {
        self.prefixes.end(newcomer.prefix, false);
        self.endpoint.ignore(newcomer.incoming);
    }

    /// Ends handshakes that have taken too long, also those that their clients keep alive.
    fn expire_handshakes(&mut self, now: Instant) {
        while let Some(&(end, id)) = self.handshakes.front() {
            let under_way = self.slots.by_id(id).filter(|live| live.phase == Phase::Accepting);
            if under_way.is_some() && end > now {
                break;
            }
            let is_expired = under_way.is_some();
            self.handshakes.pop_front();
            if is_expired {
                self.metrics.handshakes_expired += 1;
                self.close(now, id, 0, b"the handshake took too long");
            }
        }
    }

    fn accept(&mut self, now: Instant, net: &mut dyn Network, newcomer: Newcomer) {
        let Newcomer { prefix, incoming, .. } = newcomer;
        self.scratch.clear();
        match self.endpoint.accept(incoming, now, &mut self.scratch, None) {
            Ok((handle, conn)) => {
                self.metrics.handshakes_accepted += 1;
                let index = self.slots.insert(handle, conn, SocketId::SHARED, Phase::Accepting);
                if let Some(live) = self.slots.get(index) {
                    live.prefix = prefix;
                }
                self.handshakes.push_back((now + self.prefixes.handshake_timeout(), self.slots.id(index)));
                self.mark_events(index);
                self.mark_transmit(index);
            }
            Err(error) => {
                self.metrics.handshakes_failed += 1;
                self.prefixes.end(prefix, false);
                if let Some(transmit) = error.response {
                    self.respond(net, SocketId::SHARED, &transmit);
                }
            }
        }
    }

    fn retry(&mut self, net: &mut dyn Network, incoming: Incoming) {
        self.scratch.clear();
        match self.endpoint.retry(incoming, &mut self.scratch) {
            Ok(transmit) => {
                self.metrics.handshakes_retried += 1;
                self.respond(net, SocketId::SHARED, &transmit);
            }
            Err(error) => self.endpoint.ignore(error.into_incoming()),
        }
    }

    fn refuse(&mut self, net: &mut dyn Network, incoming: Incoming) {
        self.scratch.clear();
        let transmit = self.endpoint.refuse(incoming, &mut self.scratch);
        self.metrics.handshakes_refused += 1;
        self.respond(net, SocketId::SHARED, &transmit);
    }
}
