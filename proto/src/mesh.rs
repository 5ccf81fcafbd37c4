//! Control frames between routers, on the bidirectional stream that the dialling router opens first on each lane.
//!
//! Both sides say [`PeerHello`] first. Lane 0 then carries the link's interest; every lane may carry [`Ping`] and
//! [`Pong`]. Interest is numbered by its writer: an entry is added under a number and taken away by it.
//!
//! A snapshot is a sequence of [`Interest`] frames, the first with `reset`; `more` is set on all but the last frame of a
//! snapshot or batch, and the version counts as arrived when a frame without `more` does.

use crate::control::{Element, Goaway, Ping, Pong, TableCapacity, message, wire_enum};
use crate::error::DecodeError;
use crate::field::{self, Field, Fields};
use crate::frame;
use crate::id::{Incarnation, RouterId};
use crate::limits;

/// Frame types of lane control streams.
pub mod kind {
    #![allow(missing_docs, reason = "each is documented at the message of the same name")]
    pub const PEER_HELLO: u64 = 0x60;
    pub const INTEREST: u64 = 0x62;
    pub const INTEREST_ACK: u64 = 0x64;
    pub const INTEREST_DIGEST: u64 = 0x66;
    pub const INTEREST_REQUEST: u64 = 0x68;
    pub const PEERS: u64 = 0x6a;
}

message! {
    /// First frame of both sides on each lane.
    pub struct PeerHello = kind::PEER_HELLO {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        1 version: u64,
        /// The sender.
        2 router: RouterId,
        /// Its process life.
        3 incarnation: Incarnation,
        /// Its cores.
        4 cores: u16,
        /// Which lane of the link this connection is, as the dialling side counts; the other side repeats it.
        5 lane: u16,
        /// How many times the dialling side has dialled this lane: a higher epoch replaces a lower one.
        6 epoch: u64,
        /// How to reach the sender: `host:port`.
        7 advertise: String,
        /// What its lane readers can hold.
        8 tables: TableCapacity,
        /// A name for people.
        9 name: String,
        /// Its software.
        10 software: String,
    }
}

wire_enum! {
    /// How the events that match an interest are used at its location.
    pub enum InterestKind {
        /// Each matching event is wanted once.
        1 Plain = "plain",
        /// Reserved: only events whose payload passes a prefilter are wanted.
        2 Payload = "payload",
        /// Reserved: one member of a group takes each event.
        3 Group = "group",
    }
}

/// One interest that is added, under its writer's number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InterestEntry {
    /// Number by which it is taken away.
    pub number: u64,
    /// What it is for.
    pub kind: InterestKind,
    /// The selector in canonical text.
    pub selector: String,
}

impl Element for InterestEntry {
    const LIST_MAX: usize = limits::CONTROL_FRAME_BYTES_MAX / 4;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_nested(out, number, |value| {
            field::put_u64(value, 1, self.number);
            if self.kind != InterestKind::Plain {
                field::put_u64(value, 2, self.kind as u64);
            }
            field::put_str(value, 3, &self.selector);
        });
    }
    fn read(entry: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        for item in Fields::new(entry.value) {
            let item = item?;
            match item.number {
                1 => read.number = item.u64(what)?,
                2 => crate::control::Value::merge(&mut read.kind, &item, what)?,
                3 => read.selector = item.text(limits::SELECTOR_BYTES_MAX, what)?.to_owned(),
                _ => {}
            }
        }
        Ok(read)
    }
}

message! {
    /// A change of the sender's interest.
    pub struct Interest = kind::INTEREST {
        /// Version that this change leads to, counted by the sender within its incarnation.
        1 version: u64,
        /// Forget everything before this frame: a snapshot starts.
        2 reset: bool,
        /// More frames of this version follow.
        3 more: bool,
        /// Interest that is new.
        4 add: Vec<InterestEntry>,
        /// Numbers of interest that is gone.
        5 remove: Vec<u64>,
        /// Version that a delta builds on: the one before. Checked by the reader; not used in snapshots.
        6 from: u64,
    }
}

message! {
    /// All owners of the sender have applied the reader's interest up to a version.
    pub struct InterestAck = kind::INTEREST_ACK {
        /// The version.
        1 version: u64,
        /// For each owner, the position at which it was applied: runs at and after it were matched against it.
        2 positions: Vec<u64>,
    }
}

message! {
    /// What the reader should hold of the sender's interest at a version: catches defects.
    pub struct InterestDigest = kind::INTEREST_DIGEST {
        /// The version.
        1 version: u64,
        /// Number of entries.
        2 count: u64,
        /// Wrapping sum over entries of XXH3-64 of `kind byte, selector text`, cut to 62 bits.
        3 sum: u64,
    }
}

message! {
    /// Send a snapshot: mine does not agree with your digest.
    pub struct InterestRequest = kind::INTEREST_REQUEST {
        /// Version that disagreed.
        1 version: u64,
    }
}

/// A router that the sender knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownPeer {
    /// Its id.
    pub router: RouterId,
    /// How to reach it: `host:port`.
    pub advertise: String,
    /// Whether the sender has a link to it.
    pub linked: bool,
}

impl Element for KnownPeer {
    const LIST_MAX: usize = limits::ROUTERS_PER_FRAME_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_nested(out, number, |value| {
            field::put_fixed64(value, 1, self.router.0);
            field::put_str(value, 2, &self.advertise);
            field::put_u64(value, 3, u64::from(self.linked));
        });
    }
    fn read(entry: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        for item in Fields::new(entry.value) {
            let item = item?;
            match item.number {
                1 => read.router = RouterId(item.fixed64(what)?),
                2 => read.advertise = item.text(limits::TEXT_BYTES_MAX, what)?.to_owned(),
                3 => read.linked = item.u64(what)? != 0,
                _ => {}
            }
        }
        Ok(read)
    }
}

message! {
    /// The routers that the sender knows, itself left out.
    pub struct Peers = kind::PEERS {
        /// They.
        1 peers: Vec<KnownPeer>,
    }
}

/// Any frame of a lane's control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
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
frames!(PeerHello, Interest, InterestAck, InterestDigest, InterestRequest, Peers, Ping, Pong, Goaway);
