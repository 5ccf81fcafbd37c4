//! The Millrace client library: publish events, receive events.
//!
//! An event is a payload and a set of tags. Publishers send events to any router of a cluster; receivers attach to any
//! router and say with selectors which events they want, whichever router those entered through.
//!
//! ```no_run
//! use millrace_client::{Client, Config, PublisherOptions, proto::TagSet};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // A router in dev mode on this host; its authority is found by itself.
//! let client = Client::new(Config::default())?;
//! let publisher = client.publisher(PublisherOptions::default()).await?;
//! let tags = TagSet::from_texts(["host=web-1", "service=checkout"])?;
//! publisher.publish(&tags, "order 17 paid").await?;
//! publisher.close().await;
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! ```no_run
//! use millrace_client::{Client, Config, Item, ReceiverOptions, Trust};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     routers: vec!["routers.example:7400".parse()?],
//!     trust: Trust::File("ca.pem".into()),
//!     ..Config::default()
//! };
//! let client = Client::new(config)?;
//! let mut receiver = client.receiver(ReceiverOptions::default()).await?;
//! let mut subscription = receiver.subscribe(["service=checkout,host=web-*", "payload ~ /paid$/"])?;
//! subscription.in_cluster().await?; // from here on nothing is missed
//! while let Some(item) = receiver.next().await {
//!     match item {
//!         Item::Event(event) => println!("{} {:?}", event.tags, event.payload),
//!         Item::Gap(gap) => println!("events are missing: {}", gap.reason.name()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is promised: events of one tag set that enter through one router arrive in one order at every receiver, except
//! around a lost connection. Both sides reconnect by themselves; a publisher reports events whose fate is unknown
//! ([`Publisher::lost`]), a receiver finds a [`Gap`] where events may be missing.
//!
//! Layers: [`session`] decides everything without I/O; the rest moves bytes between it, quinn and the application, and is
//! behind the default feature `tokio`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

#[cfg(feature = "tokio")]
mod address;
#[cfg(feature = "tokio")]
mod backoff;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod clock;
#[cfg(feature = "tokio")]
mod config;
pub mod dev;
#[cfg(feature = "tokio")]
mod disconnect;
#[cfg(feature = "tokio")]
mod event;
#[cfg(feature = "tokio")]
mod link;
#[cfg(feature = "tokio")]
pub mod publisher;
#[cfg(feature = "tokio")]
pub mod receiver;
pub mod session;
#[cfg(feature = "tokio")]
mod targets;
pub mod time;
#[cfg(feature = "tokio")]
mod tls;

pub use millrace_proto as proto;

#[cfg(feature = "tokio")]
pub use crate::{
    address::{AddressError, RouterAddress},
    client::{Client, ConnectError},
    config::{Config, Identity, Trust},
    disconnect::Disconnect,
    event::{Event, Gap, GapReason, Item},
    publisher::{Lost, PublishError, Publisher, PublisherOptions, PublisherStats},
    receiver::{Receiver, ReceiverOptions, ReceiverRefused, SubscribeError, Subscription},
    tls::TlsError,
};
