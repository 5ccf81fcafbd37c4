//! Mailboxes between the cores of a router: bounded rings with one writer and one reader, and the
//! bell that wakes a reader that sleeps.
//!
//! ```text
//! writer: push, push, …, ring ──► one load while the reader is awake
//! reader: … nothing to do? lie_down, look once more, sleep, get_up, pop, pop, …
//! ```
//!
//! A reader that is about to sleep says so with [`Doorbell::lie_down`], looks at its mailboxes once
//! more, and only then sleeps. A writer pushes and then rings; the first ring behind that wakes the
//! reader, all others cost one load. One of the two always sees the other: both sides order their
//! two steps with a sequentially consistent fence. One bell serves all mailboxes of a reader.
//!
//! A mailbox never blocks and never allocates after it was made. Nothing here knows what is
//! carried, or how a thread sleeps. When one end is dropped, the other goes on as if its peer were
//! busy for ever; what is left in the mailbox is dropped with the second end.
//!
//! All of it is checked by loom (`RUSTFLAGS="--cfg loom" cargo test --release -p millrace-mailbox
//! --test loom`), with the source that ships: `sync.rs` alone differs.
//!
//! ```
//! use std::thread;
//!
//! use millrace_mailbox::{Doorbell, mailbox};
//!
//! let reader = thread::current();
//! let bell = Doorbell::new(move || reader.unpark());
//! let (mut outbox, mut inbox) = mailbox::<u32>(4, &bell);
//! let writer = thread::spawn(move || {
//!     outbox.push(7).unwrap();
//!     outbox.ring();
//! });
//! let value = loop {
//!     bell.lie_down();
//!     if inbox.is_empty() {
//!         thread::park();
//!     }
//!     bell.get_up();
//!     if let Some(value) = inbox.pop() {
//!         break value;
//!     }
//! };
//! assert_eq!(value, 7);
//! # writer.join().unwrap();
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod bell;
mod outbox;
mod ring;
mod sync;

pub use crate::bell::Doorbell;
pub use crate::outbox::{Outbox, mailbox};
pub use crate::ring::Inbox;
