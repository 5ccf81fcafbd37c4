//! Settings of one publisher's session.

use millrace_proto::PublisherKey;
use millrace_proto::data::flag;

use super::standby::SetWish;
use crate::time::MILLISECOND_NS;

/// What a publisher is told about its events, and so how long it keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum ConfirmLevel {
    /// Nothing but that a router has received them.
    #[default]
    None,
    /// Whether each event is in the queues of all receivers that match.
    Routed,
    /// Whether the applications of all receivers that match have acknowledged it.
    Delivered,
}

impl ConfirmLevel {
    /// Whether each event gets an outcome.
    #[inline]
    #[must_use]
    pub const fn is_confirmed(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The bits of a run's flags.
    pub(super) const fn flags(self) -> u64 {
        (match self {
            Self::None => 0,
            Self::Routed => 1,
            Self::Delivered => 2,
        }) & flag::LEVEL_MASK
    }
}

/// Settings of one publisher.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// Who publishes.
    pub key: PublisherKey,
    /// The index that its id follows from. Default 0. Ignored where the connection shows no secret.
    pub index: u64,
    /// Seq of the first event; above 0 when an epoch goes on. A store of its own knows better
    /// ([`PublisherSession::with_store`](super::PublisherSession::with_store)).
    pub first_seq: u64,
    /// Longest time that an event waits for company, nanoseconds. Default 5 ms. 0: none, so that
    /// whatever is queued goes out when the driver asks.
    pub linger_ns: u64,
    /// Queued bytes that are sent without waiting, and the size at which a run is cut. Default
    /// 16 KiB.
    pub flush_bytes: usize,
    /// Most bytes held in memory. Default 1 MiB. One event always fits an empty store, however
    /// large.
    pub buffer_bytes: usize,
    /// How long the router may take to say what it has received, nanoseconds, as the connection's
    /// Hello tells it
    /// ([`ConnectionConfig::received_within_us`](crate::session::ConnectionConfig::received_within_us)).
    /// Default 20 ms.
    pub received_within_ns: u64,
    /// Whether events that were on their way when a stream was lost go out again on the next one.
    /// Default no: they are unknown. Without effect with a confirm level: what has no outcome goes
    /// out again.
    pub resend: bool,
    /// What the publisher is told about its events. Default [`ConfirmLevel::None`]. The connection
    /// is to ask for confirms, too
    /// ([`ConnectionConfig::confirms`](crate::session::ConnectionConfig::confirms)).
    pub level: ConfirmLevel,
    /// Receivers that an event must be confirmed at: with fewer it is not confirmed. Default 0:
    /// an event that nobody wants is confirmed.
    pub min_receivers: u64,
    /// Whether an event that did not reach all its receivers is sent again, at most five times
    /// within ten minutes, before that is its outcome. Default no. With a confirm level and a store
    /// that can hand events out again (a spool) only.
    pub retry_partial: bool,
    /// Whether another session sends the same events on another way ([`Ways`](super::Ways)).
    /// Default no. What was lost with a stream goes out again then, and without a level each run
    /// says that it may come twice.
    pub redundant: bool,
    /// The standby set that it is a member of. Default none.
    pub set: Option<SetWish>,
}

impl PublisherConfig {
    /// The defaults for `key`.
    #[must_use]
    pub const fn new(key: PublisherKey) -> Self {
        Self {
            key,
            index: 0,
            first_seq: 0,
            linger_ns: 5 * MILLISECOND_NS,
            flush_bytes: 16 * 1024,
            buffer_bytes: 1024 * 1024,
            received_within_ns: 20 * MILLISECOND_NS,
            resend: false,
            level: ConfirmLevel::None,
            min_receivers: 0,
            retry_partial: false,
            redundant: false,
            set: None,
        }
    }
}
