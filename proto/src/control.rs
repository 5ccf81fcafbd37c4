//! Control frames between a client and its router, on the bidirectional stream that the client opens first.
//!
//! Every body is a sequence of [fields](crate::field); an absent integer is 0, an absent text empty, an absent list empty.
//! The client says [`Hello`] first, the router answers [`Welcome`]; nothing else is sent before. Both may [`Ping`].
//!
//! | direction | frames |
//! |---|---|
//! | client → router | Hello, OpenReceiver, Subscribe, Unsubscribe, Grant, CloseReceiver, Ping, Pong |
//! | router → client | Welcome, Credit, Received, Subscribed, Refused, ReceiverClosed, Goaway, Ping, Pong |

use crate::error::DecodeError;
use crate::field::{self, Field, Fields};
use crate::frame;
use crate::id::{Incarnation, RouterId};
use crate::limits;

/// Frame types of control streams. 0x30–0x33 and 0x44–0x47 are kept for confirms, outcomes and quench.
pub mod kind {
    #![allow(missing_docs, reason = "each is documented at the message of the same name")]
    pub const HELLO: u64 = 0x20;
    pub const WELCOME: u64 = 0x22;
    pub const PING: u64 = 0x24;
    pub const PONG: u64 = 0x26;
    pub const GOAWAY: u64 = 0x28;
    pub const CREDIT: u64 = 0x2a;
    pub const RECEIVED: u64 = 0x2c;
    pub const OPEN_RECEIVER: u64 = 0x34;
    pub const SUBSCRIBE: u64 = 0x36;
    pub const UNSUBSCRIBE: u64 = 0x38;
    pub const SUBSCRIBED: u64 = 0x3a;
    pub const REFUSED: u64 = 0x3c;
    pub const GRANT: u64 = 0x3e;
    pub const CLOSE_RECEIVER: u64 = 0x40;
    pub const RECEIVER_CLOSED: u64 = 0x42;
}

/// A type that can be a field's value.
pub trait Value: Sized + Default {
    /// Appends the field; writes nothing for the default value.
    fn put(&self, number: u64, out: &mut Vec<u8>);
    /// Takes one occurrence of the field.
    ///
    /// # Errors
    /// [`DecodeError`] when the value is malformed or beyond its bound.
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError>;
}

impl Value for u64 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if *self != 0 {
            field::put_u64(out, number, *self);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.u64(what)?;
        Ok(())
    }
}

impl Value for u32 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.u32(what)?;
        Ok(())
    }
}

impl Value for u16 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Self::try_from(field.u64(what)?).map_err(|_| DecodeError::Malformed { what })?;
        Ok(())
    }
}

impl Value for bool {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.u64(what)? != 0;
        Ok(())
    }
}

impl Value for String {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.is_empty() {
            field::put_str(out, number, self);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.text(limits::TEXT_BYTES_MAX, what)?.to_owned();
        Ok(())
    }
}

macro_rules! fixed {
    ($($name:ident),*) => {$(
        impl Value for $name {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                if self.0 != 0 {
                    field::put_fixed64(out, number, self.0);
                }
            }
            fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
                self.0 = field.fixed64(what)?;
                Ok(())
            }
        }
    )*};
}
fixed!(RouterId, Incarnation);

macro_rules! small {
    ($($name:ident),*) => {$(
        impl Value for crate::id::$name {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                self.0.put(number, out);
            }
            fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
                self.0.merge(field, what)
            }
        }
    )*};
}
small!(ReceiverNumber, SubscriptionNumber);

impl Value for Option<u64> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(value) = self {
            field::put_u64(out, number, *value);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Some(field.u64(what)?);
        Ok(())
    }
}

impl Value for Option<RouterId> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(value) = self {
            field::put_fixed64(out, number, value.0);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Some(RouterId(field.fixed64(what)?));
        Ok(())
    }
}

/// A type that can be repeated: a list is one field per element.
pub trait Element: Sized {
    /// Most elements that a list of these may have.
    const LIST_MAX: usize;
    /// Appends one element as a field.
    fn put_one(&self, number: u64, out: &mut Vec<u8>);
    /// Reads one element.
    ///
    /// # Errors
    /// [`DecodeError`] when it is malformed or beyond its bound.
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError>;
}

