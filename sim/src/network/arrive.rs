//! What an arriving packet does.

use bytes::Bytes;
use millrace_engine::transport::StreamKey;

use super::connection::State;
use super::machine::Network;
use super::packet::{Host, Notice, Packet, Side, is_acknowledged, key};
use super::stream::Half;
use crate::event::Event;
use crate::queue::Queue;

impl Network {
    pub(super) fn arrive(&mut self, queue: &mut Queue<Event>, conn: u64, to: Side, packet: Packet) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match packet {
            Packet::Initial => {
                let end = &mut connection.ends[1];
                let Host::Router(router) = end.at.host else { return };
                let Some(process) = self.processes.get(&router) else { return };
                if end.state == State::Unknown {
                    end.state = State::Connecting;
                    end.at.life = process.life;
                    end.at.core = connection.shard % process.cores;
                    self.send(queue, conn, 0, Packet::Accept);
                }
                return;
            }
            Packet::Accept if connection.ends[0].state == State::Connecting => {
                connection.ends[0].state = State::Open;
                self.notice(conn, 0, Notice::Connected { peer: self.connections[&conn].peer });
                self.send(queue, conn, 1, Packet::Established);
                self.allow_streams(queue, conn, 0, 64);
                return;
            }
            Packet::Established if connection.ends[1].state == State::Connecting => {
                connection.ends[1].state = State::Open;
                let peer = connection.peer;
                self.notice(conn, 1, Notice::Connected { peer });
                return;
            }
            _ => {}
        }
        if connection.ends[to].state != State::Open {
            if let (Packet::Close { .. }, State::Connecting) = (&packet, connection.ends[to].state) {
                self.die(queue, conn, to);
            }
            return;
        }
        match packet {
            Packet::Data { stream, bytes } => {
                if is_acknowledged(connection.peer, stream) {
                    self.send(queue, conn, 1 - to, Packet::Ack { stream });
                }
                self.arrive_in_stream(conn, to, stream, Some(bytes));
            }
            Packet::Ack { stream } => {
                if let Some(halves) = connection.streams.get_mut(&stream.0) {
                    halves[to].unacknowledged.pop_front();
                    self.notice(conn, to, Notice::Acknowledged);
                }
            }
            Packet::Fin { stream } => self.arrive_in_stream(conn, to, stream, None),
            Packet::Window { stream, limit } => {
                let half = connection.streams.get_mut(&stream.0).map(|halves| &mut halves[to]);
                if half.is_some_and(|half| half.allow(limit)) {
                    self.notice(conn, to, Notice::Writable(stream));
                }
            }
            Packet::Stop { stream } => {
                if let Some(halves) = connection.streams.get_mut(&stream.0) {
                    halves[to].stopped = true;
                    self.notice(conn, to, Notice::Stopped(stream));
                }
            }
            Packet::Streams { limit } => {
                let end = &mut connection.ends[to];
                end.uni_max = end.uni_max.max(limit);
                if std::mem::take(&mut end.uni_blocked) {
                    self.notice(conn, to, Notice::StreamsAvailable);
                }
            }
            Packet::Close { code } => {
                self.gone(conn, to);
                self.notice(conn, to, Notice::Closed(Some(code)));
            }
            Packet::Initial | Packet::Accept | Packet::Established => {}
        }
    }

    pub(super) fn arrive_in_stream(&mut self, conn: u64, to: Side, stream: StreamKey, bytes: Option<Bytes>) {
        let window = self.config.window;
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let halves =
            connection.streams.entry(stream.0).or_insert_with(|| [Half::new(window), Half::new(window)]);
        let half = &mut halves[1 - to];
        match bytes {
            Some(bytes) => half.arrive(bytes),
            None => half.arrive_end(),
        }
        let opener = usize::from(stream.0 & 1 != 0);
        let is_news = !half.announced && opener != to;
        // A stream opens those that were opened before it, as in QUIC.
        for before in (stream.0 & 3..=stream.0).step_by(4).filter(|_| is_news) {
            let halves = self.connections.get_mut(&conn).and_then(|it| it.streams.get_mut(&before));
            if halves.is_some_and(|halves| !std::mem::replace(&mut halves[1 - to].announced, true)) {
                self.notice(conn, to, Notice::StreamOpened(StreamKey(before)));
            }
        }
        self.notice(conn, to, Notice::Readable(stream));
    }

    pub(super) fn notice(&mut self, conn: u64, side: Side, notice: Notice) {
        let Some(connection) = self.connections.get(&conn) else { return };
        self.notices.push((connection.ends[side].at, key(conn, side), notice));
    }
}
