//! What a core counts. Plain numbers with one writer; the shell publishes them.

use millrace_proto::CloseCode;
use millrace_proto::control::{OutcomeKind, OutcomeReason};

/// Why events were not delivered where they were wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum DropReason {
    /// A receiver's queue was full.
    ReceiverOverflow,
    /// A receiver left while events were queued for it.
    ReceiverGone,
    /// The queue of a receiver with policy `block` was full, though its publishers are held back.
    ReceiverBusy,
    /// The queue to a peer was full.
    LaneOverflow,
    /// The queue to a sibling core was full.
    MailboxOverflow,
    /// A peer that wanted the events has no open lane.
    PeerLost,
    /// The event does not fit the queue at all.
    TooLarge,
    /// The run was not read completely before its stream was lost. How many events it had is not
    /// known: it counts as one.
    StreamLost,
    /// The receiver's payload patterns cost more than it may take: the events were not looked at.
    PatternBudget,
    /// Its publisher id was not proven.
    Publisher,
    /// A client's tag set had a key that only routers set.
    ReservedKey,
    /// No member of a group could take the events for as long as groups hold them, or the group
    /// held too many.
    GroupUnavailable,
    /// Members of a group were given the events as often as allowed, and none acknowledged them.
    GroupAttempts,
    /// A client's tag set had a key that routers stamp for its identity, with another value.
    StampedKey,
    /// The publisher's identity may not publish events with these tags.
    NotAllowed,
    /// Nobody has the name of the recipient.
    NoReceiver,
    /// The recipient's queue has no room, its client does not answer, or too many requests are
    /// open.
    RecipientBusy,
    /// The token of a reply was not made by the router that it names.
    ReplyForged,
    /// The deadline of a reply's request has passed.
    ReplyLate,
    /// Whoever asked is gone.
    RequesterGone,
    /// A request whose number exceeds 32 bits.
    Unasked,
    /// The publisher's set has a newer generation.
    Fenced,
    /// Who forwards from another cluster gave a path that has this cluster, or not its own at the
    /// end.
    ClusterPath,
}

impl DropReason {
    /// All reasons, in the order of [`CoreMetrics::dropped`].
    pub const ALL: [Self; 23] = [
        Self::ReceiverOverflow,
        Self::ReceiverGone,
        Self::ReceiverBusy,
        Self::LaneOverflow,
        Self::MailboxOverflow,
        Self::PeerLost,
        Self::TooLarge,
        Self::StreamLost,
        Self::PatternBudget,
        Self::Publisher,
        Self::ReservedKey,
        Self::GroupUnavailable,
        Self::GroupAttempts,
        Self::StampedKey,
        Self::NotAllowed,
        Self::NoReceiver,
        Self::RecipientBusy,
        Self::ReplyForged,
        Self::ReplyLate,
        Self::RequesterGone,
        Self::Unasked,
        Self::Fenced,
        Self::ClusterPath,
    ];

    /// Its name as a metrics label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReceiverOverflow => "receiver_overflow",
            Self::ReceiverGone => "receiver_gone",
            Self::ReceiverBusy => "receiver_busy",
            Self::LaneOverflow => "lane_overflow",
            Self::MailboxOverflow => "mailbox_overflow",
            Self::PeerLost => "peer_lost",
            Self::TooLarge => "too_large",
            Self::StreamLost => "stream_lost",
            Self::PatternBudget => "pattern_budget",
            Self::Publisher => "publisher",
            Self::ReservedKey => "reserved_key",
            Self::GroupUnavailable => "group_unavailable",
            Self::GroupAttempts => "group_attempts",
            Self::StampedKey => "stamped_key",
            Self::NotAllowed => "not_allowed",
            Self::NoReceiver => "no_receiver",
            Self::RecipientBusy => "recipient_busy",
            Self::ReplyForged => "reply_forged",
            Self::ReplyLate => "reply_late",
            Self::RequesterGone => "requester_gone",
            Self::Unasked => "unasked",
            Self::Fenced => "fenced",
            Self::ClusterPath => "cluster_path",
        }
    }

    /// What a publisher is told of it that wants to know.
    pub(in crate::core) const fn outcome(self) -> OutcomeReason {
        match self {
            Self::ReceiverOverflow => OutcomeReason::Overflow,
            Self::ReceiverGone => OutcomeReason::Departed,
            Self::LaneOverflow => OutcomeReason::LaneOverflow,
            Self::MailboxOverflow => OutcomeReason::MailboxOverflow,
            Self::PeerLost | Self::StreamLost => OutcomeReason::PeerLost,
            Self::TooLarge => OutcomeReason::TooLarge,
            Self::PatternBudget => OutcomeReason::PatternBudget,
            Self::Publisher | Self::ReservedKey | Self::StampedKey | Self::NotAllowed | Self::ReplyForged => {
                OutcomeReason::Forbidden
            }
            Self::NoReceiver | Self::RequesterGone => OutcomeReason::NoReceiver,
            Self::ReceiverBusy | Self::RecipientBusy => OutcomeReason::Busy,
            Self::ReplyLate => OutcomeReason::Expired,
            Self::Unasked => OutcomeReason::Other,
            Self::Fenced => OutcomeReason::Fenced,
            Self::ClusterPath => OutcomeReason::ClusterPath,
            Self::GroupUnavailable => OutcomeReason::GroupUnavailable,
            Self::GroupAttempts => OutcomeReason::GroupAttempts,
        }
    }
}

