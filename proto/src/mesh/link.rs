//! Frames of a link, on its lane 0 (the hello on every lane): who is there, and what is wanted.

use super::kind;
use super::lane::GroupMember;
use crate::control::{Element, TableCapacity, Value, message, wire_enum};
use crate::error::DecodeError;
use crate::feature::Features;
use crate::field::{self, Field, Fields};
use crate::id::{ClusterId, Incarnation, RouterId};
use crate::limits;

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
        /// Which lane of the link this connection is, as the dialling side counts; the other side
        /// repeats it.
        5 lane: u16,
        /// How many times the dialling side has dialled this lane: a higher epoch replaces a lower
        /// one.
        6 epoch: u64,
        /// How to reach the sender: `host:port`.
        7 advertise: String,
        /// What its lane readers can hold.
        8 tables: TableCapacity,
        /// A name for people.
        9 name: String,
        /// Its software.
        10 software: String,
        /// What it can read and do beyond the first version.
        11 features: Features,
        /// Where it is.
        12 zone: String,
        /// Its cluster; 0: it has no name. Routers of two clusters refuse each other.
        13 cluster: ClusterId,
    }
}

wire_enum! {
    /// How the events that match an interest are used at its location.
    pub enum InterestKind, unknown Other {
        /// Each matching event is wanted once.
        1 Plain = "plain",
        /// Only events whose payload contains one of its literals are wanted.
        2 Payload = "payload",
        /// One member of a group takes each event; the entry is of one member.
        3 Group = "group",
        /// The selector is the name of a receiver: events that are addressed to it are wanted.
        4 Name = "name",
        /// One that this version does not know: kept aside.
        63 Other = "other",
    }
}

/// One interest that is added, under its writer's number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InterestEntry {
    /// Number by which it is taken away.
    pub number: u64,
    /// What it is for.
    pub kind: InterestKind,
    /// The selector in canonical text; for [`InterestKind::Name`], the name.
    pub selector: String,
    /// For [`InterestKind::Name`]: a receiver of the same name and a lower generation has ended.
    pub generation: u64,
    /// For [`InterestKind::Payload`]: an event is wanted only if its payload contains one of them.
    pub literals: Vec<Literal>,
    /// For [`InterestKind::Group`]: the member that wants it, with the events that it has room for
    /// when none is in flight.
    pub member: Option<GroupMember>,
    /// For [`InterestKind::Name`]: whom the name belongs to while the receiver has it.
    pub identity: String,
}

/// Bytes that a payload must contain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Literal(pub Vec<u8>);

impl Element for Literal {
    const LIST_MAX: usize = limits::LITERALS_PER_INTEREST_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_bytes(out, number, &self.0);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        if field.value.len() > limits::LITERAL_BYTES_MAX {
            return Err(DecodeError::Limit { what });
        }
        Ok(Self(field.value.to_vec()))
    }
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
            self.generation.put(4, value);
            self.literals.put(5, value);
            if let Some(member) = &self.member {
                member.put_one(6, value);
            }
            self.identity.put(7, value);
        });
    }
    fn read(entry: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        for item in Fields::new(entry.value) {
            let item = item?;
            match item.number {
                1 => read.number = item.u64(what)?,
                2 => read.kind.merge(&item, what)?,
                3 => read.selector = item.text(limits::SELECTOR_BYTES_MAX, what)?.to_owned(),
                4 => read.generation.merge(&item, what)?,
                5 => read.literals.merge(&item, what)?,
                6 => read.member = Some(GroupMember::read(&item, what)?),
                7 => read.identity = item.text(limits::IDENTITY_BYTES_MAX, what)?.to_owned(),
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
        /// Version that a delta builds on: the one before. Checked by the reader; not used in
        /// snapshots.
        6 from: u64,
    }
}

message! {
    /// All owners of the sender have applied the reader's interest up to a version.
    pub struct InterestAck = kind::INTEREST_ACK {
        /// The version.
        1 version: u64,
        /// For each owner, the position at which it was applied: runs at and after it were matched
        /// against it.
        2 positions: Vec<u64>,
        /// Publishers that were told that somebody wants their events, and did not answer in time.
        3 left_out_publishers: Vec<crate::PublisherId>,
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
    /// The last life of it that has ended, with the history that it kept, as far as the sender
    /// knows.
    pub ended: Option<EndedLife>,
}

/// A life of a router that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedLife {
    /// Which.
    pub incarnation: Incarnation,
    /// How long ago, microseconds.
    pub ago_us: u64,
}

impl Element for KnownPeer {
    const LIST_MAX: usize = limits::ROUTERS_PER_FRAME_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_nested(out, number, |value| {
            field::put_fixed64(value, 1, self.router.0);
            field::put_str(value, 2, &self.advertise);
            field::put_u64(value, 3, u64::from(self.linked));
            if let Some(ended) = self.ended {
                field::put_fixed64(value, 4, ended.incarnation.0);
                field::put_u64(value, 5, ended.ago_us);
            }
        });
    }
    fn read(entry: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        let mut ago_us = 0;
        for item in Fields::new(entry.value) {
            let item = item?;
            match item.number {
                1 => read.router = RouterId(item.fixed64(what)?),
                2 => read.advertise = item.text(limits::TEXT_BYTES_MAX, what)?.to_owned(),
                3 => read.linked = item.u64(what)? != 0,
                4 => {
                    let incarnation = Incarnation(item.fixed64(what)?);
                    read.ended = Some(EndedLife { incarnation, ago_us });
                }
                5 => ago_us = item.u64(what)?,
                _ => {}
            }
        }
        if let Some(ended) = &mut read.ended {
            ended.ago_us = ago_us;
        }
        Ok(read)
    }
}

message! {
    /// What the sender has to do. Its type is odd: who does not know it skips it.
    pub struct Load = kind::LOAD {
        /// Clients that are connected.
        1 clients: u64,
    }
}

message! {
    /// The routers that the sender knows, itself left out.
    pub struct Peers = kind::PEERS {
        /// They.
        1 peers: Vec<KnownPeer>,
    }
}
