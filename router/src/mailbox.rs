//! Bounded single-producer rings between threads, and the doorbell that wakes their reader.
//!
//! A reader that is about to sleep says so with [`Doorbell::lie_down`], looks at its rings once more, and only then
//! sleeps. A writer pushes and then rings; the bell costs one load while the reader is awake. One of the two always sees
//! the other: both sides order their two steps with a sequentially consistent fence.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};

/// What a doorbell wakes.
pub(crate) trait Wake: Send + Sync {
    /// Ends a sleep, or keeps the reader from the next one.
    fn wake(&self);
}

impl Wake for millrace_quic::Waker {
    fn wake(&self) {
        Self::wake(self);
    }
}

/// Wakes one reader, when it sleeps.
pub(crate) struct Doorbell {
    asleep: AtomicBool,
    waker: Box<dyn Wake>,
}

impl Doorbell {
    pub(crate) fn new(waker: impl Wake + 'static) -> Arc<Self> {
        Arc::new(Self { asleep: AtomicBool::new(false), waker: Box::new(waker) })
    }

    /// Called by a writer behind its push.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Called by the reader before its last look.
    pub(crate) fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the reader when it is up: writers need not ring.
    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}

/// The writing end of a ring, with its reader's bell.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    ring: Producer<T>,
    bell: Arc<Doorbell>,
    rung: bool,
}

impl<T> Outbox<T> {
    /// Whether a push will be taken.
    pub(crate) fn has_room(&self) -> bool {
        !self.ring.is_full()
    }

    /// Puts one in; gives it back when the ring is full. [`Outbox::ring`] must follow before the writer sleeps.
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        self.rung = false;
        self.ring.push(value).map_err(|rtrb::PushError::Full(value)| value)
    }

    /// Wakes the reader if something was pushed since the last call.
    pub(crate) fn ring(&mut self) {
        if !std::mem::replace(&mut self.rung, true) {
            self.bell.ring();
        }
    }

    /// Entries that wait.
    pub(crate) fn depth(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots()
    }
}

/// The reading end of a ring.
pub(crate) type Inbox<T> = Consumer<T>;

/// A ring of `slots` entries towards the reader with this bell.
pub(crate) fn ring<T>(slots: usize, bell: &Arc<Doorbell>) -> (Outbox<T>, Inbox<T>) {
    let (producer, consumer) = RingBuffer::new(slots);
    (Outbox { ring: producer, bell: bell.clone(), rung: true }, consumer)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread::{self, Thread};

    use super::*;

    struct Unpark(Thread, Arc<AtomicUsize>);

    impl Wake for Unpark {
        fn wake(&self) {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.unpark();
        }
    }

    #[test]
    fn sleeping_reader_gets_everything_and_is_woken_less_often_than_written_to() {
        const COUNT: usize = 100_000;
        let woken = Arc::new(AtomicUsize::new(0));
        let bell = Doorbell::new(Unpark(thread::current(), woken.clone()));
        let (mut outbox, mut inbox) = ring::<usize>(64, &bell);
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
        let mut expected = 0;
        while expected < COUNT {
            bell.lie_down();
            if inbox.is_empty() {
                thread::park();
            }
            bell.get_up();
            while let Ok(value) = inbox.pop() {
                assert_eq!(value, expected);
                expected += 1;
            }
        }
        writer.join().unwrap();
        assert!(woken.load(Ordering::Relaxed) <= COUNT);
    }
}
