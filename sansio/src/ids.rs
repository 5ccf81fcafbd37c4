//! Names of connections and streams.
//!
//! A name of something that is gone stays harmless: a transport never uses it again.

use std::fmt;

/// A connection, named by its transport. Never used again for another connection.
///
/// State machines only compare it. A transport that keeps its connections in slots packs the slot
/// and its generation into the number: [`from_parts`](Self::from_parts).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    /// The name of the `generation`th user of a slot: the generation in the upper half, the slot in
    /// the lower. Names repeat after 2³² users of one slot.
    #[inline]
    #[must_use]
    pub const fn from_parts(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The slot: dense on the QUIC loop, bounded by the largest number of connections that were
    /// open at once. Good for indexing a table, provided that the whole name is compared, too.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the slot")]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// The generation of the slot.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.index(), self.generation())
    }
}

/// A stream of one connection: its QUIC stream id, below 2⁶² (RFC 9000 §2.1). Bit 0 tells who
/// opened it, bit 1 its direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Whether only its opener writes to it.
    #[inline]
    #[must_use]
    pub const fn is_uni(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the side that dialled opened it.
    #[inline]
    #[must_use]
    pub const fn is_client_initiated(self) -> bool {
        self.0 & 1 == 0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_and_generation_survive_the_way_through_a_name() {
        let id = ConnId::from_parts(7, u32::MAX);
        assert_eq!((id.index(), id.generation()), (7, u32::MAX));
    }

    #[test]
    fn streams_tell_opener_and_direction() {
        let of = |id| (StreamId(id).is_client_initiated(), StreamId(id).is_uni());
        assert_eq!([0, 1, 2, 3].map(of), [(true, false), (false, false), (true, true), (false, true)]);
    }
}
