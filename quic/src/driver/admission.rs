//! Which newcomers begin a handshake, and when.
//!
//! A handshake costs a signature and a few hundred microseconds of a core that all its connections
//! wait for. The core therefore lets newcomers wait in line, serves few of them per turn, and takes
//! a token from each (see [`crate::Admission`]). While the line is long, or few tokens are left, a
//! newcomer first has to prove its address, which costs it a round trip and this core next to
//! nothing. A client that has proven its address keeps its place in the line. If it dialled again
//! instead, abandoned handshakes would keep the storm going.
//!
//! Established connections come first. While a core is behind, because a socket holds more than a
//! turn can receive or many connections have work, it admits newcomers at a fixed rate. Otherwise a
//! storm of handshakes would queue before everybody's packets, in the socket's buffer or inside of
//! the core. The line drops newcomers that have waited too long, because most of those clients have
//! given up.

use std::time::Instant;

use quinn_proto::Incoming;

use super::Driver;
use super::door::Newcomer;
use super::prefixes::Room;
use super::slots::Phase;
use crate::{Network, SocketId};

/// A core with more connections that wait to be heard or to send is behind: well above what one
/// turn receives.
const BEHIND_ABOVE: usize = 256;
/// Handshakes under way with clients that have not proven their address; beyond, newcomers prove it
/// first. Clients that exist are through it within a few round trips, so that a hundred and more
/// under way are a crowd, or come from addresses of nobody, who would let this core sign for them
/// at the whole rate at which it takes newcomers.
const STRANGERS_MAX: usize = 128;

impl Driver {
    /// Begins as many of the waiting handshakes as one turn may. `unread` says whether this turn
    /// could not receive everything.
    pub fn begin_turn(&mut self, now: Instant, net: &mut dyn Network, unread: bool) {
        self.waking.extend(self.woken.drain(..));
        let busy = self.events.len().max(self.transmit.len());
        let is_behind = unread || busy > BEHIND_ABOVE;
        self.aside.set_behind(is_behind);
        while let Some(newcomer) = self.door.as_mut().and_then(|door| door.next_expired(now)) {
            self.metrics.drops.admission_expired += 1;
            self.ignore(newcomer);
        }
        self.metrics.resumptions_accepted = self.resumptions.accepted();
        self.metrics.resumptions_refused = self.resumptions.refused();
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
        if self.slots.count() + door.len() >= self.connections_max {
            self.refuse(net, incoming);
        } else if door.is_full(now) {
            if proven {
                return self.refuse(net, incoming);
            }
            self.metrics.drops.admission_full += 1;
            self.endpoint.ignore(incoming);
        } else if !proven && (room != Room::Plenty || self.strangers >= STRANGERS_MAX || door.is_crowded(now))
        {
            self.retry(net, incoming);
        } else if room == Room::NoHandshakes {
            self.metrics.drops.prefix_handshakes += 1;
            self.refuse(net, incoming);
        } else if room == Room::NoConnections {
            self.metrics.drops.prefix_connections += 1;
            self.refuse(net, incoming);
        } else {
            self.prefixes.begin(prefix);
            door.join(Newcomer { since: now, prefix, incoming });
        }
    }

    /// Drops a newcomer that waited, without an answer.
    pub(super) fn ignore(&mut self, newcomer: Newcomer) {
        self.prefixes.end(newcomer.prefix, false);
        self.endpoint.ignore(newcomer.incoming);
    }

    /// Ends handshakes that take too long, even when their clients keep them alive.
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
        let remote = incoming.remote_address();
        let is_stranger = !incoming.remote_address_validated();
        let jumbo = self.jumbo.as_ref().and_then(|jumbo| jumbo.towards(remote, net));
        match self.endpoint.accept(incoming, now, &mut self.scratch, jumbo) {
            Ok((handle, conn)) => {
                self.metrics.handshakes_accepted += 1;
                let index = self.slots.insert(handle, conn, SocketId::SHARED, Phase::Accepting, now);
                if let Some(live) = self.slots.get(index) {
                    live.prefix = prefix;
                    live.is_stranger = is_stranger;
                }
                self.strangers += usize::from(is_stranger);
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
