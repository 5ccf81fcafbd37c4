//! Frames about receivers: opening, subscriptions, flow, acknowledgements.

use super::kind;
use super::position::SourcePosition;
use super::ranges::SeqRanges;
use crate::control::{message, record, wire_enum};
use crate::id::RouterId;
use crate::limits;

wire_enum! {
    /// What happens when a receiver's queue is full.
    pub enum OverflowPolicy, unknown Other {
        /// The oldest queued events give way; a gap marker stands where they were.
        0 DropOldest = "drop-oldest",
        /// New events are not queued; a gap marker stands where they would be.
        1 DropNewest = "drop-newest",
        /// Publishers whose events match lose credit. Needs confirm level `routed` or above.
        2 Block = "block",
        /// The connection is closed with `overflow`; with one stream for all receivers, the
        /// receiver ends.
        3 Disconnect = "disconnect",
        /// One that this version does not know: refused.
        63 Other = "other",
    }
}

message! {
    /// Opens a receiver: one queue, one stream.
    pub struct OpenReceiver = kind::OPEN_RECEIVER {
        /// Its number, chosen by the client, below `receivers_max`.
        1 receiver: crate::id::ReceiverNumber,
        /// What happens when its queue is full.
        2 policy: OverflowPolicy,
        /// Bytes that its queue holds at most; 0 = the router's default; the router may hold less.
        3 queue_bytes: u64,
        /// How long the router may gather events before it writes them, microseconds.
        4 linger_us: u64,
        /// First grant: bytes of the stream that may be written.
        5 grant: u64,
        /// Its name, under which events are addressed to it; empty: none. A receiver has a name or
        /// a group.
        6 name: String,
        /// The group that it is a member of; empty: none. Then one member gets each event.
        7 group: String,
        /// Its level in the group, 1 to 8: lower ones are used first. 0 means 1.
        8 level: u32,
        /// Events that it may have without acknowledging them; 0: the router's default.
        9 max_inflight: u64,
        /// One member of the group gets everything, as long as it can.
        11 exclusive: bool,
    }
}

message! {
    /// Adds a subscription to a receiver, or replaces the one with this number.
    pub struct Subscribe = kind::SUBSCRIBE {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// Its subscription, chosen by the client.
        2 subscription: crate::id::SubscriptionNumber,
        /// Selectors, any of which may match.
        3 selectors: Vec<String>,
        /// What arrived at its routers this long ago, and since then, is replayed first,
        /// microseconds by their clocks; 0: nothing, unless there is a cursor.
        4 since_us: u64,
        /// What stands at these positions and behind them is replayed first; of an owner that is
        /// absent, what `since_us` says, and all that is kept when that is 0.
        5 cursor: Vec<SourcePosition>,
        /// Of each tag set, the newest event that is kept is replayed first, in place of all that
        /// `since_us` and `cursor` say, unless it is 0.
        6 last: u64,
    }
}

message! {
    /// Takes a subscription away.
    pub struct Unsubscribe = kind::UNSUBSCRIBE {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// Its subscription.
        2 subscription: crate::id::SubscriptionNumber,
    }
}

wire_enum! {
    /// How far a subscription has come.
    pub enum Stage, unknown Other {
        /// Events that enter through this router match it.
        1 Router = "router",
        /// Events that enter through any router of the cluster match it, but for those left out.
        2 Cluster = "cluster",
        /// One that this version does not know: says nothing.
        63 Other = "other",
    }
}

message! {
    /// A subscription has become effective.
    pub struct Subscribed = kind::SUBSCRIBED {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// Its subscription.
        2 subscription: crate::id::SubscriptionNumber,
        /// How far.
        3 stage: Stage,
        /// Routers that did not acknowledge it: linked but suspect, or known but not linked.
        4 left_out: Vec<RouterId>,
        /// Addresses of the mesh at which no router has answered: whoever may be there, too, was
        /// left out.
        5 unanswered: u64,
        /// Publishers that were told that somebody wants their events, and did not answer in time.
        8 left_out_publishers: Vec<crate::PublisherId>,
    }
}

