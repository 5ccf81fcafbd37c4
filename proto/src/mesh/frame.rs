//! Any frame of a lane's control stream: the link's, or the lane's own.

use super::lane::{
    GroupMembers, HistoryRequest, HistoryState, Hold, LegAck, MarkRequest, SetRecords, Tickets,
};
use super::link::{Interest, InterestAck, InterestDigest, InterestRequest, Load, PeerHello, Peers};
use crate::control::{Goaway, Ping, Pong, Replies};
use crate::error::DecodeError;
use crate::frame;

/// Any frame of a lane's control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeshFrame {
    /// It concerns the two routers: it goes over lane 0, whichever core holds that.
    Link(LinkFrame),
    /// It concerns the lane alone: the two cores that hold its ends say it to each other.
    Lane(LaneFrame),
    /// A frame that this version skips.
    Skipped {
        /// Its type.
        kind: u64,
    },
}

impl MeshFrame {
    /// Decodes one frame that was split off a lane's control stream.
    ///
    /// # Errors
    /// [`DecodeError`] for malformed, oversized and unknown must-understand frames.
    pub fn decode(kind: u64, body: &[u8]) -> Result<Self, DecodeError> {
        if let Some(frame) = LinkFrame::decode(kind, body)? {
            return Ok(Self::Link(frame));
        }
        if let Some(frame) = LaneFrame::decode(kind, body)? {
            return Ok(Self::Lane(frame));
        }
        frame::skip_unknown(kind).map(|()| Self::Skipped { kind })
    }

    /// Appends the frame. Skipped frames write nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Link(frame) => frame.encode(out),
            Self::Lane(frame) => frame.encode(out),
            Self::Skipped { .. } => {}
        }
    }
}

macro_rules! frames {
    ($(#[$doc:meta])* $frames:ident in $side:ident { $($name:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "each variant is the message of the same name")]
        pub enum $frames {
            $($name($name),)*
        }

        impl $frames {
            /// Decodes the frame if it is one of these.
            fn decode(kind: u64, body: &[u8]) -> Result<Option<Self>, DecodeError> {
                Ok(Some(match kind {
                    $($name::KIND => Self::$name($name::decode(body)?),)*
                    _ => return Ok(None),
                }))
            }

            /// Appends the frame.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(message) => message.encode(out),)*
                }
            }
        }

        impl From<$frames> for MeshFrame {
            fn from(frame: $frames) -> Self {
                Self::$side(frame)
            }
        }

        $(
            impl From<$name> for $frames {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }

            impl From<$name> for MeshFrame {
                fn from(message: $name) -> Self {
                    Self::$side($frames::$name(message))
                }
            }
        )*
    };
}

frames! {
    /// A frame of the link, said on lane 0: what two routers say of themselves and of their
    /// interest.
    LinkFrame in Link {
        Interest,
        InterestAck,
        InterestDigest,
        InterestRequest,
        Peers,
        Goaway,
        GroupMembers,
        SetRecords,
        Replies,
        Load,
    }
}

frames! {
    /// A frame of one lane, said on that lane: what the two cores that hold its ends say to each
    /// other.
    LaneFrame in Lane { PeerHello, Ping, Pong, LegAck, Tickets, MarkRequest, HistoryRequest, HistoryState, Hold }
}
