//! The Millrace client library: publish events, receive events.
//!
//! Publishing, to a router that speaks for an authority of one's own (with [`Config::default`], to
//! a router in dev mode on this host; its authority is found by itself):
//!
//! ```
//! use millrace_client::{Client, Config, PublisherOptions, TagSet, Trust};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let authority = millrace_router::DevAuthority::new()?;
//! # let router = millrace_router::Router::start(millrace_router::RouterConfig::new(authority.router("one", &[])?))?;
//! # let (address, ca_pem) = (router.addr().to_string(), authority.ca_pem());
//! let config = Config::new([address.parse()?]) // HOST, HOST:PORT or [IPV6]:PORT
//!     .trust(Trust::Pem(ca_pem.as_bytes().to_vec()));
//! let client = Client::new(config)?;
//! let publisher = client.publisher(PublisherOptions::default()).await?;
//! let tags = TagSet::from_texts(["host=web-1", "service=checkout"])?;
//! publisher.publish(&tags, "order 17 paid").await?;
//! let stats = publisher.close().await; // everything is received, or reported as unknown
//! assert_eq!(stats.received, 1);
//! client.close().await;
//! # router.stop(std::time::Duration::ZERO);
//! # Ok(())
//! # }
//! ```
//!
//! Receiving:
//!
//! ```
//! use millrace_client::{Client, Config, Item, ReceiverOptions, Trust};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use millrace_client::{PublisherOptions, TagSet};
//! # let authority = millrace_router::DevAuthority::new()?;
//! # let router = millrace_router::Router::start(millrace_router::RouterConfig::new(authority.router("one", &[])?))?;
//! # let config = Config::new([router.addr().to_string().parse()?])
//! #     .trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
//! let client = Client::new(config)?;
//! let mut receiver = client.receiver(ReceiverOptions::default()).await?;
//! let mut subscription = receiver.subscribe(["service=checkout,host=web-*", "payload ~ /paid$/"])?;
//! subscription.in_cluster().await?; // from here on nothing is missed
//! # let publisher = client.publisher(PublisherOptions::default()).await?;
//! # publisher.publish(&TagSet::from_texts(["host=web-1", "service=checkout"])?, "order 17 paid").await?;
//! while let Some(item) = receiver.next().await {
//!     match item {
//!         Item::Event(event) => {
//!             println!("{} {:?}", event.tags, event.payload);
//! #           assert_eq!(&event.payload[..], b"order 17 paid");
//!             break;
//!         }
//!         Item::Gap(gap) => println!("events are missing: {}", gap.reason.name()),
//!         _ => {}
//!     }
//! }
//! # assert_eq!(receiver.refused(), None);
//! # router.stop(std::time::Duration::ZERO);
//! # Ok(())
//! # }
//! ```
//!
//! What is promised: events of one tag set that enter through one router arrive in one order at
//! every receiver, except around a lost connection. Both sides reconnect by themselves. A publisher
//! reports events whose fate is unknown ([`Publisher::lost`]), or sends them again; a receiver
//! finds a [`Gap`] where events may be missing.
//!
//! Layers: [`session`] decides everything without I/O. The rest moves bytes between it, quinn and
//! the application, and is behind the default feature `tokio`.

#![cfg_attr(feature = "tokio", doc = "", doc = include_str!("../README.md"))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

#[cfg(feature = "tokio")]
mod address;
#[cfg(feature = "tokio")]
mod apart;
#[cfg(feature = "tokio")]
mod attaching;
#[cfg(feature = "tokio")]
mod change;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod clock;
#[cfg(feature = "tokio")]
mod config;
#[cfg(feature = "tokio")]
mod connector;
#[cfg(feature = "tokio")]
pub mod dev;
#[cfg(feature = "tokio")]
mod disconnect;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tokio")]
mod event;
#[cfg(feature = "tokio")]
mod levels;
#[cfg(feature = "tokio")]
mod link;
#[cfg(feature = "tokio")]
pub mod publisher;
#[cfg(feature = "tokio")]
pub mod receiver;
#[cfg(feature = "tokio")]
pub mod relay;
#[cfg(feature = "tokio")]
pub mod requests;
#[cfg(feature = "tokio")]
mod round_trips;
pub mod session;
#[cfg(feature = "tokio")]
mod setters;
pub mod spool;
#[cfg(feature = "tokio")]
mod tickets;
pub mod time;
#[cfg(feature = "tokio")]
mod tls;
#[cfg(feature = "tokio")]
mod turn;

pub use crate::session::publisher::{
    ConfirmLevel, GivenUp, Numbered, Outcome, OutcomeReason, Recipient, RecipientFate, SetWish, StandbyState,
};
pub use millrace_proto::control::{OverflowPolicy, RefusedReason};
pub use millrace_proto::id::EventId;
pub use millrace_proto::proof::Token;
pub use millrace_proto::tag::TagError;
pub use millrace_proto::{
    CloseCode, DecodeError, Epoch, PublisherId, PublisherKey, PublisherSecret, RouterId, Selector,
    SelectorError, Shard, SubscriptionNumber, TagSet, TagSetRef,
};

#[cfg(feature = "tokio")]
pub use crate::{
    address::{AddressError, RouterAddress},
    change::{Change, Changes},
    client::Client,
    config::{Config, EnvironmentError, Identity, RenewedIdentity, Trust},
    disconnect::Disconnect,
    error::ConnectError,
    event::{Event, Gap, GapReason, Item, ReplyTo},
    levels::RouterLevels,
    publisher::{
        Bundle, Confirmation, Connections, Lost, PublishError, Publisher, PublisherOptions, PublisherStats,
        Settled, SpoolOptions, StandbyOptions, Unconfirmed,
    },
    publisher::{ConnectionsError, HandlesExhausted, TagHandle, Tags},
    receiver::{
        Acknowledge, Batch, BatchEvent, BatchItem, Coverage, Receiver, ReceiverConnection, ReceiverOptions,
        ReceiverRefused, SubscribeError, Subscriber, Subscription, SubscriptionState, SubscriptionStream,
    },
    requests::{AskError, Replies, Request, RequestEnd, Requester, Wanted},
    session::{Cursor, CursorError},
    tls::TlsError,
};
