//! The items that a receiver gets.

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
    /// Its tags: what it is about.
    pub tags: TagSet,
    /// Its name, unique for ever.
    pub id: EventId,
    /// When it happened, as its publisher says.
    pub time: SystemTime,
    /// Its payload. It shares memory with the events around it: copy what you keep for long.
    pub payload: Bytes,
    /// The subscriptions that match it, ascending.
    pub matched: Arc<[SubscriptionNumber]>,
    /// Whether this receiver may have had it before, because its publisher has sent it again.
    /// Copies of an event have one id.
    pub maybe_duplicate: bool,
    /// Whether it comes from history: it was published before this receiver subscribed, or while it
    /// was away.
    pub replayed: bool,
}

/// One item of a receiver's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// An event.
    Event(Event),
    /// Events are missing at this place.
    Gap(Gap),
}
