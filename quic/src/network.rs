//! The sockets under the driver, which take and deliver UDP datagrams.
//!
//! The real implementation is UDP with batched system calls. Tests use a simulated one, lossy and
//! in virtual time.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;

use crate::SocketId;

/// An ECN codepoint other than Not-ECT (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion was experienced.
    Ce,
}

impl Ecn {
    /// The two bits of the IP header.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }

    pub(crate) const fn from_proto(ecn: quinn_proto::EcnCodepoint) -> Self {
        match ecn {
            quinn_proto::EcnCodepoint::Ect0 => Self::Ect0,
            quinn_proto::EcnCodepoint::Ect1 => Self::Ect1,
            quinn_proto::EcnCodepoint::Ce => Self::Ce,
        }
    }

    pub(crate) const fn to_proto(self) -> quinn_proto::EcnCodepoint {
        match self {
            Self::Ect0 => quinn_proto::EcnCodepoint::Ect0,
            Self::Ect1 => quinn_proto::EcnCodepoint::Ect1,
            Self::Ce => quinn_proto::EcnCodepoint::Ce,
        }
    }
}

/// Where a received datagram, or a buffer of several, arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The socket that it was read from.
    pub socket: SocketId,
    /// Its sender.
    pub remote: SocketAddr,
    /// Our address that it was sent to, where the platform reports it: answers leave from there.
    pub local_ip: Option<IpAddr>,
    /// Its ECN mark.
    pub ecn: Option<Ecn>,
}

/// One QUIC datagram that arrived on the shared port of another core than the one it belongs to.
#[derive(Clone, Debug)]
pub struct ForeignSegment {
    /// Its sender.
    pub remote: SocketAddr,
    /// Our address that it was sent to.
    pub local_ip: Option<IpAddr>,
    /// Its ECN mark.
    pub ecn: Option<Ecn>,
    /// The UDP payload.
    pub data: BytesMut,
}

/// One datagram to be sent, or several of one size (the last may be shorter) for segmentation
/// offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The socket that it leaves from.
    pub socket: SocketId,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Our address that it leaves from; the system chooses when there is none.
    pub source_ip: Option<IpAddr>,
    /// ECN mark.
    pub ecn: Option<Ecn>,
    /// Size of each segment in bytes, when there is more than one.
    pub segment_size: Option<u16>,
}

/// A socket's kernel buffers in bytes, as granted (Linux reports twice what is usable for payload).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketBuffers {
    /// Receive side.
    pub receive_bytes: usize,
    /// Send side.
    pub send_bytes: usize,
}

/// Sockets under a [`crate::Driver`].
pub trait Network {
    /// Binds one more socket, of its own port; it never accepts connections.
    ///
    /// # Errors
    /// The system's refusal; nothing changed then.
    fn add_socket(&mut self, local: SocketAddr) -> io::Result<SocketId>;

    /// Closes a socket that `add_socket` made, and counts datagrams that were still to leave
    /// through it as dropped.
    fn remove_socket(&mut self, socket: SocketId);

    /// The address a socket is bound to; `None` when there is no such socket.
    fn local_addr(&self, socket: SocketId) -> Option<SocketAddr>;

    /// The largest number of segments that one [`Outgoing`] of this socket may have; 1 without
    /// offload.
    fn segments_max(&self, socket: SocketId) -> usize;

    /// Bytes of the largest IP packet that the first hop towards `remote` takes. 1,500, Ethernet's,
    /// where it is not known.
    fn route_mtu(&self, _remote: SocketAddr) -> usize {
        1_500
    }

    /// Whether the kernel refuses datagrams of this socket at this moment; then none are produced
    /// for it.
    fn is_blocked(&self, socket: SocketId) -> bool;

    /// Takes one outgoing datagram. It may swap `data` for another buffer, which the caller clears.
    ///
    /// A datagram that was taken is sent, kept until it can be sent, or counted as dropped.
    fn send(&mut self, outgoing: Outgoing, data: &mut Vec<u8>);
}