impl<T: Element> Value for Vec<T> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for element in self {
            element.put_one(number, out);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        if self.len() == T::LIST_MAX {
            return Err(DecodeError::Limit { what });
        }
        self.push(T::read(field, what)?);
        Ok(())
    }
}

/// Selectors and addresses travel as text; selectors are the longest.
impl Element for String {
    const LIST_MAX: usize = limits::SELECTORS_PER_RECEIVER_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_str(out, number, self);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(field.text(limits::SELECTOR_BYTES_MAX, what)?.to_owned())
    }
}

impl Element for RouterId {
    const LIST_MAX: usize = limits::ROUTERS_PER_FRAME_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_fixed64(out, number, self.0);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(field.fixed64(what)?))
    }
}

impl Element for u64 {
    const LIST_MAX: usize = 4096;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_u64(out, number, *self);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        field.u64(what)
    }
}

/// Defines a message: a struct whose fields have numbers, with its encoder and decoder.
macro_rules! message {
    ($(#[$doc:meta])* pub struct $name:ident = $kind:path { $($(#[$field_doc:meta])* $number:literal $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            /// Its frame type.
            pub const KIND: u64 = $kind;

            /// Appends the frame.
            pub fn encode(&self, out: &mut Vec<u8>) {
                crate::frame::put(out, Self::KIND, |body| self.encode_fields(body));
            }

            /// Appends the fields without a frame around them.
            pub fn encode_fields(&self, body: &mut Vec<u8>) {
                let _ = &body;
                $(crate::control::Value::put(&self.$field, $number, body);)*
            }

            /// Decodes a frame's body.
            ///
            /// # Errors
            /// [`DecodeError`](crate::DecodeError) when a field is malformed or beyond its bound.
            pub fn decode(body: &[u8]) -> Result<Self, crate::DecodeError> {
                #[allow(unused_mut, reason = "a message may have no fields")]
                let mut message = Self::default();
                for field in crate::field::Fields::new(body) {
                    let field = field?;
                    match field.number {
                        $($number => crate::control::Value::merge(&mut message.$field, &field, stringify!($field))?,)*
                        _ => {}
                    }
                }
                Ok(message)
            }
        }
    };
}
pub(crate) use message;

/// Defines an enum with numbers on the wire and names in metrics; the first variant is the default.
macro_rules! wire_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[$first_doc:meta])* $first_number:literal $first:ident = $first_text:literal, $($(#[$variant_doc:meta])* $number:literal $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub enum $name { $(#[$first_doc])* #[default] $first = $first_number, $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$variant,)*];

            /// Its name in metrics and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { Self::$first => $first_text, $(Self::$variant => $text,)* }
            }
        }

        impl crate::control::Value for $name {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                crate::field::put_u64(out, number, *self as u64);
            }
            fn merge(&mut self, field: &crate::field::Field<'_>, what: &'static str) -> Result<(), crate::DecodeError> {
                let value = field.u64(what)?;
                *self = Self::ALL.iter().copied().find(|&known| known as u64 == value).ok_or(crate::DecodeError::Malformed { what })?;
                Ok(())
            }
        }
    };
}
pub(crate) use wire_enum;

/// What a reader of data streams can hold, announced before they start.
///
/// Zero means the default of the side that announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCapacity {
    /// Tag sets at once.
    pub tag_sets: u64,
    /// Bytes of canonical tag sets at once.
    pub tag_bytes: u64,
    /// Publishers at once.
    pub publishers: u64,
}

impl TableCapacity {
    /// The default of a client's side of a stream.
    pub const CLIENT: Self = Self {
        tag_sets: limits::CLIENT_TABLE_ENTRIES,
        tag_bytes: limits::CLIENT_TABLE_BYTES,
        publishers: limits::TABLE_PUBLISHERS,
    };
    /// The default of a lane.
    pub const LANE: Self = Self {
        tag_sets: limits::LANE_TABLE_ENTRIES,
        tag_bytes: limits::LANE_TABLE_BYTES,
        publishers: limits::LANE_TABLE_PUBLISHERS,
    };
}

impl Default for TableCapacity {
    fn default() -> Self {
        Self::CLIENT
    }
}

impl Value for TableCapacity {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        field::put_nested(out, number, |value| {
            field::put_u64(value, 1, self.tag_sets);
            field::put_u64(value, 2, self.tag_bytes);
            field::put_u64(value, 3, self.publishers);
        });
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        for item in Fields::new(field.value) {
            let item = item?;
            match item.number {
                1 => self.tag_sets = item.u64(what)?,
                2 => self.tag_bytes = item.u64(what)?,
                3 => self.publishers = item.u64(what)?,
                _ => {}
            }
        }
        Ok(())
    }
}

