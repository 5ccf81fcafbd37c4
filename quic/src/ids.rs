//! Names of connections, streams and sockets, as the app sees them.
//!
//! A name of something that is gone stays harmless: connections and sockets carry a generation, so a slot's next user
//! never answers to the old name.

use std::fmt;

/// A connection of one core.
///
/// Slots are reused, names are not: the generation differs each time (it wraps after 2³² users of one slot).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// Slot number: dense, bounded by the largest number of connections that were open at once.
    ///
    /// Good for indexing an app's own table, provided that it also compares the whole id.
    pub const fn index(self) -> u32 {
        self.index
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }

    /// The id as one number: the generation in the upper half, the slot in the lower.
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The inverse of [`ConnId::to_u64`]. Any number is accepted; one that names no connection has no effect.
    #[expect(clippy::cast_possible_truncation, reason = "splits the two halves that to_u64 joined")]
    pub const fn from_u64(value: u64) -> Self {
        Self { index: value as u32, generation: (value >> 32) as u32 }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.index, self.generation)
    }
}

/// A QUIC stream id (RFC 9000 §2.1): bit 0 tells the initiator, bit 1 the direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// A stream by its number on the wire, below 2⁶².
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether only the initiator writes.
    pub const fn is_uni(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the side that dialled opened it.
    pub const fn is_client_initiated(self) -> bool {
        self.0 & 1 == 0
    }

    pub(crate) fn from_proto(id: quinn_proto::StreamId) -> Self {
        Self(quinn_proto::VarInt::from(id).into_inner())
    }

    pub(crate) fn to_proto(self) -> quinn_proto::StreamId {
        let side =
            if self.is_client_initiated() { quinn_proto::Side::Client } else { quinn_proto::Side::Server };
        let dir = if self.is_uni() { quinn_proto::Dir::Uni } else { quinn_proto::Dir::Bi };
        quinn_proto::StreamId::new(side, dir, self.0 >> 2)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

/// A UDP socket of one core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    index: u16,
    generation: u16,
}

impl SocketId {
    /// The socket on the shared port, the only one that accepts connections and the only one that the steering guard
    /// watches. A core may have been built without it.
    pub const SHARED: Self = Self { index: 0, generation: 0 };

    /// A socket by its slot and the generation of that slot, for implementations of [`crate::Network`].
    pub const fn new(index: u16, generation: u16) -> Self {
        Self { index, generation }
    }

    /// Slot number.
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Generation of the slot.
    pub const fn generation(self) -> u16 {
        self.generation
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_survive_the_way_through_quinn() {
        for raw in [0, 1, 2, 3, 4, 7, 1 << 20, (1 << 62) - 1] {
            assert_eq!(StreamId::from_proto(StreamId::new(raw).to_proto()), StreamId::new(raw));
        }
    }

    #[test]
    fn connection_ids_survive_the_way_through_a_number() {
        let id = ConnId::new(7, u32::MAX);
        assert_eq!(ConnId::from_u64(id.to_u64()), id);
    }
}
