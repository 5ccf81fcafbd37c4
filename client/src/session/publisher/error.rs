//! Why an event is not taken.

use std::io;

use millrace_proto::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RECIPIENTS_MAX};

use super::store::{Full, StoreError};

/// Why an event was not taken. It got no seq, and nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The publisher holds as much as it may. Try again when output was taken, or, for a publisher
    /// that sends again what was lost, when events were received.
    #[error("the publisher's queue is full: try again later, or give it more room")]
    WouldBlock,
    /// The payload exceeds what one event may carry.
    #[error("a payload of {bytes} bytes exceeds the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A handle of another publisher.
    #[error("the tag handle belongs to another publisher: register the tag set with this one")]
    UnknownHandle,
    /// The event's outcome is wanted, and the publisher asks for none.
    #[error("the publisher is not told what becomes of its events: give it a confirm level")]
    NoConfirmLevel,
    /// The publisher has a spool, which keeps no events for recipients, requests or replies.
    #[error("a spool holds no events for recipients, requests or replies: use a publisher without one")]
    Addressed,
    /// The publisher is on two routers, and who answers or is named would have to do so twice.
    #[error(
        "a publisher on two routers sends no events for recipients, requests or replies: use another one"
    )]
    AddressedTwice,
    /// The publisher has a spool, which keeps no source seqs.
    #[error("a spool holds no events with source seqs: leave the numbers or the spool out")]
    Numbered,
    /// Another member of the publisher's set holds it, and events without a number are not kept.
    #[error("another member holds the publisher's set: this event is not published")]
    OnStandby,
    /// Source seqs are for members of standby sets.
    #[error("the publisher is no member of a standby set, and takes no source seqs")]
    NoSet,
    /// The router knows no recipients, requests and replies.
    #[error("the router knows no names of receivers, requests and replies: update it, or use another one")]
    NoNames,
    /// No recipients, too many, or one that no receiver can have as its name.
    #[error(
        "an event has 1 to {RECIPIENTS_MAX} recipients, names of at most {NAME_BYTES_MAX} bytes without control characters"
    )]
    Recipients,
    /// The publisher's spool is full, and is to refuse what is more.
    #[error("{0}; the event is refused")]
    Refused(Full),
    /// The publisher's store cannot take events.
    #[error("the publisher's store failed: {}", io::Error::from(*.kind))]
    Store {
        /// What its storage said.
        kind: io::ErrorKind,
    },
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::WouldBlock,
            StoreError::Refused(full) => Self::Refused(full),
            StoreError::Addressed => Self::Addressed,
            StoreError::Numbered => Self::Numbered,
            StoreError::Failed(kind) => Self::Store { kind },
        }
    }
}
