//! What a selector is filed for; on a core, one selector of one subscription.

use std::fmt::Debug;
use std::hash::Hash;

/// What a selector is filed for.
pub trait Target: Copy + Ord + Eq + Hash + Debug {}

/// One selector of one subscription of a receiver on this core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalTarget {
    /// The receiver, by its index on the core.
    pub receiver: u32,
    /// The subscription, by its number within the receiver.
    pub subscription: u16,
    /// The selector, by its number within the subscription: it names the payload patterns that an
    /// event has yet to meet.
    pub selector: u16,
}

impl Target for LocalTarget {}
