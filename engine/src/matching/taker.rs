//! What an entry of the directory leads to: a core or a peer that has subscribers, and a filter.

use std::fmt::{self, Debug};

use super::target::Target;

/// Where subscribers are, seen from an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// The sessions of a core of this router.
    Core(u16),
    /// A peer router, by its index at the control thread.
    Peer(u16),
}

impl Target for Location {}

/// What an entry of the directory leads to: a location, and which filter a payload must pass to be
/// wanted there. Sorted by location, and one without a filter is its location's first. Four bytes,
/// because routes keep many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taker(u32);

/// Names literals of which a payload must contain one, in the directory that has it; see
/// [`Prefilter`](crate::payload::Prefilter).
pub type FilterNumber = u16;

impl Taker {
    const FILTER_BITS: u32 = 15;
    const PEER: u32 = 1 << (Self::FILTER_BITS + u16::BITS);
    /// Filters have lower numbers.
    pub const FILTERS_MAX: FilterNumber = (1 << Self::FILTER_BITS) - 1;

    /// A location that wants events, those that pass the filter if there is one. A filter whose
    /// number is too high is none.
    #[must_use]
    pub const fn new(location: Location, filter: Option<FilterNumber>) -> Self {
        let (kind, number) = match location {
            Location::Core(number) => (0, number),
            Location::Peer(number) => (Self::PEER, number),
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
        if self.0 & Self::PEER == 0 { Location::Core(number) } else { Location::Peer(number) }
    }

    /// The filter, unless everything is wanted.
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
