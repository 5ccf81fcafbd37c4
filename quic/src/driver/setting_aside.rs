//! Packets that wait while this core is behind, so that connections in use are heard first.
//!
//! When thousands of clients leave or come at once, their packets stand before everybody's in the
//! socket. Most of what a packet costs is to open it, on a connection whose memory is out of cache;
//! to take it out of the socket and to find its connection is a small part. So while a core is
//! behind, it takes packets out of the socket, opens those of connections that it has heard a
//! moment ago, and sets the others aside: beginnings of connections, handshakes, and what comes on
//! connections that were silent. These are opened in the order in which they came, in what is left
//! of the time for receiving, and a few in each turn in any case.
//!
//! Invariants: a connection's packets keep their order, because it is not heard past its own
//! packets that wait. Nothing is dropped: a packet that finds no room has the oldest one opened at
//! once. A core that is not behind sets nothing aside.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::ConnectionEvent;

use super::Driver;
use super::slots::{Live, Phase};
use super::waiting::Packet;
use crate::{Arrival, Network};

/// A connection that was heard within this time is in use. Idle clients say something each few
/// seconds, so that of ten thousand less than one in a hundred looks as if it were in use.
const IN_USE: Duration = Duration::from_millis(64);
/// Whether a datagram begins with a packet of the type Initial: a long header with these bits of
/// its first byte (RFC 9000 §17.2.2).
fn is_initial(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xf0 == 0xc0)
}

/// Whether a connection is served before those that are not in use.
fn is_in_use(live: &Live, now: Instant) -> bool {
    live.phase == Phase::Dialling || (!live.is_aside() && now.saturating_duration_since(live.heard) < IN_USE)
}

impl Driver {
    /// Sets a datagram aside that begins with an Initial, if this core is behind; gives back what
    /// is to be handled at once.
    pub(super) fn set_first_aside(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        arrival: &Arrival,
        data: BytesMut,
    ) -> Option<BytesMut> {
        if !self.aside.is_on() || !is_initial(&data) {
            return Some(data);
        }
        self.set_aside(now, net, Packet::First { arrival: *arrival, data });
        None
    }

    /// Hands a packet to its connection, or sets it aside if it may wait: then its size is given.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        (index, event): (u32, ConnectionEvent),
        may_wait: Option<usize>,
    ) {
        let may_wait = may_wait.filter(|_| self.aside.is_on());
        let conn = self.slots.id(index);
        let Some(live) = self.slots.get(index) else { return };
        if let Some(bytes) = may_wait
            && (live.set_aside > 0 || !is_in_use(live, now))
        {
            live.set_aside = live.set_aside.saturating_add(1);
            return self.set_aside(now, net, Packet::Known { conn, event, bytes });
        }
        live.heard = now;
        live.conn.handle_event(event);
        self.mark_events(index);
        self.mark_transmit(index);
    }

    fn set_aside(&mut self, now: Instant, net: &mut dyn Network, packet: Packet) {
        self.metrics.packets_set_aside += 1;
        if self.aside.is_full() {
            self.hear_aside(now, net);
        }
        self.aside.push(packet);
    }

    /// Opens the packet that has waited longest; `false` when none waits.
    pub fn hear_aside(&mut self, now: Instant, net: &mut dyn Network) -> bool {
        match self.aside.pop() {
            None => return false,
            Some(Packet::First { arrival, data }) => self.route(now, net, &arrival, data, false),
            Some(Packet::Known { conn, event, .. }) => {
                if let Some(live) = self.slots.by_id(conn) {
                    live.set_aside = live.set_aside.saturating_sub(1);
                    live.heard = now;
                    live.conn.handle_event(event);
                    self.mark_events(conn.index());
                    self.mark_transmit(conn.index());
                }
            }
        }
        true
    }
}
