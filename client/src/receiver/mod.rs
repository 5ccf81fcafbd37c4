//! Receives events: the router keeps a queue for each receiver; one task for each connection reads
//! its streams and hands batches to the applications of its receivers.
//!
//! The task notices the death of its connection by its own pings, reconnects and asks again for
//! every subscription. It marks what a receiver may have missed with a [`Gap`](crate::Gap) of
//! [`GapReason::SessionLost`](crate::GapReason::SessionLost) in the receiver's stream. The router
//! sends one window more than the application takes, at most.
//!
//! A router may refuse the receiver itself: it does not support the policy, does not allow the
//! identity, or is full. The receiver's stream then ends, and [`Receiver::refused`] says why. Only
//! a receiver that was open before and finds the next router full goes on trying, with growing
//! pauses, because places become free and other routers may have some.

mod acks;
mod batch;
mod building;
mod connect;
mod cursor;
mod farewell;
mod following;
mod given;
mod hub;
mod inbox;
mod incoming;
mod members;
mod moving;
mod opening;
mod options;
mod present;
mod reading;
mod redundant;
mod sifting;
mod sorting;
mod state;
mod stream;
mod subscription;
mod task;
mod told;
mod wake;

pub use batch::{Batch, BatchEvent, BatchItem};
pub(crate) use connect::{begin, begin_unattached, connect, connect_with_publisher, join};
pub use given::Given;
pub(crate) use hub::{Hub, Place, Proof, SharedHub};
pub use options::{Acknowledge, ReceiverConnection, ReceiverOptions};
pub use reading::Receiver;
pub use state::{ReceiverRefused, SubscriptionState};
pub use stream::SubscriptionStream;
pub use subscription::{Coverage, SubscribeError, Subscriber, Subscription};
