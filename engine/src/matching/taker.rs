//! The targets of the directory's selectors: cores and peers that have subscribers, each with a
//! filter or without, and links to other clusters.

use std::fmt::{self, Debug};

use super::target::Target;

/// Where subscribers are, seen from an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// The sessions of a core of this router.
    Core(u16),
    /// A peer router, by its index at the control thread.
    Peer(u16),
    /// A link to another cluster, by its number: it takes what entered at this router, and nothing
    /// that came from a peer.
    Forward(u16),
    /// A member of a group, by its index at the control thread. Behind all others, so that a route
    /// has its members together.
    Member(u16),
}

impl Target for Location {}

/// A target in the directory: a location, and the filter that a payload must pass to be wanted
/// there. Sorted by location; the target without a filter is its location's first. Four bytes,
/// because routes keep many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taker(u32);

/// Names a filter of a directory: literals of which a payload must contain one. See
/// [`Prefilter`](crate::payload::Prefilter).
pub type FilterNumber = u16;

impl Taker {
    const FILTER_BITS: u32 = 15;
    const PEER: u32 = 1 << (Self::FILTER_BITS + u16::BITS);
    /// Of the numbers behind [`PEER`](Self::PEER), those of members have this bit.
    const MEMBER: u16 = 1 << 15;
    /// Of the others, those of links have this bit.
    const FORWARD: u16 = 1 << 14;
    /// Indexes of members are below this.
    pub const PLACES_MAX: u16 = Self::MEMBER;
    /// Indexes of peers are below this, and so are numbers of links.
    pub const PEER_PLACES_MAX: u16 = Self::FORWARD;
    /// Numbers of filters are below this.
    pub const FILTERS_MAX: FilterNumber = (1 << Self::FILTER_BITS) - 1;

    /// A location that wants all events, or those that pass a filter. A filter whose number is too
    /// high counts as none.
    #[must_use]
    pub const fn new(location: Location, filter: Option<FilterNumber>) -> Self {
        let (kind, number) = match location {
            Location::Core(number) => (0, number),
            Location::Peer(number) => (Self::PEER, number),
            Location::Forward(number) => (Self::PEER, number | Self::FORWARD),
            Location::Member(number) => (Self::PEER, number | Self::MEMBER),
        };
        let filter = match filter {
            Some(filter) if filter < Self::FILTERS_MAX => filter as u32 + 1,
            _ => 0,
        };
        Self(kind | (number as u32) << Self::FILTER_BITS | filter)
    }

    /// The location.
    #[inline]
    #[must_use]
    pub const fn location(self) -> Location {
        let number = (self.0 >> Self::FILTER_BITS & 0xffff) as u16;
        if self.0 & Self::PEER == 0 {
            Location::Core(number)
        } else if number & (Self::MEMBER | Self::FORWARD) == 0 {
            Location::Peer(number)
        } else if number & Self::MEMBER == 0 {
            Location::Forward(number & !Self::FORWARD)
        } else {
            Location::Member(number & !Self::MEMBER)
        }
    }

    /// The filter; none when the location wants all events.
    #[inline]
    #[must_use]
    pub const fn filter(self) -> Option<FilterNumber> {
        ((self.0 & 0x7fff) as u16).checked_sub(1)
    }
}

impl From<Location> for Taker {
    fn from(location: Location) -> Self {
        Self::new(location, None)
    }
}

impl Debug for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taker").field(&self.location()).field(&self.filter()).finish()
    }
}

impl Target for Taker {}
