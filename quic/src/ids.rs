//! Names of connections, streams and sockets, as the app sees them.
//!
//! The name of something that is gone does no harm: connections and sockets carry a generation, so
//! that a slot's next user never answers to an old name. A [`ConnId`] is made of slot and
//! generation.

use std::fmt;

pub use millrace_sansio::{ConnId, StreamId};

/// A UDP socket of one core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    index: u16,
    generation: u16,
}

impl SocketId {
    /// The socket on the shared port, the only one that accepts connections and the only one that
    /// the steering guard watches. A core may have been built without it.
    pub const SHARED: Self = Self { index: 0, generation: 0 };

    /// A socket by its slot and the generation of that slot, for implementations of
    /// [`crate::Network`].
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

/// The name of a stream of quinn's.
pub(crate) fn stream_from_proto(id: quinn_proto::StreamId) -> StreamId {
    StreamId(quinn_proto::VarInt::from(id).into_inner())
}

/// quinn's name of a stream.
pub(crate) fn stream_to_proto(id: StreamId) -> quinn_proto::StreamId {
    let side = if id.is_client_initiated() { quinn_proto::Side::Client } else { quinn_proto::Side::Server };
    let dir = if id.is_uni() { quinn_proto::Dir::Uni } else { quinn_proto::Dir::Bi };
    quinn_proto::StreamId::new(side, dir, id.0 >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_survive_the_way_through_quinn() {
        for raw in [0, 1, 2, 3, 4, 7, 1 << 20, (1 << 62) - 1] {
            assert_eq!(stream_from_proto(stream_to_proto(StreamId(raw))), StreamId(raw));
        }
    }
}