message! {
    /// The client's first frame.
    pub struct Hello = kind::HELLO {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        1 version: u64,
        /// The client's software, for operators: `millrace-client/0.1.0`.
        2 software: String,
        /// What the client's readers can hold, for each receiver's stream.
        3 tables: TableCapacity,
        /// Receivers that the client may open, at most.
        4 receivers: u32,
    }
}

message! {
    /// The router's answer to [`Hello`].
    pub struct Welcome = kind::WELCOME {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        1 version: u64,
        /// The router.
        2 router: RouterId,
        /// Its process life.
        3 incarnation: Incarnation,
        /// Its cores: a publisher with many tag sets may open a connection per core and split by shard.
        4 cores: u16,
        /// The core that this connection is on.
        5 core: u16,
        /// What the router's readers can hold, for the publish stream.
        6 tables: TableCapacity,
        /// Receivers that this connection may carry.
        7 receivers_max: u32,
        /// Addresses of other routers, for when this one goes away.
        8 alternates: Vec<String>,
        /// Silence after which the router counts the session as dead, microseconds.
        9 silence_us: u64,
        /// The router's software.
        10 software: String,
    }
}

message! {
    /// Are you there? Either side, any time after Hello and Welcome.
    pub struct Ping = kind::PING {
        /// Comes back in [`Pong`].
        1 nonce: u64,
    }
}

message! {
    /// Yes.
    pub struct Pong = kind::PONG {
        /// From the [`Ping`].
        1 nonce: u64,
    }
}

message! {
    /// The router is going away: move within the delay.
    pub struct Goaway = kind::GOAWAY {
        /// How long this client should wait before it moves, microseconds: spread over the grace, per client.
        1 delay_us: u64,
        /// Routers to move to.
        2 alternates: Vec<String>,
        /// Why, for people.
        3 reason: String,
        /// When the router will close what is left, microseconds from now.
        4 grace_us: u64,
    }
}

message! {
    /// How much the publisher may write.
    pub struct Credit = kind::CREDIT {
        /// Bytes of the publish stream, counted from its start, that may have been written. Never decreases.
        1 bytes: u64,
    }
}

message! {
    /// The router has read everything of this publisher up to a seq.
    pub struct Received = kind::RECEIVED {
        /// The publisher's number on the publish stream.
        1 publisher: u64,
        /// One past the last seq that was read: the first seq not received.
        2 next_seq: u64,
    }
}

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
        /// Bytes of the stream behind its preamble that may have been written. Never decreases.
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

/// Any frame of a control stream between client and router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the message of the same name")]
pub enum ControlFrame {
    Hello(Hello),
    Welcome(Welcome),
    Ping(Ping),
    Pong(Pong),
    Goaway(Goaway),
    Credit(Credit),
    Received(Received),
    OpenReceiver(OpenReceiver),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Subscribed(Subscribed),
    Refused(Refused),
    Grant(Grant),
    CloseReceiver(CloseReceiver),
    ReceiverClosed(ReceiverClosed),
    /// A frame that this version skips.
    Skipped {
        /// Its type.
        kind: u64,
    },
}

macro_rules! frames {
    ($($name:ident),*) => {
        impl ControlFrame {
            /// Decodes one frame that was split off a control stream.
            ///
            /// # Errors
            /// [`DecodeError`] for malformed, oversized and unknown must-understand frames.
            pub fn decode(kind: u64, body: &[u8]) -> Result<Self, DecodeError> {
                match kind {
                    $($name::KIND => Ok(Self::$name($name::decode(body)?)),)*
                    _ => frame::skip_unknown(kind).map(|()| Self::Skipped { kind }),
                }
            }

            /// Appends the frame. Skipped frames write nothing.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(message) => message.encode(out),)*
                    Self::Skipped { .. } => {}
                }
            }
        }
    };
}
frames!(
    Hello,
    Welcome,
    Ping,
    Pong,
    Goaway,
    Credit,
    Received,
    OpenReceiver,
    Subscribe,
    Unsubscribe,
    Subscribed,
    Refused,
    Grant,
    CloseReceiver,
    ReceiverClosed
);
