//! Markers: what stands in a data stream beside runs and says something about them.

use super::kind;
use crate::control::{message, wire_enum};
use crate::frame;
use crate::id::{Incarnation, ReceiverNumber, RouterId, SubscriptionNumber};

wire_enum! {
    /// Why events are missing at this place of a stream.
    pub enum GapReason, unknown Other {
        /// One that this version does not know.
        0 Other = "other",
        /// The receiver's own queue overflowed.
        1 Overflow = "overflow",
        /// The link to the router that the events entered through was lost.
        2 RouterLost = "router_lost",
        /// A link between routers could not take more.
        3 LaneOverflow = "lane_overflow",
        /// A core could not take more.
        4 MailboxOverflow = "mailbox_overflow",
        /// The subscription began while events were already flowing at a router that did not know
        /// it yet.
        5 Joined = "joined",
        /// The session that carried the stream was lost and could not be resumed.
        6 SessionLost = "session_lost",
        /// The event does not fit this stream's bounds.
        7 TooLarge = "too_large",
        /// The receiver's payload patterns would have cost more than its budget: the events were
        /// not looked at.
        8 PatternBudget = "pattern_budget",
        /// A rule was not applied for want of time: tags that the receiver asks for may be missing
        /// from what it did not get.
        9 Rules = "rules",
        /// A standby publisher took over, and nobody can tell what lies between.
        10 Takeover = "takeover",
        /// History did not reach back far enough.
        11 Evicted = "evicted",
        /// Live events overtook a replay, more than were held for it.
        12 Overrun = "overrun",
        /// The events' time was over before they could be delivered.
        13 Expired = "expired",
        /// Who forwards or spools events let the oldest go.
        14 Shed = "shed",
    }
}

message! {
    /// A gap marker: stands where events are missing.
    pub struct Gap = kind::GAP {
        /// Why.
        1 reason: GapReason,
        /// How many events are missing, where that is known; 0 otherwise.
        2 events: u64,
        /// The router that the missing events entered through; absent: any.
        3 router: Option<RouterId>,
    }
}

message! {
    /// A gap marker on the stream of all receivers.
    pub struct ReceiverGap = kind::RECEIVER_GAP {
        /// Why.
        1 reason: GapReason,
        /// How many events each of the receivers missed, where that is known; 0 otherwise.
        2 events: u64,
        /// The router that the missing events entered through; absent: any.
        3 router: Option<RouterId>,
        /// The receivers that missed them; none: all that are open.
        4 receivers: Vec<ReceiverNumber>,
    }
}

wire_enum! {
    /// Why a receiver ends.
    pub enum EndReason, unknown Other {
        /// One that this version does not know: the message says more.
        0 Other = "other",
        /// The client closed it.
        1 Closed = "closed",
        /// Its queue overflowed, and its policy says so.
        2 Overflow = "overflow",
        /// It was moved to another router, and everything up to there was delivered.
        3 Moved = "moved",
        /// Another receiver of its name took its place.
        4 Replaced = "replaced",
        /// Its identity may not receive this any more.
        5 Forbidden = "forbidden",
        /// The router goes away.
        6 GoingAway = "going_away",
    }
}

message! {
    /// A receiver ends here, on the stream of all receivers: nothing for it follows, and its number
    /// is free.
    pub struct ReceiverEnd = kind::RECEIVER_END {
        /// The receiver.
        1 receiver: ReceiverNumber,
        /// Why.
        2 reason: EndReason,
        /// Events that waited for it and were dropped.
        3 dropped: u64,
        /// For people.
        4 message: String,
    }
}

message! {
    /// How far the receivers of this stream are: what entered before these positions was delivered,
    /// or is not for them.
    pub struct Cursor = kind::CURSOR {
        /// Numbers of sources.
        1 sources: Vec<u64>,
        /// A position for each, in the same order.
        2 positions: Vec<u64>,
        /// The receivers; none: all that are open and not in a replay.
        3 receivers: Vec<ReceiverNumber>,
    }
}

message! {
    /// A replay of one source's history begins here, or has ended.
    pub struct Replay = kind::REPLAY {
        /// The receiver.
        1 receiver: ReceiverNumber,
        /// The router whose history it is.
        2 router: RouterId,
        /// Its process life.
        3 incarnation: Incarnation,
        /// The core that owned the runs.
        4 owner: u16,
        /// First position that is replayed.
        5 from: u64,
        /// Position up to which it is replayed; live runs begin with it.
        6 to: u64,
        /// Oldest position that is kept.
        7 oldest_kept: u64,
        /// The replay has ended: the receiver has joined at `to`.
        8 joined: bool,
        /// The subscription that is replayed for; 0 between routers.
        9 subscription: SubscriptionNumber,
    }
}

message! {
    /// A mark: everything that was routed before it was asked for stands before it. It answers all
    /// marks of lower numbers that were asked for, too.
    pub struct Mark = kind::MARK {
        /// Its number, as it was asked for.
        1 number: u64,
        /// The receivers that it is for; on a stream of one receiver and between routers: none.
        2 receivers: Vec<ReceiverNumber>,
        /// A router could not be asked, so that what it had routed may come later.
        3 partial: bool,
    }
}

/// Appends a wish to be told what was received. Its body is kept for fields of later versions.
pub fn put_report(out: &mut Vec<u8>) {
    frame::put(out, kind::REPORT, |_| {});
}
