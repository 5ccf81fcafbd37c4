//! Names of things on the wire, each its own type so that they cannot be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);
    };
}

number! {
    /// A publisher's own name, 128 random bits chosen by the client and kept in its spool.
    PublisherId(u128)
}
number! {
    /// A publisher's life: a new random 62-bit name at each start without a spool. Epochs are not
    /// ordered.
    Epoch(u64)
}
number! {
    /// A router: derived from the address it advertises, so that it outlives a restart.
    RouterId(u64)
}
number! {
    /// One process life of a router, random.
    Incarnation(u64)
}
number! {
    /// A cluster: 64 random bits, chosen when its authority was made; 0 is none.
    ClusterId(u64)
}
number! {
    /// A receiver on its connection, chosen by the client, below the router's `receivers_max`.
    ReceiverNumber(u32)
}
number! {
    /// A subscription within its receiver, chosen by the client.
    SubscriptionNumber(u32)
}

/// Who published: the part of an event id that its run shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PublisherKey {
    /// The publisher.
    pub publisher: PublisherId,
    /// Its epoch.
    pub epoch: Epoch,
}

/// An event's name: unique for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventId {
    /// Who published it.
    pub publisher: PublisherKey,
    /// Gapless within the publisher's epoch, from 0.
    pub seq: u64,
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}.{}", self.publisher.publisher, self.publisher.epoch.0, self.seq)
    }
}
