//! Who may begin a handshake, and when.
//!
//! A handshake costs a signature and a few hundred microseconds of a core that everybody else waits for. So newcomers wait
//! in line, few of them are served per turn, and each pays a token (see [`Admission`]). Who comes while the line is long, or
//! few tokens are left, first has to prove its address, which costs it a round trip and this core next to nothing. Then
//! it waits, rather than dial again: what thousands dial and give up is the work that makes a storm last.
//!
//! Who is there comes first: while sockets have more than a turn can receive, or many connections wait to be heard or to
//! send, next to nobody is let in. Otherwise a storm of handshakes makes a line of its own, in the socket's buffer or inside
//! of the core, in which everybody's packets wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use quinn_proto::Incoming;

use super::Driver;
use super::bucket::Bucket;
use super::slots::Phase;
use crate::{Admission, Network, SocketId};

/// Connections that wait for their handshake, at most; each takes some 3 KB. Beyond the first few hundred all have proven
/// their addresses.
const WAITING_MAX: usize = 16_384;
/// At most what the door lets in within this time: who joins is served before it gives up.
const SERVED_WITHIN: Duration = Duration::from_secs(4);
/// Nobody joins a line whose first has waited for this long: who does not get in within seconds gives up, and the work is
/// lost.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// With more connections that wait to be heard or to send, a core is behind: well above what one turn receives.
const BEHIND_ABOVE: usize = 256;
/// While it is behind, one newcomer is let in every so many turns, so that nobody waits forever.
const TURNS_BEHIND: u32 = 8;

#[derive(Debug)]
pub(super) struct Door {
    bucket: Bucket,
    /// Turns in a row in which this core was behind.
    turns_behind: u32,
    waiting: VecDeque<(Instant, Incoming)>,
    waiting_max: usize,
    per_turn: usize,
}

impl Door {
    pub(super) fn new(admission: Admission, per_turn: usize) -> Self {
        Self::reopened(admission, per_turn, VecDeque::new())
    }

    /// With those who waited at the previous door.
    pub(super) fn reopened(
        admission: Admission,
        per_turn: usize,
        waiting: VecDeque<(Instant, Incoming)>,
    ) -> Self {
        let Admission { handshakes_per_second, burst, .. } = admission;
        let served = u64::from(handshakes_per_second) * SERVED_WITHIN.as_secs() + u64::from(burst);
        let waiting_max = usize::try_from(served).unwrap_or(usize::MAX).clamp(1, WAITING_MAX);
        let bucket = Bucket::new(handshakes_per_second, burst);
        Self { bucket, turns_behind: 0, waiting, waiting_max, per_turn }
    }

    pub(super) fn into_waiting(self) -> VecDeque<(Instant, Incoming)> {
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

    /// How many are let in this turn.
    fn in_this_turn(&mut self, is_behind: bool) -> usize {
        if !is_behind {
            self.turns_behind = 0;
            return self.per_turn;
        }
        self.turns_behind += 1;
        usize::from(self.turns_behind.is_multiple_of(TURNS_BEHIND))
    }

    /// Who is let in next, for a token.
    fn next_in_line(&mut self, now: Instant) -> Option<Incoming> {
        if self.waiting.is_empty() || !self.bucket.take(now) {
            return None;
        }
        self.waiting.pop_front().map(|(_, incoming)| incoming)
    }

    fn is_full(&self, now: Instant) -> bool {
        let waited = |(since, _): &(Instant, Incoming)| now.saturating_duration_since(*since) > WAIT_MAX;
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
        let per_turn = self.door.as_mut().map_or(0, |door| door.in_this_turn(is_behind));
        for _ in 0..per_turn {
            let Some(incoming) = self.door.as_mut().and_then(|door| door.next_in_line(now)) else { break };
            self.accept(now, net, incoming);
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
        if self.slots.count() + door.waiting.len() >= self.connections_max {
            self.refuse(net, incoming);
        } else if door.is_full(now) {
            if proven {
                return self.refuse(net, incoming);
            }
            self.metrics.drops.admission_full += 1;
            self.endpoint.ignore(incoming);
        } else if !proven && door.is_crowded(now) {
            self.retry(net, incoming);
        } else {
            door.waiting.push_back((now, incoming));
        }
    }

    fn accept(&mut self, now: Instant, net: &mut dyn Network, incoming: Incoming) {
        self.scratch.clear();
        match self.endpoint.accept(incoming, now, &mut self.scratch, None) {
            Ok((handle, conn)) => {
                self.metrics.handshakes_accepted += 1;
                let index = self.slots.insert(handle, conn, SocketId::SHARED, Phase::Accepting);
                self.mark_events(index);
                self.mark_transmit(index);
            }
            Err(error) => {
                self.metrics.handshakes_failed += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_wait_while_the_core_is_behind_but_not_forever() {
        let mut door = Door::new(Admission::default(), 2);
        assert_eq!(door.in_this_turn(false), 2);
        let turns = 10 * TURNS_BEHIND;
        let let_in: usize = (0..turns).map(|_| door.in_this_turn(true)).sum();
        assert_eq!(let_in, 10);
        assert_eq!(door.in_this_turn(false), 2);
    }
}
