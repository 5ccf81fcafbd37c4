//! The sans-IO middle of a core: connections, their timers and queues, admission and the steering
//! guard.
//!
//! The caller owns the clock, the [`Network`] and the [`App`], and repeats these steps, with the
//! same `now` within a step:
//!
//! 1. [`Driver::handle_buffer`] for datagrams that arrived, [`Driver::inject`] for those that
//!    siblings passed on;
//! 2. [`Driver::hear_aside`] for packets that gave way to others, and [`Driver::begin_turn`]:
//!    begins some of the handshakes that wait;
//! 3. [`Driver::fire_next`] until no timer is due;
//! 4. [`Driver::dispatch_next`] until no connection in use has events: calls the app; then
//!    [`Driver::dispatch_aside`] for those that begin or end;
//! 5. [`Driver::transmit_next`] until no connection in use has packets: gives them to the network;
//!    then [`Driver::transmit_aside`];
//! 6. sleep until [`Driver::next_timeout`], unless [`Driver::has_work`].
//!
//! Steps 3 to 5 do the work of one connection per call, so that the caller can stop at any point
//! and go on later. Queues are first in, first out, which makes every round a round robin. The same
//! inputs give the same outputs, because time and the seed of all randomness (but for that of TLS)
//! come from outside.

mod admission;
mod bucket;
mod dial;
mod dispatch;
mod door;
mod line;
mod machine;
mod prefixes;
mod receive;
mod setting_aside;
mod slots;
mod streams;
mod timers;
mod transmit;
mod waiting;

pub use machine::{Driver, DriverSettings};

#[cfg(doc)]
use crate::{App, Network};
