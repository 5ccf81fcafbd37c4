//! Hosts, what travels between them, and what an end of a connection learns.

use bytes::Bytes;
use millrace_engine::transport::{ConnKey, StreamKey};
use millrace_proto::CloseCode;

/// A machine of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A router.
    Router(u32),
    /// A client.
    Client(u32),
}

/// A process on a host, and its core that holds an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The process's life; 0 for clients.
    pub life: u32,
    /// The core; 0 for clients.
    pub core: u16,
}

/// Which end of a connection: 0 dialled.
pub(super) type Side = usize;

/// What travels between two ends.
#[derive(Debug)]
pub enum Packet {
    /// The dialling end asks for a connection.
    Initial,
    /// The other end agrees.
    Accept,
    /// The dialling end confirms.
    Established,
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: StreamKey,
        /// The bytes.
        bytes: Bytes,
    },
    /// Bytes of a stream have arrived, as they were sent in one packet.
    Ack {
        /// The stream.
        stream: StreamKey,
    },
    /// The end of a stream.
    Fin {
        /// The stream.
        stream: StreamKey,
    },
    /// The writer of a stream may write up to a limit.
    Window {
        /// The stream.
        stream: StreamKey,
        /// The limit.
        limit: u64,
    },
    /// The reader of a stream wants no more.
    Stop {
        /// The stream.
        stream: StreamKey,
    },
    /// The other end may open so many unidirectional streams in all.
    Streams {
        /// So many.
        limit: u64,
    },
    /// The connection is closed.
    Close {
        /// Why.
        code: CloseCode,
    },
}

/// What an end of a connection learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The connection is there. For the end that did not dial this is the first it hears.
    Connected {
        /// Between routers.
        peer: bool,
    },
    /// The other end opened a stream.
    StreamOpened(StreamKey),
    /// A stream can be read.
    Readable(StreamKey),
    /// A stream takes more.
    Writable(StreamKey),
    /// The other host has acknowledged bytes of a stream. QUIC does not tell; a process works in
    /// the same turn.
    Acknowledged,
    /// More streams may be opened.
    StreamsAvailable,
    /// The reader of a stream wants no more.
    Stopped(StreamKey),
    /// The connection is gone.
    Closed(Option<CloseCode>),
}

/// A notice and whom it is for.
pub type Notices = Vec<(Endpoint, ConnKey, Notice)>;

/// Streams whose writer holds bytes until they are acknowledged: those to receivers. The writers of
/// others do not look.
pub(super) const fn is_acknowledged(peer: bool, stream: StreamKey) -> bool {
    !peer && stream.is_uni() && stream.0 & 1 == 1
}

/// The key by which one end knows a connection.
pub(super) const fn key(conn: u64, side: Side) -> ConnKey {
    ConnKey(conn << 1 | side as u64)
}
