//! Ends of connections that fall silent, vanish, or meet a reset.

use std::time::Duration;

use rand::RngExt;

use super::connection::State;
use super::machine::Network;
use super::packet::{Host, Notice, Side};
use crate::event::{Event, NetEvent};
use crate::queue::Queue;

/// A connection sends something at least this often (keep-alive), and so meets a reset.
const KEEP_ALIVE: Duration = Duration::from_millis(250);

impl Network {
    /// An end hears nothing from here on.
    pub(super) fn silent(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        let idle = self.config.idle_timeout;
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let end = &mut connection.ends[side];
        if end.state != State::Gone && end.state != State::Unknown && end.silent_since.is_none() {
            end.silent_since = Some(queue.now());
            queue.after(idle, Event::Net(NetEvent::Idle { conn, side }));
        }
    }

    /// An end is no more and says nothing.
    pub(super) fn vanish(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.ends[1 - side].peer_gone = true;
        self.gone(conn, side);
        self.silent(queue, conn, 1 - side);
        let wait = KEEP_ALIVE.mul_f64(self.rng.random_range(0.4..1.4));
        queue.after(wait, Event::Net(NetEvent::Reset { conn, side: 1 - side }));
    }

    pub(super) fn gone(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.ends[side].state = State::Gone;
        connection.ends[side].held = Vec::new();
        let other = connection.ends[1 - side].state;
        if other == State::Gone || other == State::Unknown {
            // Notices for this connection are addressed already.
            self.forget_later(conn, side);
        }
    }

    /// Both ends are gone: what is on its way is void.
    pub(super) fn forget_later(&mut self, conn: u64, side: Side) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.streams.clear();
            connection.ends[1 - side].state = State::Gone;
        }
    }

    /// An end gives up.
    pub(super) fn die(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        self.notice(conn, side, Notice::Closed(None));
        self.vanish(queue, conn, side);
    }

    pub(super) fn meet_reset(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let [own, other] = [&connection.ends[side], &connection.ends[1 - side]];
        if own.state == State::Gone || own.state == State::Unknown {
            return;
        }
        let cut = self.conditions.cut(own.at.host, other.at.host)
            || self.conditions.cut(other.at.host, own.at.host);
        let answers = match other.at.host {
            Host::Router(router) => self.processes.contains_key(&router),
            Host::Client(_) => true,
        };
        if answers && !cut && own.state == State::Open {
            self.die(queue, conn, side);
        } else {
            queue.after(KEEP_ALIVE, Event::Net(NetEvent::Reset { conn, side }));
        }
    }
}
