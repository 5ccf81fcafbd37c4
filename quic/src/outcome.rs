//! Results of calls of [`crate::Io`], and their errors.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Bytes that the sink got.
    pub bytes: usize,
    /// Why it ended.
    pub state: ReadState,
}

/// Why a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    /// Nothing more has arrived: `readable` follows.
    Blocked,
    /// The limit was reached and there may be more: call [`crate::Io::read`] again, or
    /// [`crate::Io::wake`].
    More,
    /// The remote has finished the stream, and all of it was read. The stream is gone.
    Finished,
    /// The remote has abandoned the stream with this code. The stream is gone.
    Reset(u64),
    /// There is no such stream to read.
    Unknown,
}

/// Why a stream takes no more bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// The remote asks for no more of it; chunks may have been taken in part.
    #[error("the remote has stopped the stream with code {0}")]
    Stopped(u64),
    /// The stream was finished or reset, never existed, or its connection is over.
    #[error("the stream is closed")]
    Closed,
}

/// Why a dial was not begun.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The socket to dial from does not exist.
    #[error("there is no such socket to dial from")]
    NoSocket,
    /// The socket is IPv4 only, the remote IPv6.
    #[error("an IPv4 socket cannot reach an IPv6 address")]
    AddressFamily,
    /// The remote's port is 0 or its address unspecified.
    #[error("nobody can be at {0}")]
    Address(SocketAddr),
    /// The server name is neither a DNS name nor an IP address.
    #[error("`{0}` is not a server name")]
    ServerName(String),
    /// The core has as many connections as its settings allow.
    #[error("the core has as many connections as it may")]
    TooMany,
    /// quinn refused for a reason that our settings should exclude.
    #[error("{0}")]
    Other(String),
}

impl ConnectError {
    pub(crate) fn from_proto(error: quinn_proto::ConnectError) -> Self {
        match error {
            quinn_proto::ConnectError::InvalidServerName(name) => Self::ServerName(name),
            quinn_proto::ConnectError::InvalidRemoteAddress(address) => Self::Address(address),
            other => Self::Other(other.to_string()),
        }
    }
}

/// Numbers of one connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Bytes that may be in flight.
    pub congestion_window_bytes: u64,
    /// The path's UDP payload size as known so far.
    pub mtu_bytes: u16,
    /// Padded packets sent to find that size out.
    pub mtu_probes: u64,
    /// Times that the congestion window was cut.
    pub congestion_events: u64,
    /// QUIC packets sent.
    pub packets_sent: u64,
    /// QUIC packets declared lost.
    pub packets_lost: u64,
    /// UDP datagrams received.
    pub datagrams_in: u64,
    /// UDP datagrams sent.
    pub datagrams_out: u64,
    /// UDP payload bytes received.
    pub bytes_in: u64,
    /// UDP payload bytes sent.
    pub bytes_out: u64,
}
