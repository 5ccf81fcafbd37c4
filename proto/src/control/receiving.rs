//! Frames about receivers: opening, subscriptions, flow.

use super::kind;
use crate::control::{message, wire_enum};
use crate::id::RouterId;

wire_enum! {
    /// What happens when a receiver's queue is full.
    pub enum OverflowPolicy {
        /// The oldest queued events give way; a gap marker stands where they were.
        0 DropOldest = "drop-oldest",
        /// New events are not queued; a gap marker stands where they would be.
        1 DropNewest = "drop-newest",
        /// Publishers whose events match lose credit. Needs confirm level `routed` or above.
        2 Block = "block",
        /// The connection is closed with `overflow`.
        3 Disconnect = "disconnect",
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
    pub enum Stage {
        /// Events that enter through this router match it.
        1 Router = "router",
        /// Events that enter through any router of the cluster match it, but for those left out.
        2 Cluster = "cluster",
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
        /// Addresses of the mesh at which no router has answered: whoever may be there, too, was left out.
        5 unanswered: u64,
    }
}

wire_enum! {
    /// Why a request was refused.
    pub enum RefusedReason {
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
    }
}

message! {
    /// How much the router may write to a receiver's stream.
    pub struct Grant = kind::GRANT {
        /// The receiver.
        1 receiver: crate::id::ReceiverNumber,
        /// Bytes of the stream, counted behind its preamble, that may have been written. Never decreases; a smaller value
        /// than before is ignored. Definitions and gaps count like runs.
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
