//! Frames of every session: greeting, liveness, leaving.

use super::kind;
use super::value::Value;
use crate::control::message;
use crate::error::DecodeError;
use crate::feature::Features;
use crate::field::{self, Field, Fields};
use crate::id::{ClusterId, Incarnation, RouterId};
use crate::limits;
use crate::proof::{PublisherSecret, Token};

/// What a reader of data streams can hold, announced before they start.
///
/// A writer never exceeds it; where a capacity is 0, everything is written inline. Absent parts
/// have the defaults of a client. Bytes are those of canonical tag sets; publishers count as
/// entries only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCapacity {
    /// Tag sets at once.
    pub tag_sets: u64,
    /// Bytes of canonical tag sets at once.
    pub tag_bytes: u64,
    /// Publishers at once.
    pub publishers: u64,
}

impl TableCapacity {
    /// The default of a client's side of a stream.
    pub const CLIENT: Self = Self {
        tag_sets: limits::CLIENT_TABLE_ENTRIES,
        tag_bytes: limits::CLIENT_TABLE_BYTES,
        publishers: limits::TABLE_PUBLISHERS,
    };
    /// The default of a lane.
    pub const LANE: Self = Self {
        tag_sets: limits::LANE_TABLE_ENTRIES,
        tag_bytes: limits::LANE_TABLE_BYTES,
        publishers: limits::LANE_TABLE_PUBLISHERS,
    };
}

impl Default for TableCapacity {
    fn default() -> Self {
        Self::CLIENT
    }
}

impl Value for TableCapacity {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        field::put_nested(out, number, |value| {
            field::put_u64(value, 1, self.tag_sets);
            field::put_u64(value, 2, self.tag_bytes);
            field::put_u64(value, 3, self.publishers);
        });
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Self::default();
        for item in Fields::new(field.value) {
            let item = item?;
            match item.number {
                1 => self.tag_sets = item.u64(what)?,
                2 => self.tag_bytes = item.u64(what)?,
                3 => self.publishers = item.u64(what)?,
                _ => {}
            }
        }
        Ok(())
    }
}

message! {
    /// The client's first frame.
    pub struct Hello = kind::HELLO {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        1 version: u64,
        /// The client's software, for operators: `millrace-client/0.1.0`.
        2 software: String,
        /// What the client's readers can hold, for each receiver's stream.
        3 tables: TableCapacity,
        /// Receivers that the client may open, at most.
        4 receivers: u32,
        /// How long the client can wait for [`Received`](super::Received), microseconds; 0: the
        /// router's choice, 20 ms. A router makes nobody wait for more than 10 s.
        5 received_within_us: u64,
        /// What the client can read beyond the first version.
        6 features: Features,
        /// How events shall come: 0 = a stream for each receiver, 1 = one stream for all of the
        /// connection's receivers.
        7 deliveries: u64,
        /// Proves the ids that the client publishes under; absent: the router makes one up for this
        /// connection.
        8 secret: Option<PublisherSecret>,
        /// Proves who the client is, where it has no certificate.
        9 token: Token,
        /// Where the client is: routers of the same zone are nearer.
        10 zone: String,
        /// The cluster that the client belongs to, where it forwards from one to another; 0: none.
        11 cluster: ClusterId,
        /// Reserved: the session that the client resumes, as its Welcome named it.
        12 session: String,
        /// Delivered runs shall carry their positions.
        13 positions: bool,
    }
}

message! {
    /// The router's answer to [`Hello`].
    pub struct Welcome = kind::WELCOME {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        1 version: u64,
        /// The router.
        2 router: RouterId,
        /// Its process life.
        3 incarnation: Incarnation,
        /// Its cores: a publisher with many tag sets may open a connection per core and split by
        /// shard.
        4 cores: u16,
        /// The core that this connection is on.
        5 core: u16,
        /// What the router's readers can hold, for the publish stream.
        6 tables: TableCapacity,
        /// Receivers that this connection may carry.
        7 receivers_max: u32,
        /// Addresses of other routers, for when this one goes away.
        8 alternates: Vec<String>,
        /// Silence after which the router counts the session as dead, microseconds.
        9 silence_us: u64,
        /// The router's software.
        10 software: String,
        /// What the router can read and do beyond the first version.
        11 features: Features,
        /// How events will come: as asked for in [`Hello::deliveries`], or 0 where the router
        /// cannot.
        12 deliveries: u64,
        /// Where the router is.
        13 zone: String,
        /// Whom the router takes the client for; part of what its publisher ids are hashed from.
        14 identity: String,
        /// The router's cluster; 0: it has no name.
        15 cluster: ClusterId,
        /// The zones of `alternates`, one for each in the same order; missing ones are not known.
        16 alternate_zones: Vec<String>,
        /// Reserved: by which name the client may resume this session.
        17 session: String,
    }
}

message! {
    /// Are you there? Either side, any time after Hello and Welcome.
    pub struct Ping = kind::PING {
        /// Comes back in [`Pong`]: any 62-bit number.
        1 nonce: u64,
    }
}

message! {
    /// Yes.
    pub struct Pong = kind::PONG {
        /// From the [`Ping`].
        1 nonce: u64,
    }
}

message! {
    /// The router is going away: move within the delay.
    pub struct Goaway = kind::GOAWAY {
        /// How long this client should wait before it moves, microseconds: spread over the grace,
        /// per client.
        1 delay_us: u64,
        /// Routers to move to.
        2 alternates: Vec<String>,
        /// Why, for people.
        3 reason: String,
        /// When the router will close what is left, microseconds from now.
        4 grace_us: u64,
        /// The zones of `alternates`, one for each in the same order; missing ones are not known.
        5 alternate_zones: Vec<String>,
    }
}
