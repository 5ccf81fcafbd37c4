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
mod ring;
mod sync;

pub use crate::bell::Doorbell;
pub use crate::ring::Inbox;

use crate::sync::Arc;

/// The writing end of a mailbox, with its reader's bell.
#[derive(Debug)]
pub struct Outbox<T> {
    ring: ring::Writer<T>,
    bell: Arc<Doorbell>,
    rung: bool,
}

impl<T> Outbox<T> {
    /// Whether a push will be taken.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.ring.has_room()
    }

    /// Puts one in. [`Outbox::ring`] must follow before the writer sleeps.
    ///
    /// # Errors
    /// Gives it back when the mailbox is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        self.ring.push(value)?;
        self.rung = false;
        Ok(())
    }

    /// Wakes the reader if something was pushed since the last call and it sleeps.
    #[inline]
    pub fn ring(&mut self) {
        if !std::mem::replace(&mut self.rung, true) {
            self.bell.ring();
        }
    }

    /// Entries that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.ring.depth()
    }
}

/// A mailbox of `slots` entries, rounded up to a power of two, towards the reader with this bell.
///
/// # Panics
/// When `slots` is 0 or above 2³¹.
#[must_use]
pub fn mailbox<T>(slots: usize, bell: &Arc<Doorbell>) -> (Outbox<T>, Inbox<T>) {
    let (writer, inbox) = ring::ring(slots);
    (Outbox { ring: writer, bell: bell.clone(), rung: true }, inbox)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn sleeping_reader_gets_everything_in_order_and_is_woken_at_most_once_per_sleep() {
        const COUNT: usize = 100_000;
        let (woken, reader) = (Arc::new(AtomicUsize::new(0)), thread::current());
        let wakes = woken.clone();
        let bell = Doorbell::new(move || {
            wakes.fetch_add(1, Ordering::Relaxed);
            reader.unpark();
        });
        let (mut outbox, mut inbox) = mailbox::<usize>(64, &bell);
        let writer = thread::spawn(move || {
            for mut value in 0..COUNT {
                while let Err(back) = outbox.push(value) {
                    outbox.ring();
                    value = back;
                    thread::yield_now();
                }
                outbox.ring();
            }
        });
        let (mut expected, mut sleeps) = (0, 0);
        while expected < COUNT {
            bell.lie_down();
            sleeps += 1;
            if inbox.is_empty() {
                thread::park();
            }
            bell.get_up();
            while let Some(value) = inbox.pop() {
                assert_eq!(value, expected);
                expected += 1;
            }
        }
        writer.join().unwrap();
        assert!(woken.load(Ordering::Relaxed) <= sleeps);
    }

    #[test]
    fn awake_reader_is_not_woken() {
        let bell = Doorbell::new(|| panic!("it is awake"));
        let (mut outbox, mut inbox) = mailbox(2, &bell);
        outbox.push(1).unwrap();
        outbox.ring();
        bell.lie_down();
        bell.get_up();
        outbox.push(2).unwrap();
        outbox.ring();
        assert_eq!((inbox.pop(), inbox.pop(), inbox.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn several_pushes_are_one_ring() {
        let rung = Arc::new(AtomicUsize::new(0));
        let count = rung.clone();
        let bell = Doorbell::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (mut outbox, _inbox) = mailbox(8, &bell);
        bell.lie_down();
        outbox.ring();
        assert_eq!(rung.load(Ordering::Relaxed), 0, "nothing was pushed");
        for value in 0..5 {
            outbox.push(value).unwrap();
        }
        outbox.ring();
        outbox.ring();
        outbox.push(5).unwrap();
        outbox.ring();
        assert_eq!(rung.load(Ordering::Relaxed), 1, "the first ring has woken it");
    }
}
