//! Lends sessions what they need to act, and closes the connections of those that ask for it.

use std::collections::HashMap;

use millrace_proto::data::{EndReason, GapReason};

use super::client::ClientSession;
use super::connection::Connection;
use super::lane::LaneSession;
use super::machine::Core;
use super::slot::{DeliverySlot, ReceiverSlot};
use super::turn::{Close, Turn};
use super::writing;
use crate::time::Time;
use crate::transport::{ConnKey, Transport};

impl Core {
    /// Ends a receiver or a connection when writing the receiver has shown it to be over.
    pub(super) fn settle_written(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        slot: ReceiverSlot,
        done: writing::Done,
    ) {
        match done {
            writing::Done::GoesOn => {}
            writing::Done::IsOver(conn) => {
                self.drive_client(now, transport, conn, |client, turn| {
                    client.finish_receiver(turn, slot);
                    Ok(())
                });
            }
            writing::Done::Close(conn, close) => self.close(now, transport, conn, &close),
        }
    }

    /// Writes the shared streams that have something to write.
    pub(super) fn write_deliveries(&mut self, now: Time, transport: &mut dyn Transport) {
        let dirty = self.path.receivers.deliveries.take_dirty();
        for window in dirty.chunks(writing::WRITE_WINDOW) {
            for delivery in window.iter().filter_map(|&slot| self.path.receivers.deliveries.get(slot)) {
                if let Some(stream) = delivery.key {
                    transport.prefetch(delivery.conn, stream);
                }
            }
            for &slot in window {
                self.end_refused(now, transport, slot);
                let (_, mut turn) = self.lend(now, transport);
                writing::write_dirty_delivery(&mut turn, slot);
            }
        }
    }

    /// Ends receivers whose queues have refused a run, as their policy says.
    fn end_refused(&mut self, now: Time, transport: &mut dyn Transport, slot: DeliverySlot) {
        let Some((conn, refused)) = self.path.receivers.deliveries.take_refused(slot) else { return };
        self.drive_client(now, transport, conn, |client, turn| {
            for slot in refused {
                let message = "its queue overflowed and its policy is disconnect";
                client.end_receiver(turn, slot, EndReason::Overflow, message);
            }
            Ok(())
        });
    }

    /// Closes a connection from this side, and counts why.
    pub(super) fn close(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey, close: &Close) {
        self.path.metrics.close(close.code);
        transport.close(conn, close.code.code(), &close.reason);
        self.closed(now, transport, conn, None);
    }

    /// Tells the path the time. A core may have been idle since it was told last.
    pub(super) fn set_now(&mut self, now: Time) {
        let pace_max_ns = u64::try_from(self.config.limits.pace_max.as_nanos()).unwrap_or(u64::MAX);
        self.path.pacing.crowd.set_now(now, pace_max_ns);
        self.path.ledger.set_now(now);
    }

    /// Lends everything but the connections.
    pub(super) fn lend<'a>(
        &'a mut self,
        now: Time,
        transport: &'a mut dyn Transport,
    ) -> (&'a mut HashMap<ConnKey, Connection, ahash::RandomState>, Turn<'a>) {
        self.set_now(now);
        let turn = Turn {
            now,
            transport,
            config: &self.config,
            standing: &self.standing,
            path: &mut self.path,
            mail: &mut self.mail,
            timers: &mut self.timers,
            agenda: &mut self.agenda,
        };
        (&mut self.connections, turn)
    }

    /// Lets a session act as [`drive`](Self::drive) does, unless it is a client's and the core
    /// ends.
    #[inline]
    pub(super) fn hear(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        act: impl FnOnce(&mut Connection, &mut Turn<'_>) -> Result<(), Close>,
    ) {
        let ends = self.is_ending();
        self.drive(now, transport, conn, |session, turn| {
            if ends && matches!(session, Connection::Client(_)) { Ok(()) } else { act(session, turn) }
        });
    }

    /// Lets a session act, and closes its connection if it asks for that. Returns whether there is
    /// such a connection.
    #[inline]
    pub(super) fn drive(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        act: impl FnOnce(&mut Connection, &mut Turn<'_>) -> Result<(), Close>,
    ) -> bool {
        let (connections, mut turn) = self.lend(now, transport);
        let Some(session) = connections.get_mut(&conn) else { return false };
        if let Err(close) = act(session, &mut turn) {
            self.close(now, transport, conn, &close);
        }
        true
    }

    /// Lets a session act as [`drive`](Self::drive) does, if the connection is a client's.
    pub(super) fn drive_client(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        act: impl FnOnce(&mut ClientSession, &mut Turn<'_>) -> Result<(), Close>,
    ) -> bool {
        self.drive(now, transport, conn, |session, turn| match session {
            Connection::Client(client) => act(client, turn),
            Connection::Lane(_) => Ok(()),
        })
    }

    /// Lets a session act as [`drive`](Self::drive) does, if the connection is a lane.
    pub(super) fn drive_lane(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        act: impl FnOnce(&mut LaneSession, &mut Turn<'_>) -> Result<(), Close>,
    ) {
        self.drive(now, transport, conn, |session, turn| match session {
            Connection::Client(_) => Ok(()),
            Connection::Lane(lane) => act(lane, turn),
        });
    }

    /// Passes requests for history, and their answers, to the lanes that they are for, and tells
    /// clients whose owners have answered.
    pub(super) fn pass_history(&mut self, now: Time, transport: &mut dyn Transport) {
        while let Some((core, ask)) = self.path.positions.replays.next_ask() {
            let (id, owner) = (ask.id, ask.owner);
            let conn = self.path.positions.replays.far.get(&ask.server).map(|far| far.conn);
            let mut ask = Some(ask);
            if let Some(conn) = conn {
                self.drive_lane(now, transport, conn, |lane, turn| match ask.take() {
                    Some(ask) => lane.ask_history(turn, core, ask),
                    None => Ok(()),
                });
            }
            if ask.is_some() {
                self.path.history_lost(core, id, owner, GapReason::RouterLost);
            }
        }
        while let Some((conn, answer)) = self.path.positions.replays.next_answer() {
            self.drive_lane(now, transport, conn, |lane, turn| lane.answer_history(turn, &answer));
        }
        for (pending, effective) in self.path.positions.replays.take_told() {
            self.drive_client(now, transport, pending.conn, |client, turn| {
                client.tell_effective(turn, &pending, effective);
                Ok(())
            });
        }
    }

    /// Lets every client act, in the order of their keys.
    pub(super) fn drive_clients(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        mut act: impl FnMut(&mut ClientSession, &mut Turn<'_>),
    ) {
        for conn in self.clients() {
            self.drive_client(now, transport, conn, |client, turn| {
                act(client, turn);
                Ok(())
            });
        }
    }

    /// The connections of clients, in the order of their keys.
    pub(super) fn clients(&self) -> Vec<ConnKey> {
        let is_client = |(conn, connection): (&ConnKey, &Connection)| {
            matches!(connection, Connection::Client(_)).then_some(*conn)
        };
        let mut clients: Vec<ConnKey> = self.connections.iter().filter_map(is_client).collect();
        clients.sort_unstable();
        clients
    }
}
