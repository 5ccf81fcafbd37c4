//! The wire of Millrace: tags, selectors, ids, and every frame that crosses a connection.
//!
//! The crate has no I/O and no clock. Encoders append to a caller's `Vec<u8>`; decoders borrow from
//! the bytes they are given and check every length against a named bound in [`limits`] before they
//! use it. Decoding a byte string never panics. `docs/wire.md` is the same protocol in prose,
//! complete enough to write a client in another language.
//!
//! | module | what it holds |
//! |---|---|
//! | [`limits`] | every bound, with its reason |
//! | [`varint`], [`field`], [`frame`] | the three layers of framing: integers, tagged fields, frames |
//! | [`id`] | publisher, router, lane and receiver names |
//! | [`tag`] | tag sets in canonical form, and the shard they hash to |
//! | [`selector`] | the selector grammar and its meaning |
//! | [`rule`] | tags that routers add to events, by what was published |
//! | [`stream`] | preambles: what a unidirectional stream carries |
//! | [`run`], [`data`] | runs of events and the frames of data streams |
//! | [`control`], [`mesh`] | the frames of control streams: client to router, router to router |
//! | [`table`] | numbers that stand for tag sets and publishers on one stream |
//! | [`feature`] | what a side can read beyond the first version |
//! | [`proof`] | what proves a publisher, a client, a router, and the ids that follow |
//! | [`close`] | why a connection is closed |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod close;
pub mod control;
pub mod data;
pub mod error;
pub mod feature;
pub mod field;
pub mod frame;
pub mod id;
pub mod limits;
pub mod mesh;
pub mod proof;
mod protocol;
pub mod rule;
pub mod run;
pub mod selector;
pub mod stream;
pub mod table;
pub mod tag;
pub mod varint;

pub use close::CloseCode;
pub use error::DecodeError;
pub use feature::Features;
pub use id::{
    ClusterId, Epoch, Incarnation, PublisherId, PublisherKey, ReceiverNumber, RouterId, SubscriptionNumber,
};
pub use proof::{PublisherSecret, Token};
pub use protocol::{ALPN_CLIENT, ALPN_PEER, DEFAULT_PORT, PROTOCOL_VERSION};
pub use selector::{Selector, SelectorError};
pub use tag::{Shard, TagSet, TagSetRef};
