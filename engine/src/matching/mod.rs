//! Matching: which targets want the events of a tag set.
//!
//! One [`Index`] holds selectors with their targets. It is used twice: as the *directory*
//! (`Index<Taker>`: which cores and peers have subscribers), written by the control thread and read
//! by all cores as immutable snapshots, and as each core's *local* index (`Index<LocalTarget>`:
//! which subscriptions of its own receivers), written in place. A clone is a snapshot: it shares
//! all pages, and a later write copies only the pages it touches.
//!
//! # How a lookup works
//!
//! Each selector is filed under its *access tag*: the equality requirement under which fewest
//! selectors are filed. A tag set can only match selectors that are filed under one of its tags,
//! plus those without any equality, which are on the *scan list*. With
//!
//! ```text
//! s1: host=web-1,severity!=debug      filed under host=web-1
//! s2: cluster=c1,host=web-2           filed under host=web-2 or cluster=c1, whichever is emptier
//! s3: temperature>60                  scan list
//! ```
//!
//! the tag set `{cluster=c1, host=web-1}` meets the groups of its two tags and the scan list. Large
//! groups and the scan list are sieved by one more requirement (see `sieve`); what is left is
//! evaluated in full, so hashes never decide a match.
//!
//! # How a lookup is remembered
//!
//! A [`Contribution`] holds what a lookup found and the version of the index at which that was
//! right. Every change has its own version and is recorded in a log, threaded by region of tag
//! hashes (see `log`). [`Index::refresh`] reads the last change of each tag's region; where nothing
//! is newer, nothing has changed for this tag set. Else it walks the newer changes and evaluates
//! only the selectors that changed under one of its tags. docs/adr/0002-route-cache-validation.md
//! has the reasons.
//!
//! Moving a selector to another access tag is no change: every tag set that it matches has both
//! tags, so a later removal, recorded under the new one, is seen by all who counted it.
//!
//! The module has no clock and no I/O; equal seeds and equal calls give equal results on one
//! machine.

mod bucket;
mod contribution;
mod index;
mod log;
mod paged;
mod probe;
mod sieve;
mod tag_hash;
mod targets;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::hash::Hash;

pub use contribution::{Contribution, Refresh};
pub use index::Index;
pub use tag_hash::{TagHash, TagHasher, TagMark};

/// What a selector leads to.
pub trait Target: Copy + Ord + Eq + Hash + Debug {}

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
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Taker").field(&self.location()).field(&self.filter()).finish()
    }
}

impl Target for Taker {}

/// One selector of one subscription of a receiver on this core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalTarget {
    /// The receiver, by its index on the core.
    pub receiver: u32,
    /// The subscription, by its number within the receiver.
    pub subscription: u16,
    /// The selector, by its number within the subscription: it names the payload patterns that are
    /// still to be met.
    pub selector: u16,
}

impl Target for LocalTarget {}
