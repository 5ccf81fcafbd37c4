//! What people are shown of sessions and receivers: plain numbers, taken between two turns.

use millrace_proto::ReceiverNumber;

use crate::transport::ConnKey;

/// One client's connection at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPicture {
    /// The connection, which has this name on its core alone.
    pub conn: ConnKey,
    /// Whether it has opened a publish stream.
    pub publishes: bool,
    /// Bytes read from that stream.
    pub published_bytes: u64,
    /// Receivers that are open.
    pub receivers: u32,
    /// Selectors of their subscriptions.
    pub selectors: u32,
    /// Events that wait in their queues.
    pub queued_events: u64,
    /// Bytes that wait in their queues.
    pub queued_bytes: u64,
    /// Bytes that their queues may hold.
    pub queue_bytes_max: u64,
    /// Events that their queues have dropped.
    pub dropped: u64,
}

/// By what sessions are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionOrder {
    /// Bytes that wait for them: the slowest receivers come first.
    #[default]
    Queue,
    /// Events dropped.
    Drops,
    /// Bytes published.
    Published,
}

impl SessionOrder {
    /// All, the default first.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Drops, Self::Published];

    /// Its name on the admin page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Drops => "drops",
            Self::Published => "published",
        }
    }

    /// What a session is ranked by, more first.
    #[must_use]
    pub const fn rank(self, session: &SessionPicture) -> u64 {
        match self {
            Self::Queue => session.queued_bytes,
            Self::Drops => session.dropped,
            Self::Published => session.published_bytes,
        }
    }
}

/// The sessions of a core.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    /// How many there are.
    pub count: usize,
    /// Those with the highest rank, highest first.
    pub first: Vec<SessionPicture>,
}

/// One receiver that wants the events of a tag set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantingReceiver {
    /// Its client's connection.
    pub conn: ConnKey,
    /// Its number there.
    pub receiver: ReceiverNumber,
    /// Its selectors that match, without their payload patterns; as many as were asked for.
    pub selectors: Vec<WantingSelector>,
    /// Bytes that wait for it.
    pub queued_bytes: u64,
    /// Bytes that its queue may hold.
    pub queue_bytes_max: u64,
    /// Events that its queue has dropped.
    pub dropped: u64,
}

/// A selector that matches a tag set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantingSelector {
    /// Its text without its payload patterns.
    pub text: String,
    /// Its subscription, by number within the receiver.
    pub subscription: u16,
    /// Whether the payload has a say, too.
    pub has_pattern: bool,
}

/// Who on a core wants the events of a tag set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanting {
    /// How many receivers.
    pub count: usize,
    /// Some of them, by slot: as many as were asked for.
    pub first: Vec<WantingReceiver>,
}