wire_enum! {
    /// Why a request was refused.
    pub enum RefusedReason, unknown Other {
        /// One that this version does not know: the message says more.
        0 Other = "other",
        /// A selector cannot be read; the message names the column.
        1 Selector = "selector",
        /// A bound would be exceeded.
        2 Limit = "limit",
        /// The identity may not do this.
        3 Forbidden = "forbidden",
        /// The receiver is not open, or already is.
        4 Receiver = "receiver",
        /// This router cannot do it (a policy that needs a confirm level it does not offer).
        5 Unsupported = "unsupported",
        /// A payload pattern may cost more for each byte than a router spends.
        6 Pattern = "pattern",
        /// The router has no room for it at the moment: ask later, or elsewhere.
        7 Busy = "busy",
        /// The name of a receiver, group or set belongs to somebody else.
        8 Name = "name",
        /// The history that was asked for is not kept here, or its cursor cannot be read.
        9 History = "history",
        /// A publisher id is not proven, or is in use on another connection.
        10 Publisher = "publisher",
        /// A tag key that only routers set.
        11 ReservedKey = "reserved_key",
        /// A generation has passed: somebody else has taken over.
        12 Fenced = "fenced",
    }
}

message! {
    /// A request of the client was refused; nothing changed.
    pub struct Refused = kind::REFUSED {
        /// Why.
        1 reason: RefusedReason,
        /// The receiver that it was about.
        2 receiver: crate::id::ReceiverNumber,
        /// The subscription that it was about, if any.
        3 subscription: Option<u64>,
        /// For people: what was wrong and what to do.
        4 message: String,
        /// The publisher that it was about, if any: its number on the publish stream.
        5 publisher: Option<u64>,
    }
}

message! {
    /// How much the router may write to a receiver's stream.
    pub struct Grant = kind::GRANT {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// Bytes of the stream, counted behind its preamble, that may have been written. Never
        /// decreases; a smaller value than before is ignored. Definitions and gaps count like runs.
        2 bytes: u64,
    }
}

message! {
    /// Closes a receiver; its stream is finished behind what was already written.
    pub struct CloseReceiver = kind::CLOSE_RECEIVER {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
    }
}

message! {
    /// A receiver is gone; its number may be used again.
    pub struct ReceiverClosed = kind::RECEIVER_CLOSED {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// For people.
        2 reason: String,
    }
}

wire_enum! {
    /// What a receiver's application did with what it acknowledges.
    pub enum AckKind, unknown Other {
        /// It has taken it.
        1 Taken = "taken",
        /// It gives it back, for another member of its group.
        2 Refused = "refused",
        /// One that this version does not know: counts as not acknowledged.
        63 Other = "other",
    }
}

record! {
    /// The ticket of a group's copy, and its generation: one that has passed changes nothing.
    pub struct Ticket, at most limits::TICKETS_PER_FRAME_MAX {
        /// Its number.
        1 ticket: u64,
        /// How many times it was given out before.
        2 generation: u64,
    }
}

message! {
    /// What a receiver's application has done with runs. Each run is acknowledged once, in any
    /// order.
    pub struct Ack = kind::ACK {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// What it did.
        2 kind: AckKind,
        /// Runs without tickets, counted for the receiver from 0 in the order in which they stand
        /// in its stream.
        3 runs: SeqRanges,
        /// Tickets of runs that have one.
        4 tickets: Vec<Ticket>,
    }
}

message! {
    /// A receiver goes on elsewhere: deliver what entered before these positions, then end it. Or,
    /// with a mark: say in its stream where everything stands that any owner had routed before this
    /// frame was read; nothing ends.
    pub struct Move = kind::MOVE {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// For each owner, the position at which the other router took over.
        2 positions: Vec<SourcePosition>,
        /// More positions follow in another frame.
        3 more: bool,
        /// Number of the mark, above those of earlier ones; 0: none is asked for.
        4 mark: u64,
    }
}

message! {
    /// Whether a receiver, as a member of its group, takes events.
    pub struct Member = kind::MEMBER {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// It does not, until it says otherwise.
        2 busy: bool,
    }
}
