//! Outlets: each writes runs to one stream, or to one sibling core's mailbox.
//!
//! A run is either *written* (encoded behind what was written before; never dropped after that) or
//! *queued* (kept apart from the stream's tables, so that it can still be dropped). It is written
//! at once while nothing is queued, and what is encoded and waits is below its bound. Numbers are
//! assigned when a run is written, so a drop never leaves a number that the reader does not know.
//!
//! ```text
//! push → [ queue: runs and gaps, bounded, drops by policy ] → [ encoder: tables, bytes ] → transport or mailbox
//! ```
//!
//! | file | what |
//! |---|---|
//! | `encoder.rs` | numbers and frames: what all outlets share |
//! | `queue.rs` | what waits and may be dropped |
//! | `client.rs` | the stream to a client, and the queue of a receiver that drains into it |
//! | `piece.rs` | the parts of what was encoded for a client |
//! | `ahead.rs` | how far a client's stream may run ahead of its host |
//! | `backlogged.rs` | how fast a receiver takes what waits for it |
//! | `held.rs` | live runs that wait for a replay |
//! | `lane.rs` | the stream to a peer: numbers its runs |
//! | `mailbox.rs` | batches for a sibling core |
//! | `forward.rs` | runs for links to other clusters |
//! | `stretch.rs` | a stretch of history for a peer |

mod ahead;
mod backlogged;
mod client;
mod encoder;
mod forward;
mod held;
mod lane;
mod mailbox;
mod piece;
mod queue;
mod stretch;
mod total;

pub(super) use ahead::{Ahead, Wakes};
pub(super) use backlogged::{Backlogged, per_second};
pub(super) use client::{DeliveryStream, LINGER_BYTES, ReceiverQueue};
pub(super) use forward::ForwardOutlet;
pub(super) use held::{HeldBudget, HeldRuns};
pub(super) use lane::LaneOutlet;
pub(super) use mailbox::MailboxOutlet;
pub(super) use queue::{Overflow, QueuePolicy};
pub(super) use stretch::stretch;
pub(super) use total::{Charge, Total};
