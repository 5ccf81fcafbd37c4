//! Receiving: one queue at the router for each receiver, one task for each connection that reads its streams and hands batches
//! to the applications of its receivers.
//!
//! The task notices the death of its connection by its own pings, reconnects and asks anew for every subscription. What
//! it may have missed in between is marked by a [`Gap`](crate::Gap) with
//! [`GapReason::SessionLost`](crate::GapReason::SessionLost) in its stream. The router sends no more than the application
//! takes, plus one window.
//!
//! A router may refuse the receiver itself: its policy is not supported, its identity not allowed, the router full. The
//! stream then ends, and [`Receiver::refused`] says why. Only a receiver that was open before and finds the next router
//! full goes on trying, with growing pauses: places become free, and other routers may have some.

mod acks;
mod batch;
mod connect;
mod hub;
mod inbox;
mod incoming;
mod options;
mod reading;
mod state;
mod stream;
mod subscription;
mod task;
mod wake;

pub use batch::{Batch, BatchEvent, BatchItem};
pub(crate) use connect::{begin, connect};
pub(crate) use hub::{Hub, Place, Proof, SharedHub};
pub use options::{Acknowledge, ReceiverConnection, ReceiverOptions};
pub use reading::Receiver;
pub use state::{ReceiverRefused, SubscriptionState};
pub use stream::SubscriptionStream;
pub use subscription::{Coverage, SubscribeError, Subscriber, Subscription};
