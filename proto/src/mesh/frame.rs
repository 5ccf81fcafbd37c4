//! Any frame of a lane's control stream.

use super::lane::{GroupMembers, HistoryRequest, HistoryState, LegAck, SetRecords, Tickets};
use super::link::{Interest, InterestAck, InterestDigest, InterestRequest, PeerHello, Peers};
use crate::control::{Goaway, Ping, Pong, Replies};
use crate::error::DecodeError;
use crate::frame;

/// Any frame of a lane's control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the message of the same name")]
pub enum MeshFrame {
    PeerHello(PeerHello),
    Interest(Interest),
    InterestAck(InterestAck),
    InterestDigest(InterestDigest),
    InterestRequest(InterestRequest),
    Peers(Peers),
    Ping(Ping),
    Pong(Pong),
    Goaway(Goaway),
    LegAck(LegAck),
    Tickets(Tickets),
    GroupMembers(GroupMembers),
    SetRecords(SetRecords),
    HistoryRequest(HistoryRequest),
    HistoryState(HistoryState),
    Replies(Replies),
    /// A frame that this version skips.
    Skipped {
        /// Its type.
        kind: u64,
    },
}

macro_rules! frames {
    ($($name:ident),*) => {
        impl MeshFrame {
            /// Decodes one frame that was split off a lane's control stream.
            ///
            /// # Errors
            /// [`DecodeError`] for malformed, oversized and unknown must-understand frames.
            pub fn decode(kind: u64, body: &[u8]) -> Result<Self, DecodeError> {
                match kind {
                    $($name::KIND => Ok(Self::$name($name::decode(body)?)),)*
                    _ => frame::skip_unknown(kind).map(|()| Self::Skipped { kind }),
                }
            }

            /// Appends the frame. Skipped frames write nothing.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(message) => message.encode(out),)*
                    Self::Skipped { .. } => {}
                }
            }
        }
    };
}
frames!(
    PeerHello,
    Interest,
    InterestAck,
    InterestDigest,
    InterestRequest,
    Peers,
    Ping,
    Pong,
    Goaway,
    LegAck,
    Tickets,
    GroupMembers,
    SetRecords,
    HistoryRequest,
    HistoryState,
    Replies
);
