//! The callbacks that a program implements to run on one core's loop.
//!
//! They run inside the turn and never overlap. They must not block, because everything else on the
//! core waits for them.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use millrace_certs::handshake_failure;
use rustls::pki_types::CertificateDer;

use crate::{ConnId, ForeignSegment, Io, SocketId, StreamId};

/// The program on top of one core's connections.
///
/// For each connection the loop calls `connected`, then any of the stream callbacks, then `closed`.
/// A dialled connection that fails gets `closed` alone. An incoming one whose handshake fails is
/// counted, and the app never hears of it.
pub trait App {
    /// The handshake is complete: the app may open and write streams.
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, info: &ConnectedInfo);

    /// The remote opened a stream. `readable` follows at once for what came with it.
    fn stream_opened(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId);

    /// The stream has bytes, an end, or a reset for [`Io::read`].
    ///
    /// The loop does not repeat the call for bytes that were left behind: a reader that stops at
    /// [`crate::ReadState::More`] calls [`Io::wake`] to be called again in the next turn. A reader
    /// that stays away puts the stream under back-pressure.
    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId);

    /// A stream whose last write was short takes bytes again.
    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId);

    /// The remote asks for no more of a stream that we write; the stream is over.
    fn stream_stopped(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId, code: u64);

    /// The remote allows more streams than before in one direction class.
    fn streams_available(&mut self, io: &mut Io<'_>, conn: ConnId, uni: bool);

    /// The connection is over, and `conn` names nothing from here on. Called once, after
    /// [`Io::close`], too.
    fn closed(&mut self, io: &mut Io<'_>, conn: ConnId, reason: &CloseReason);

    /// Called once per turn, after events and before transmission, to drain mailboxes, flush
    /// batches and run the app's own timers.
    fn turn(&mut self, io: &mut Io<'_>);

    /// The time of the app's next timer, at which the core wakes at the latest. A time in the past
    /// keeps it awake.
    fn deadline(&self) -> Option<Instant>;

    /// A segment arrived here that belongs to a sibling core, whose number is given. The app passes
    /// it to that core's [`Io::inject`]. The default drops and counts it.
    fn foreign(&mut self, io: &mut Io<'_>, core: u16, segment: ForeignSegment) {
        let _ = (core, segment);
        io.drop_foreign();
    }
}

/// The side that dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We did.
    Client,
    /// The remote did.
    Server,
}

/// Facts about a connection whose handshake is complete.
#[derive(Clone, Debug)]
pub struct ConnectedInfo {
    /// Our side of the connection.
    pub side: Side,
    /// The application protocol that was negotiated, if any.
    pub alpn: Option<Vec<u8>>,
    /// The remote's address as we see it; IPv4 as IPv4, also on dual-stack sockets.
    pub remote: SocketAddr,
    /// The socket that carries the connection.
    pub socket: SocketId,
    /// The remote's certificate chain, its own certificate first; empty when it showed none.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

/// QUIC's codes of TLS alerts: 0x100 and the alert (RFC 9001 §4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`Io::close`] was called on this side.
    Local,
    /// The remote's application closed it.
    Application {
        /// The application's code.
        code: u64,
        /// The application's words, at most one packet long.
        reason: Bytes,
    },
    /// The remote refuses new connections at this moment (CONNECTION_REFUSED): try another router,
    /// or later.
    Refused,
    /// The remote's transport closed it. Codes from 0x100 are TLS alerts (RFC 9001 §4.8).
    Remote {
        /// Code of RFC 9000 §20.1.
        code: u64,
        /// The remote's words.
        reason: String,
    },
    /// Our transport closed it over an error of the remote's.
    Protocol {
        /// Code of RFC 9000 §20.1.
        code: u64,
        /// What was wrong.
        reason: String,
    },
    /// The remote has lost its state, mostly by a restart.
    Reset,
    /// Nothing was heard for longer than the idle timeout, or the handshake never completed.
    TimedOut,
    /// The remote speaks no QUIC version of ours.
    Version,
}

impl CloseReason {
    pub(crate) fn from_proto(error: quinn_proto::ConnectionError) -> Self {
        use quinn_proto::ConnectionError as E;
        match error {
            E::VersionMismatch => Self::Version,
            E::TransportError(e) => Self::Protocol { code: u64::from(e.code), reason: e.reason },
            E::ConnectionClosed(c) if c.error_code == quinn_proto::TransportErrorCode::CONNECTION_REFUSED => {
                Self::Refused
            }
            E::ConnectionClosed(c) => Self::Remote {
                code: u64::from(c.error_code),
                reason: String::from_utf8_lossy(&c.reason).into_owned(),
            },
            E::ApplicationClosed(c) => {
                Self::Application { code: c.error_code.into_inner(), reason: c.reason }
            }
            E::Reset => Self::Reset,
            E::TimedOut => Self::TimedOut,
            E::LocallyClosed | E::CidsExhausted => Self::Local,
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => write!(f, "closed on this side"),
            Self::Application { code, reason } => {
                write!(f, "closed by the peer with code {code}: {}", String::from_utf8_lossy(reason))
            }
            Self::Refused => write!(f, "refused by the peer, which takes no connections at this moment"),
            Self::Remote { code, reason } if TLS_ALERTS.contains(code) => {
                let why = handshake_failure("this side's certificate", *code, reason);
                write!(f, "refused by the peer in the TLS handshake: {why}")
            }
            Self::Protocol { code, reason } if TLS_ALERTS.contains(code) => {
                let why = handshake_failure("the peer's certificate", *code, reason);
                write!(f, "the TLS handshake failed: {why}")
            }
            Self::Remote { code, reason } => {
                write!(f, "closed by the peer's transport with code {code:#x}: {reason}")
            }
            Self::Protocol { code, reason } => {
                write!(f, "closed over a protocol error of the peer, code {code:#x}: {reason}")
            }
            Self::Reset => write!(f, "reset: the peer has lost its state"),
            Self::TimedOut => write!(f, "timed out"),
            Self::Version => write!(f, "the peer speaks no common version of QUIC"),
        }
    }
}
