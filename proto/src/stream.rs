//! Preambles: the first frame of a unidirectional stream says what the stream carries.
//!
//! The bidirectional stream that a client (or a dialling router) opens first is the control stream,
//! and has none.

use crate::control::message;
use crate::id::ReceiverNumber;

/// What a stream is for, as the type of the first frame on it.
pub mod stream_kind {
    /// Client to router: published events. Body: fields, none yet.
    pub const PUBLISH: u64 = 0x50;
    /// Router to client: one receiver's events. Body: field 1 = receiver number.
    pub const DELIVER: u64 = 0x52;
    /// Router to router: one lane's events. Body: field 1 = first lane seq, field 2 = lane epoch.
    pub const LANE: u64 = 0x54;
    /// Router to client: the events of all receivers of the connection. Body: fields, none yet.
    pub const DELIVER_ALL: u64 = 0x56;
    /// Router to router: history that was asked for. Body: field 1 = number of the request.
    pub const REPLAY: u64 = 0x58;
}

message! {
    /// Starts the publish stream of a connection.
    pub struct PublishPreamble = stream_kind::PUBLISH {}
}

message! {
    /// Starts the stream of one receiver.
    pub struct DeliverPreamble = stream_kind::DELIVER {
        /// The receiver.
        1 receiver: ReceiverNumber,
    }
}

message! {
    /// Starts the stream of all receivers of a connection.
    pub struct DeliverAllPreamble = stream_kind::DELIVER_ALL {}
}

message! {
    /// Starts a stream of history between routers: runs with positions, and nothing else.
    pub struct ReplayPreamble = stream_kind::REPLAY {
        /// The request that it answers, as [`HistoryRequest`](crate::mesh::HistoryRequest) named
        /// it.
        1 request: u64,
    }
}

message! {
    /// Starts the data stream of a lane.
    pub struct LanePreamble = stream_kind::LANE {
        /// Lane seq of the first run; each later run has one more, unless its hop header says
        /// otherwise.
        1 first_seq: u64,
        /// How many times the dialling side has dialled this lane, as in its
        /// [`PeerHello`](crate::mesh::PeerHello).
        2 epoch: u64,
    }
}
