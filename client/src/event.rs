//! The items that a receiver gets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use millrace_proto::data::optional::{Addressed, REPLY_TOKEN_BYTES};
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
    /// Where replies to it go ([`Publisher::reply`](crate::Publisher::reply)); none for an event
    /// that is no request.
    pub reply_to: Option<ReplyTo>,
    /// The number of the request that it replies to.
    pub(crate) answers: Option<u64>,
}

/// Where replies to a request go. It may be kept and used until the deadline, by any publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    pub(crate) token: [u8; REPLY_TOKEN_BYTES],
    within: Duration,
}

impl ReplyTo {
    /// How long the requester waits for replies, counted from when it asked.
    #[must_use]
    pub const fn within(&self) -> Duration {
        self.within
    }
}

/// What an event asks or answers.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) reply_to: Option<ReplyTo>,
    pub(crate) answers: Option<u64>,
}

impl Asked {
    pub(crate) fn new(addressed: &Addressed<'_>) -> Self {
        let within = Duration::from_micros(addressed.deadline_us);
        Self {
            reply_to: addressed.reply_to.map(|token| ReplyTo { token, within }),
            answers: addressed.request.filter(|_| addressed.answers.is_some()),
        }
    }
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
