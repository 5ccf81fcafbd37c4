//! The network as a process uses it: the engine's [`Transport`], also for clients.

use bytes::Bytes;
use millrace_engine::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};
use millrace_proto::CloseCode;

use super::connection::State;
use super::machine::Network;
use super::packet::{Packet, Side, is_acknowledged};
use super::stream::Left;
use crate::event::Event;
use crate::queue::Queue;

/// The network and the time, lent to a process.
#[derive(Debug)]
pub struct Wire<'a> {
    /// The network.
    pub network: &'a mut Network,
    /// What happens next.
    pub queue: &'a mut Queue<Event>,
}

const fn of(conn: ConnKey) -> (u64, Side) {
    (conn.0 >> 1, (conn.0 & 1) as Side)
}

impl Wire<'_> {
    fn is_open(&self, conn: u64, side: Side) -> bool {
        self.network.connections.get(&conn).is_some_and(|it| it.ends[side].state == State::Open)
    }
}

impl Transport for Wire<'_> {
    fn open_uni(&mut self, conn: ConnKey) -> Option<StreamKey> {
        let (conn, side) = of(conn);
        self.network.open(conn, side, true)
    }

    fn open_bi(&mut self, conn: ConnKey) -> Option<StreamKey> {
        let (conn, side) = of(conn);
        self.network.open(conn, side, false)
    }

    fn write(&mut self, conn: ConnKey, stream: StreamKey, bytes: &mut Bytes) -> Result<(), StreamGone> {
        let (conn, side) = of(conn);
        if !self.is_open(conn, side) {
            return Err(StreamGone);
        }
        let connection = self.network.connections.get_mut(&conn).ok_or(StreamGone)?;
        let is_acknowledged = is_acknowledged(connection.peer, stream);
        let half = &mut connection.streams.get_mut(&stream.0).ok_or(StreamGone)?[side];
        if half.stopped || half.finished {
            return Err(StreamGone);
        }
        let out = half.write(bytes);
        if !out.is_empty() {
            if is_acknowledged {
                half.unacknowledged.push_back(out.clone());
            }
            self.network.send(self.queue, conn, 1 - side, Packet::Data { stream, bytes: out });
        }
        Ok(())
    }

    fn read(
        &mut self,
        conn: ConnKey,
        stream: StreamKey,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadState {
        let (conn, side) = of(conn);
        if !self.is_open(conn, side) {
            return ReadState::Lost;
        }
        let halves = self.network.connections.get_mut(&conn).and_then(|it| it.streams.get_mut(&stream.0));
        let Some(half) = halves.map(|halves| &mut halves[1 - side]) else { return ReadState::Drained };
        let left = half.read(limit, sink);
        if let Some(limit) = half.advertise() {
            self.network.send(self.queue, conn, 1 - side, Packet::Window { stream, limit });
        }
        match left {
            Left::Nothing => ReadState::Drained,
            Left::More => ReadState::More,
            Left::End => {
                if stream.is_uni() {
                    self.network.allow_streams(self.queue, conn, side, 1);
                }
                ReadState::Finished
            }
        }
    }

    fn congestion_window(&self, _: ConnKey) -> u64 {
        self.network.congestion_window()
    }

    fn finish(&mut self, conn: ConnKey, stream: StreamKey) {
        let (conn, side) = of(conn);
        let halves = self.network.connections.get_mut(&conn).and_then(|it| it.streams.get_mut(&stream.0));
        if let Some(half) = halves.map(|halves| &mut halves[side])
            && !std::mem::replace(&mut half.finished, true)
        {
            self.network.send(self.queue, conn, 1 - side, Packet::Fin { stream });
        }
    }

    fn stop(&mut self, conn: ConnKey, stream: StreamKey, _: u64) {
        let (conn, side) = of(conn);
        self.network.send(self.queue, conn, 1 - side, Packet::Stop { stream });
    }

    fn close(&mut self, conn: ConnKey, code: u64, _: &str) {
        let (conn, side) = of(conn);
        let gone = self.network.connections.get(&conn).is_none_or(|it| it.ends[side].state == State::Gone);
        if !gone {
            self.network.send(
                self.queue,
                conn,
                1 - side,
                Packet::Close { code: CloseCode::from_code(code).unwrap_or(CloseCode::Internal) },
            );
            self.network.vanish(self.queue, conn, side);
        }
    }
}
