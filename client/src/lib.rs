//! The Millrace client library: publish events, receive events.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod session;
pub mod time;

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
#[cfg(feature = "tokio")]
mod targets;
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
    receiver::{Receiver, ReceiverOptions, SubscribeError, Subscription},
    tls::TlsError,
};
