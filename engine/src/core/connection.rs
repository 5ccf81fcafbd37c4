//! A connection of a core is a client or a lane, and passes the events of its streams to that
//! session.

use super::client::ClientSession;
use super::lane::LaneSession;
use super::turn::{Close, Turn};
use crate::transport::StreamKey;

/// The session of a connection.
#[derive(Debug)]
pub(super) enum Connection {
    Client(Box<ClientSession>),
    Lane(Box<LaneSession>),
}

impl Connection {
    /// The other side opened a stream.
    pub(super) fn stream_opened(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        match self {
            Self::Client(client) => client.stream_opened(turn, stream),
            Self::Lane(lane) => lane.stream_opened(turn, stream),
        }
    }

    /// A stream can be read.
    pub(super) fn readable(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        match self {
            Self::Client(client) => client.readable(turn, stream),
            Self::Lane(lane) => lane.readable(turn, stream),
        }
    }

    /// A stream takes more.
    pub(super) fn writable(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        match self {
            Self::Client(client) => {
                client.writable(turn, stream);
                Ok(())
            }
            Self::Lane(lane) => {
                lane.write_history(turn);
                lane.write_control(turn)
            }
        }
    }

    /// The other side allows more streams.
    pub(super) fn streams_available(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Client(client) => client.open_streams(turn),
            Self::Lane(lane) => lane.write_history(turn),
        }
    }

    /// The reader of a stream does not want more of it.
    pub(super) fn stopped(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        match self {
            Self::Client(client) => client.stopped(turn, stream),
            Self::Lane(_) => Err(LaneSession::stopped(turn, "a stream of this lane was stopped")),
        }
    }

    /// Reads the control stream, because its turn has come.
    pub(super) fn read_control(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        match self {
            Self::Client(client) => client.read_control(turn, stream),
            Self::Lane(lane) => lane.read_control(turn, stream),
        }
    }

    /// Whether the other side has said hello.
    pub(super) const fn said_hello(&self) -> bool {
        match self {
            Self::Client(client) => client.said_hello(),
            Self::Lane(lane) => lane.said_hello,
        }
    }
}
