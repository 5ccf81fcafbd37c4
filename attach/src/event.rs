//! What the owner of a connection hears, and why a connection cannot go on.

use std::ops::Range;

use millrace_client::session::SessionError;
use millrace_proto::CloseCode;
use millrace_proto::control::{Goaway, ReceiverClosed, Refused, Subscribed, Welcome};

/// What the router said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It answered the Hello: the connection can be used. A publisher begins its stream with the
    /// tables that the Welcome tells.
    Welcomed(Box<Welcome>),
    /// The publisher may write up to so many bytes of its stream in all; its session knows.
    Credit {
        /// Bytes of the publish stream.
        bytes: u64,
    },
    /// It has received these events of the publisher; the publisher's session knows.
    Received {
        /// The events that were not known to be received before. Empty when nothing is new.
        seqs: Range<u64>,
    },
    /// A subscription reached a stage.
    Subscribed(Subscribed),
    /// It refused a request; nothing changed there. A receiver that was asked for is not open.
    Refused(Refused),
    /// A receiver is gone there.
    ReceiverClosed(ReceiverClosed),
    /// It goes away.
    Goaway(Goaway),
}

/// Why a connection was closed on this side. Nothing of it can be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The router did what the protocol does not allow.
    #[error(transparent)]
    Protocol(#[from] SessionError),
    /// Nothing was heard for too long.
    #[error("the router was silent for {} ms", silent_ns / 1_000_000)]
    Silent {
        /// How long, nanoseconds.
        silent_ns: u64,
    },
}

impl Failure {
    /// The code that the connection was closed with.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Protocol(error) => error.close_code(),
            Self::Silent { .. } => CloseCode::Timeout,
        }
    }
}
