//! What doors publish, and what they hear of it.

use std::time::SystemTime;

use bytes::Bytes;
use millrace_client::{EventId, Outcome, TagError, TagSet};
use millrace_proto::limits::PAYLOAD_BYTES_MAX;

use crate::counters::Reason;

/// What a local client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// That the gateway has taken the events.
    None,
    /// That they are in the queues of all receivers that match.
    #[default]
    Routed,
    /// That the applications of all receivers that match have acknowledged them.
    Delivered,
}

impl Level {
    /// The level of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "routed" => Some(Self::Routed),
            "delivered" => Some(Self::Delivered),
            _ => None,
        }
    }
}

/// An event that a door has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What it is about.
    pub tags: TagSet,
    /// When it happened.
    pub time: SystemTime,
    /// What it says.
    pub payload: Bytes,
}

/// Why an event cannot be published, by anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NewEventError {
    /// A tag is not allowed.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// Only routers set such tags.
    #[error("tag {key:?} is set by routers only: leave it out")]
    Reserved {
        /// The key.
        key: String,
    },
    /// The payload is too large.
    #[error("a payload of {bytes} bytes exceeds the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl NewEvent {
    /// Bytes that an event counts for at least: its notes here and in the publisher. It also bounds
    /// how many events are under way, see [`super::line`].
    const ROOM_BYTES_MIN: usize = 256;

    /// An event, checked as a router would.
    ///
    /// # Errors
    /// [`NewEventError`].
    pub fn new(tags: TagSet, time: SystemTime, payload: Bytes) -> Result<Self, NewEventError> {
        if let Some(key) = tags.borrow().reserved_key() {
            return Err(NewEventError::Reserved { key: key.to_owned() });
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(NewEventError::TooLarge { bytes: payload.len() });
        }
        Ok(Self { tags, time, payload })
    }

    /// The room that it takes while it is under way.
    pub(super) fn room_bytes(&self) -> usize {
        Self::ROOM_BYTES_MIN + self.payload.len() + self.tags.canonical().len()
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: EventId,
    /// How it ended; `None` for level *none*, where nobody waits.
    pub outcome: Option<Outcome>,
}

impl From<Unavailable> for Reason {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NoRouter => Self::NoRouter,
            Unavailable::Busy => Self::Busy,
        }
    }
}

/// Why nothing can be published at the moment. Nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no connection to a router.
    #[error("no router can be reached: try again later")]
    NoRouter,
    /// Too much is under way.
    #[error("too many events wait for their outcome: try again later")]
    Busy,
}
