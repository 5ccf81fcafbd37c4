//! Frames about a connection's publish stream: what may be written, what was read, what became of
//! it, and what is wanted.

use super::kind;
use super::ranges::SeqRanges;
use crate::control::{message, record, wire_enum};
use crate::limits;

message! {
    /// How much the publisher may write.
    pub struct Credit = kind::CREDIT {
        /// Bytes of the publish stream, counted from its first byte (the preamble included), that
        /// may have been written. Never decreases; a smaller value than before is ignored. Without
        /// a credit nothing may be written.
        1 bytes: u64,
    }
}

message! {
    /// The router has read everything of this publisher up to a seq. It says nothing about who got
    /// it.
    ///
    /// Sent when 64 KiB more were read, when a Report on the publish stream asks, or as long after
    /// the first untold run as [`Hello::received_within_us`](super::Hello::received_within_us)
    /// allows (20 ms when it says nothing), whichever is first. It may always come earlier.
    pub struct Received = kind::RECEIVED {
        /// The publisher's number on the publish stream, as it was defined there last.
        1 publisher: u64,
        /// One past the last seq that was read: the first seq not received. Everything below it in
        /// this epoch is received, for seqs are gapless. Never decreases for one publisher and
        /// epoch.
        2 next_seq: u64,
    }
}

wire_enum! {
    /// How events ended for their publisher.
    pub enum OutcomeKind, unknown Other {
        /// One that this version does not know: final, and not confirmed.
        0 Other = "other",
        /// At every receiver that matched, as far as the level asks.
        1 Confirmed = "confirmed",
        /// Not at all of them.
        2 Partial = "partial",
        /// At none.
        3 Dropped = "dropped",
        /// Nobody can tell. Client libraries say so of what was unanswered when a connection was
        /// lost.
        4 Unknown = "unknown",
    }
}

wire_enum! {
    /// Why an event is not confirmed, or not at a receiver.
    pub enum OutcomeReason, unknown Other {
        /// One that this version does not know.
        0 Other = "other",
        /// A receiver's queue overflowed.
        1 Overflow = "overflow",
        /// The link to a router with receivers was lost or suspect.
        2 PeerLost = "peer_lost",
        /// A receiver went away before it took the event.
        3 Departed = "departed",
        /// A payload pattern was not applied, because its receiver's budget was used up.
        4 PatternBudget = "pattern_budget",
        /// Not answered within the confirm timeout.
        5 Timeout = "timeout",
        /// No member of a group could take it for as long as groups hold events.
        6 GroupUnavailable = "group_unavailable",
        /// Members of a group were given it as often as allowed, and none acknowledged it.
        7 GroupAttempts = "group_attempts",
        /// Its time was over.
        8 Expired = "expired",
        /// Fewer receivers than the publisher asked for.
        9 FewReceivers = "few_receivers",
        /// A receiver or a router has no room: send it again later.
        10 Busy = "busy",
        /// No receiver has the name.
        11 NoReceiver = "no_receiver",
        /// The publisher's identity may not publish this.
        12 Forbidden = "forbidden",
        /// The publisher's set has a newer generation.
        13 Fenced = "fenced",
        /// It has passed as many clusters as it may, or this one before.
        14 ClusterPath = "cluster_path",
        /// A link between routers could not take more.
        15 LaneOverflow = "lane_overflow",
        /// A core could not take more.
        16 MailboxOverflow = "mailbox_overflow",
        /// It does not fit a stream's bounds.
        17 TooLarge = "too_large",
        /// The receiver's application refused it.
        18 Refused = "refused",
        /// The receiver or the router that it is at does not list confirms, so that it cannot
        /// acknowledge.
        19 CannotAcknowledge = "cannot_acknowledge",
    }
}

record! {
    /// What became of an event at one recipient that it named.
    pub struct RecipientOutcome, at most limits::RECIPIENTS_MAX {
        /// The recipient.
        1 name: String,
        /// How it ended there.
        2 kind: OutcomeKind,
        /// Why, if it is not confirmed.
        3 reason: OutcomeReason,
    }
}

message! {
    /// How events ended that the publisher asked a confirm level for. Final: each event is told
    /// once.
    pub struct Outcome = kind::OUTCOME {
        /// The publisher's number on the publish stream, as it was defined there last.
        1 publisher: u64,
        /// How they ended.
        2 kind: OutcomeKind,
        /// Which: seqs of the publisher's epoch.
        3 seqs: SeqRanges,
        /// How many receivers each of them is confirmed at.
        4 receivers: u64,
        /// How many receivers each of them missed.
        5 missed: u64,
        /// Why, for all but confirmed ones.
        6 reasons: Vec<OutcomeReason>,
        /// For events with recipients: how they ended at each.
        7 recipients: Vec<RecipientOutcome>,
    }
}

message! {
    /// Nobody wants events of these tag sets: the publisher may stop sending them.
    ///
    /// A number that was defined anew behind `read` is not meant: the frame was written before the
    /// router knew.
    pub struct Quench = kind::QUENCH {
        /// Rises by one with each Quench and Unquench of a connection.
        1 version: u64,
        /// Numbers of tag sets on the publish stream.
        2 tag_sets: Vec<u64>,
        /// Bytes of the publish stream that the router had read.
        3 read: u64,
    }
}

message! {
    /// Somebody wants events of these tag sets. Answered by [`Quenched`].
    pub struct Unquench = kind::UNQUENCH {
        /// Rises by one with each Quench and Unquench of a connection.
        1 version: u64,
        /// Numbers of tag sets on the publish stream; none: all of them.
        2 tag_sets: Vec<u64>,
        /// Bytes of the publish stream that the router had read.
        3 read: u64,
    }
}

message! {
    /// The publisher has applied quenches and unquenches up to a version.
    pub struct Quenched = kind::QUENCHED {
        /// The version.
        1 version: u64,
    }
}

message! {
    /// What a far cluster wants, told to who forwards events to it: wide selectors, so that nothing
    /// is sent for nobody.
    pub struct Demand = kind::DEMAND {
        /// Rises by one with each change.
        1 version: u64,
        /// Forget everything before this frame.
        2 reset: bool,
        /// More frames of this version follow.
        3 more: bool,
        /// Selectors in canonical text.
        4 add: Vec<String>,
        /// Selectors that are gone.
        5 remove: Vec<String>,
        /// In the last frame of a version: what is let in; none: everything.
        6 accept: Vec<String>,
        /// Those of `add` that no receiver wants, but links to further clusters select.
        7 links: Vec<String>,
    }
}

message! {
    /// How far a request is: told to who made it, and to who replies to one that is over.
    pub struct Replies = kind::REPLIES {
        /// The requester's number of the request; absent for who replied.
        1 request: Option<u64>,
        /// How many receivers matched it.
        2 receivers: u64,
        /// Whether more replies may come, and why not.
        3 end: ReplyEnd,
        /// The reply token that the frame is about, for who replied.
        4 token: Vec<u8>,
    }
}

wire_enum! {
    /// Whether and why no more replies come.
    pub enum ReplyEnd, unknown Other {
        /// More may come.
        0 Open = "open",
        /// All receivers have replied.
        1 Complete = "complete",
        /// The deadline has passed.
        2 Deadline = "deadline",
        /// No receiver matched.
        3 NoReceiver = "no_receiver",
        /// The requester is gone, or its token does not fit.
        4 RequesterGone = "requester_gone",
        /// One that this version does not know.
        63 Other = "other",
    }
}