crate::metrics! {
    /// Counters of one core since its start, but for those called a level.
    #[derive(Debug, Clone, Default)]
    pub struct CoreMetrics {
        /// Events read from publishers.
        events_in: counter "ingress_events",
        /// Payload and framing bytes read from publishers.
        bytes_in: counter "ingress_bytes",
        /// Runs read from publishers.
        runs_in: counter "ingress_runs",
        /// Events read from peers.
        events_from_peers: counter "peer_ingress_events",
        /// Events that came from other clusters.
        events_from_clusters: counter "cluster_ingress_events",
        /// Events read from sibling cores.
        events_from_siblings: counter "sibling_ingress_events",
        /// Events written to receivers.
        events_out: counter "egress_events",
        /// Bytes written to receivers.
        bytes_out: counter "egress_bytes",
        /// Events written to peers.
        events_to_peers: counter "peer_egress_events",
        /// Events written to sibling cores.
        events_to_siblings: counter "sibling_egress_events",
        /// Events that sibling cores got from this core and lost on their way to a receiver or
        /// peer; once for each place.
        events_missed_by_siblings: counter "sibling_missed_events",
        /// Events that this core owned and nobody wanted.
        events_unmatched: counter "unmatched_events",
        /// Events that were not copied to a sibling core or peer, because it wants only payload
        /// patterns that they cannot have; once for each place.
        events_prefiltered: counter "prefiltered_events",
        /// Bytes of runs that were looked through for the literals of payload patterns.
        prefilter_bytes: counter "prefilter_bytes",
        /// Runs that were copied as if there were no filter, because the turn had no more time for
        /// them; once for each place.
        prefilter_overruns: counter "prefilter_overruns",
        /// Events dropped, by [`DropReason`]; once for each place that wanted them.
        dropped: counter "dropped_events" by "reason" in DropReason,
        /// Clients asked to move to a router that has fewer.
        clients_asked_to_move: counter "clients_asked_to_move",
        /// Gap markers written to receivers.
        gaps: counter "gaps",
        /// Connections closed by this core, by [`CloseCode`].
        closed: counter "closed_connections" by "code" in CloseCode,
        /// Frames of unknown types that may be skipped.
        frames_skipped: counter "frames_skipped",
        /// Subscriptions refused.
        refused: counter "subscriptions_refused",
        /// Events dropped because all queues of receivers together were above their budget; also
        /// among those of `receiver_overflow`.
        queue_budget_drops: counter "queue_budget_dropped_events",
        /// Events of which no copy was made for receivers that take nothing, because their
        /// connection had had its part; also among those of `receiver_overflow`.
        passed_over: counter "passed_over_events",
        /// Subscriptions refused because of what selectors and patterns take: those of bytes, and
        /// those of loose selectors.
        refused_selectors: counter "selector_limits_reached",
        /// Definitions of publishers whose id is not proven.
        publishers_refused: counter "publishers_refused",
        /// Definitions of tag sets by clients that their identity may not publish, or whose keys
        /// only routers set.
        tag_sets_refused: counter "tag_sets_refused",
        /// Steps of automata over payloads: bytes times automata.
        pattern_steps: counter "pattern_steps",
        /// Runs that waited for the scan of their payloads.
        pattern_waits: counter "pattern_waits",
        /// Times that a publish stream, a peer's lane, or a sibling's batch was left unread in
        /// part, because lookups of new tag sets had taken their share of the turn.
        lookups_put_off: counter "lookups_put_off",
        /// Level: bytes that clients' selectors and patterns take.
        selector_bytes: level "selector_bytes",
        /// Level: selectors that no equality leads to quickly.
        loose_selectors: level "loose_selectors",
        /// Level: bytes of runs that wait for the scan of their payloads.
        pattern_wait_bytes: level "pattern_wait_bytes",
        /// Level: client sessions.
        clients: level "clients",
        /// Level: receivers.
        receivers: level "receivers",
        /// Level: selectors of receivers.
        selectors: level "selectors",
        /// Level: lanes that carry events.
        lanes: level "lanes",
        /// Level: bytes queued for receivers above their streams.
        queued_bytes: level "queued_bytes",
        /// Level: bytes that may be queued for all receivers of this core together.
        queue_budget_bytes: level "queue_budget_bytes",
        /// Turns in which publishers were left unread because a sibling could not keep up.
        paused_turns: counter "paused_turns",
        /// Times that a publisher waited for a receiver whose queue was half full.
        publishers_paced: counter "publishers_paced",
        /// Times that a peer was asked to hold a publisher back for a receiver of this router.
        holds_at_peers: counter "holds_at_peers",
        /// Times that a peer has asked this router to hold a publisher back.
        holds_of_peers: counter "holds_of_peers",
        /// Times that a control stream was left unread: because control did not keep up, because a
        /// turn had no more time for it, or because too many of its subscriptions were being read
        /// (counted when that is over).
        control_paused: counter "control_paused",
        /// Events whose publishers were told how they ended, by [`OutcomeKind`].
        outcomes: counter "outcome_events" by "kind" in OutcomeKind,
        /// The same events, by [`OutcomeReason`]: once for each reason of an event that is not
        /// confirmed.
        outcome_reasons: counter "outcome_reason_events" by "reason" in OutcomeReason,
        /// Level: runs whose publishers are still to be told.
        open_confirms: level "open_confirms",
        /// Runs that were not answered for within the confirm timeout.
        confirms_timed_out: counter "confirms_timed_out",
        /// Events that were not followed because too many were: told as unknown.
        confirms_refused: counter "confirms_refused_events",
        /// Answers of peers and acknowledgements of receivers.
        leg_answers: counter "confirm_answers",
        /// Events delivered from history, once for each receiver.
        events_replayed: counter "replayed_events",
        /// Live events that a receiver's replay brings, because more had come than may wait for it.
        events_left_to_replay: counter "replay_overtaken_events",
        /// Level: bytes of live runs that wait for replays.
        replay_held: level "replay_waiting_bytes",
        /// Level: bytes of history that were read and wait for their receivers.
        replay_read: level "replay_read_bytes",
        /// Events of history that were sent to peers, for their receivers.
        events_replayed_to_peers: counter "replayed_to_peers_events",
        /// Level: bytes of the history of runs that this core owned.
        history_bytes: level "history_bytes",
        /// Level: whole seconds that the history of this core reaches back.
        history_span_seconds: level "history_span_seconds",
        /// Events that were in the history of this core and are gone, because of its bytes or its
        /// age.
        history_evicted: counter "history_evicted_events",
        /// Level: members of groups.
        group_members: level "group_members",
        /// Events given to members of groups, those that were handed back included.
        group_given: counter "group_given_events",
        /// Events that members of groups have handed back, because they take none at the moment.
        group_handed_back: counter "group_handed_back_events",
        /// Events that were given to another member of their group, because the first one left or
        /// did not acknowledge them in time.
        group_redelivered: counter "group_redelivered_events",
        /// Level: runs that wait for a member of their group.
        group_waiting: level "group_waiting_runs",
        /// Level: bytes of runs that wait for a member of their group, or that their member has not
        /// acknowledged.
        group_held: level "group_held_bytes",
        /// Changes of the level in use, of all groups.
        group_switches: counter "group_switches",
        /// Level: tag sets whose publishers were told that nobody wants them.
        quenched_tag_sets: level "quenched_tag_sets",
        /// Tag sets whose publishers were told that nobody wants them, once for each time.
        quenches: counter "quenches",
        /// Tag sets whose publishers were told that somebody wants them again.
        unquenches: counter "unquenches",
        /// Publishers that did not answer in time that they know of a subscription.
        quench_left_out: counter "quench_left_out_publishers",
        /// Level: receivers that have a name.
        named_receivers: level "named_receivers",
        /// Events that name recipients, once however many they name.
        addressed_events: counter "addressed_events",
        /// Requests that ask for replies.
        requests: counter "requests",
        /// Level: requests that wait for replies, or whose deadline has passed since they were last
        /// looked through.
        open_requests: level "open_requests",
        /// Replies read from publishers.
        replies: counter "replies",
        /// Acknowledgements of tickets of a generation that has passed, or of none: they change
        /// nothing.
        stale_acks: counter "stale_ack",
        /// Events to which peers have added tags by other rules than this router's: a reload has
        /// not reached all routers.
        rules_mixed: counter "rules_mixed_events",
        /// Lane seqs that were skipped by peers without a gap frame: a defect of the peer.
        lane_skips: counter "lane_skips",
        /// Lanes whose peer began its runs with another epoch than the lane's: a defect of the
        /// peer.
        lane_epochs_wrong: counter "lane_epochs_wrong",
        /// Lanes closed because the peer stopped one of its streams, or reset its own, before its
        /// time.
        lane_stops: counter "lane_stops",
    }
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

/// What waits for receivers at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// Bytes in queues, above the streams.
    pub bytes: u64,
    /// Receivers that have any.
    pub receivers: u64,
    /// Receivers with a replay under way.
    pub replays: u64,
    /// Bytes in streams that the receivers' hosts have not acknowledged.
    pub ahead_bytes: u64,
    /// The part of it that belongs to the receiver with the most.
    pub ahead_bytes_most: u64,
    /// Events that the queue of one receiver has dropped since it was opened: of the one with the
    /// most.
    pub dropped_most: u64,
}
