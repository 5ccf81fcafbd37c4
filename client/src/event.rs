//! What a receiver gets.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use millrace_proto::id::EventId;
use millrace_proto::{SubscriptionNumber, TagSet};

pub use millrace_proto::data::{Gap, GapReason};

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What it is about.
    pub tags: TagSet,
    /// Its name, unique for ever.
    pub id: EventId,
    /// When its publisher says that it happened.
    pub time: SystemTime,
    /// What it says. Shares memory with the events around it: copy what is kept for long.
    pub payload: Bytes,
    /// The subscriptions that match it, ascending.
    pub matched: Arc<[SubscriptionNumber]>,
    /// This receiver may have had it before: its publisher has sent it again. The same event has
    /// the same id.
    pub maybe_duplicate: bool,
}

/// One thing in a receiver's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// An event.
    Event(Event),
    /// Events are missing at this place.
    Gap(Gap),
}
