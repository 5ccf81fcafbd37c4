//! All interleavings of small programs, under the memory model: what the mailbox promises holds in
//! each of them.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use millrace_mailbox::{Doorbell, Inbox, mailbox};

/// What a core sleeps on: as an eventfd, it remembers that it was woken.
struct Bed {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Bed {
    fn with_bell() -> (Arc<Self>, Arc<Doorbell>) {
        let bed = Arc::new(Self { woken: Mutex::new(false), changed: Condvar::new() });
        let woken = bed.clone();
        let bell = Doorbell::new(move || {
            *woken.woken.lock().unwrap() = true;
            woken.changed.notify_one();
        });
        (bed, bell)
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// Takes `count` values the way a core does: asleep when there is nothing.
fn take(inbox: &mut Inbox<Box<usize>>, bed: &Bed, bell: &Doorbell, count: usize) {
    let mut expected = 0;
    while expected < count {
        bell.lie_down();
        if inbox.is_empty() {
            bed.sleep();
        }
        bell.get_up();
        while let Some(value) = inbox.pop() {
            assert_eq!(*value, expected, "each comes once, in order");
            expected += 1;
        }
    }
}

#[test]
fn sleeping_reader_is_always_woken_for_what_was_pushed() {
    loom::model(|| {
        let (bed, bell) = Bed::with_bell();
        let (mut outbox, mut inbox) = mailbox(2, &bell);
        let writer = thread::spawn(move || {
            for value in 0..2 {
                outbox.push(Box::new(value)).unwrap();
                outbox.ring();
            }
        });
        // A wake-up that is missed is a deadlock, which loom reports.
        take(&mut inbox, &bed, &bell, 2);
        writer.join().unwrap();
    });
}

#[test]
fn two_pushes_before_one_ring_wake_for_both() {
    loom::model(|| {
        let (bed, bell) = Bed::with_bell();
        let (mut outbox, mut inbox) = mailbox(2, &bell);
        let writer = thread::spawn(move || {
            outbox.push(Box::new(0)).unwrap();
            outbox.push(Box::new(1)).unwrap();
            outbox.ring();
        });
        take(&mut inbox, &bed, &bell, 2);
        writer.join().unwrap();
    });
}

#[test]
fn two_writers_share_a_bell() {
    // Three threads have too many interleavings for all of them: those with at most three
    // preemptions.
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let (bed, bell) = Bed::with_bell();
        let (mut left, mut from_left) = mailbox(1, &bell);
        let (mut right, mut from_right) = mailbox(1, &bell);
        let writers = [
            thread::spawn(move || {
                left.push(1).unwrap();
                left.ring();
            }),
            thread::spawn(move || {
                right.push(2).unwrap();
                right.ring();
            }),
        ];
        let mut sum = 0;
        while sum < 3 {
            bell.lie_down();
            if from_left.is_empty() && from_right.is_empty() {
                bed.sleep();
            }
            bell.get_up();
            sum += from_left.pop().unwrap_or(0) + from_right.pop().unwrap_or(0);
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn slots_are_used_again_only_when_they_were_read() {
    loom::model(|| {
        let bell = Doorbell::new(|| {});
        let (mut outbox, mut inbox) = mailbox(1, &bell);
        let writer = thread::spawn(move || {
            let mut refused = 0;
            for value in 0..3 {
                let mut value = Box::new(value);
                // Two tries at most, so that there are few interleavings; the reader takes what
                // came.
                for _ in 0..2 {
                    match outbox.push(value) {
                        Ok(()) => {
                            value = Box::new(0);
                            break;
                        }
                        Err(back) => {
                            refused += 1;
                            value = back;
                            thread::yield_now();
                        }
                    }
                }
                drop(value);
            }
            (outbox, refused)
        });
        let mut last = None;
        for _ in 0..2 {
            assert!(inbox.count() <= 1);
            if let Some(value) = inbox.pop() {
                assert!(last.is_none_or(|last| last < *value), "in order");
                last = Some(*value);
            }
            thread::yield_now();
        }
        let (outbox, _refused) = writer.join().unwrap();
        assert!(outbox.depth() <= 1);
    });
}

/// Counts how often it was dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn everything_is_dropped_once_whichever_end_goes_first() {
    loom::model(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let bell = Doorbell::new(|| {});
        let (mut outbox, mut inbox) = mailbox(2, &bell);
        let count = dropped.clone();
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                assert!(outbox.push(Counted(count.clone())).is_ok());
                outbox.ring();
            }
        });
        drop(inbox.pop());
        drop(inbox);
        writer.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}
