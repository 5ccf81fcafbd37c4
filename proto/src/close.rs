//! Application error codes of CONNECTION_CLOSE, RESET_STREAM and STOP_SENDING.

use std::fmt;

/// Why a connection or stream was closed, on the wire as a QUIC application error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u64)]
#[non_exhaustive]
pub enum CloseCode {
    /// In order: nothing is wrong.
    Done = 0x00,
    /// The process that held this end is going away; reconnect elsewhere.
    GoingAway = 0x01,
    /// A frame could not be decoded.
    Malformed = 0x02,
    /// A bound of the protocol or of this connection was exceeded.
    Limit = 0x03,
    /// A frame of an unknown even type.
    UnknownFrame = 0x04,
    /// No common protocol version.
    Version = 0x05,
    /// A frame that is not allowed in this state, or on this stream.
    Unexpected = 0x06,
    /// The peer's identity may not do this.
    Forbidden = 0x07,
    /// This end is overloaded; come back later.
    Busy = 0x08,
    /// The peer's session was silent for too long.
    Timeout = 0x09,
    /// Another connection took this one's place (a doubled lane, a resumed session).
    Replaced = 0x0a,
    /// I dialled myself.
    MyOwnAddress = 0x0b,
    /// A receiver's queue overflowed and its policy is `disconnect`.
    Overflow = 0x0c,
    /// A defect of this end.
    Internal = 0x0d,
}

impl CloseCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Done,
        Self::GoingAway,
        Self::Malformed,
        Self::Limit,
        Self::UnknownFrame,
        Self::Version,
        Self::Unexpected,
        Self::Forbidden,
        Self::Busy,
        Self::Timeout,
        Self::Replaced,
        Self::MyOwnAddress,
        Self::Overflow,
        Self::Internal,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// The meaning of a code, if this version knows it.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|close| close.code() == code)
    }

    /// A short name, as it stands in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::GoingAway => "going_away",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::UnknownFrame => "unknown_frame",
            Self::Version => "version",
            Self::Unexpected => "unexpected",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Replaced => "replaced",
            Self::MyOwnAddress => "my_own_address",
            Self::Overflow => "overflow",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
