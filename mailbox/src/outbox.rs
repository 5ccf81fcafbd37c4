//! The writing end of a mailbox, with the bell of its reader.

use crate::bell::Doorbell;
use crate::ring::{self, Inbox};
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
