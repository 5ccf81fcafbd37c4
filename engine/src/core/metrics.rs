//! What a core counts. Plain numbers with one writer; the shell publishes them.

use millrace_proto::CloseCode;

/// Why events were not delivered where they were wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum DropReason {
    /// A receiver's queue was full.
    ReceiverOverflow,
    /// A receiver left while events were queued for it.
    ReceiverGone,
    /// The queue to a peer was full.
    LaneOverflow,
    /// The queue to a sibling core was full.
    MailboxOverflow,
    /// A peer that wanted the events has no open lane.
    PeerLost,
    /// The event does not fit the queue at all.
    TooLarge,
    /// The run was not read completely before its stream was lost. How many events it had is not known: it counts as one.
    StreamLost,
}

impl DropReason {
    /// All reasons, in the order of [`CoreMetrics::dropped`].
    pub const ALL: [Self; 7] = [
        Self::ReceiverOverflow,
        Self::ReceiverGone,
        Self::LaneOverflow,
        Self::MailboxOverflow,
        Self::PeerLost,
        Self::TooLarge,
        Self::StreamLost,
    ];

    /// Its name as a metrics label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReceiverOverflow => "receiver_overflow",
            Self::ReceiverGone => "receiver_gone",
            Self::LaneOverflow => "lane_overflow",
            Self::MailboxOverflow => "mailbox_overflow",
            Self::PeerLost => "peer_lost",
            Self::TooLarge => "too_large",
            Self::StreamLost => "stream_lost",
        }
    }
}

/// Counters of one core since its start, but for those called a level.
#[derive(Debug, Clone, Default)]
pub struct CoreMetrics {
    /// Events read from publishers.
    pub events_in: u64,
    /// Payload and framing bytes read from publishers.
    pub bytes_in: u64,
    /// Runs read from publishers.
    pub runs_in: u64,
    /// Events read from peers.
    pub events_from_peers: u64,
    /// Events read from sibling cores.
    pub events_from_siblings: u64,
    /// Events written to receivers.
    pub events_out: u64,
    /// Bytes written to receivers.
    pub bytes_out: u64,
    /// Events written to peers.
    pub events_to_peers: u64,
    /// Events written to sibling cores.
    pub events_to_siblings: u64,
    /// Events that this core owned and nobody wanted.
    pub events_unmatched: u64,
    /// Events dropped, by [`DropReason`]; once for each place that wanted them.
    pub dropped: [u64; 7],
    /// Gap markers written to receivers.
    pub gaps: u64,
    /// Connections closed by this core, by [`CloseCode`].
    pub closed: [u64; CloseCode::ALL.len()],
    /// Frames of unknown types that may be skipped.
    pub frames_skipped: u64,
    /// Subscriptions refused.
    pub refused: u64,
    /// Level: client sessions.
    pub clients: u64,
    /// Level: receivers.
    pub receivers: u64,
    /// Level: selectors of receivers.
    pub selectors: u64,
    /// Level: lanes that carry events.
    pub lanes: u64,
    /// Level: bytes queued for receivers above their streams.
    pub queued_bytes: u64,
    /// Turns in which publishers were left unread because a sibling could not keep up.
    pub paused_turns: u64,
    /// Times that a control stream was left unread: because control did not keep up, because a turn had no more time for it,
    /// or because too many of its subscriptions were being read (counted when that is over).
    pub control_paused: u64,
    /// Lane seqs that were skipped by peers without a gap frame: a defect of the peer.
    pub lane_skips: u64,
    /// Lanes whose peer began its runs with another epoch than the lane's: a defect of the peer.
    pub lane_epochs_wrong: u64,
    /// Lanes closed because the peer stopped one of its streams, or reset its own, before its time.
    pub lane_stops: u64,
}

impl CoreMetrics {
    /// Counts events that were not delivered.
    pub fn drop(&mut self, reason: DropReason, events: u64) {
        self.dropped[reason as usize] += events;
    }

    /// Counts a connection closed by this core.
    pub fn close(&mut self, code: CloseCode) {
        if let Some(count) = usize::try_from(code.code()).ok().and_then(|index| self.closed.get_mut(index)) {
            *count += 1;
        }
    }
}
