//! A ring of slots with one writer and one reader, without locks.
//!
//! Two counters that only grow say how much was written and how much was read; a slot is its
//! counter modulo the (power of two) number of slots. The slots from `read` to `written` belong to
//! the reader, the others to the writer:
//!
//! ```text
//! written = 6, read = 3, 4 slots     slot 0   slot 1   slot 2   slot 3
//!                                     #4       #5      (free)    #3
//! ```
//!
//! Each end keeps its own counter and what it last saw of the other one, so that the line of the
//! other end is only touched when the ring looks full to the writer, or empty to the reader.
#![expect(unsafe_code, reason = "slots change owners by counters, which the borrow checker cannot see")]

use std::fmt;
use std::mem::MaybeUninit;

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};

/// Most slots of a ring: far below where the difference of two counters is ambiguous.
const SLOTS_MAX: usize = 1 << 31;

/// On lines of its own: two, because processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

struct Ring<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Values that were put in, ever. Only the writer stores here.
    written: Apart<AtomicUsize>,
    /// Values that were taken out, ever. Only the reader stores here.
    read: Apart<AtomicUsize>,
}

// SAFETY: what crosses threads are values of T, each with one owner at a time: a slot is reached by
// the writer only while `written - read < slots`, and by the reader only while `read < written`;
// release stores and acquire loads of the counters order the two.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above: there is one `Writer` and one `Inbox` of a ring, and neither can be cloned.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    #[inline]
    fn slot(&self, counter: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // The length is a power of two.
        &self.slots[counter & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let (written, mut read) =
            (self.written.0.load(Ordering::Relaxed), self.read.0.load(Ordering::Relaxed));
        while read != written {
            // SAFETY: both ends are gone, so nobody else reaches the slots; those from `read` to
            // `written` are filled.
            self.slot(read).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            read = read.wrapping_add(1);
        }
    }
}

/// The end that puts in.
pub(crate) struct Writer<T> {
    ring: Arc<Ring<T>>,
    written: usize,
    /// What was last seen of the reader's counter: it may be further.
    read_seen: usize,
}

impl<T> Writer<T> {
    /// Whether a push will be taken. Looks at the reader's counter only when it must.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        let slots = self.ring.slots.len();
        if self.written.wrapping_sub(self.read_seen) < slots {
            return true;
        }
        // Acquire: the reader has moved values out of the slots that are free now.
        self.read_seen = self.ring.read.0.load(Ordering::Acquire);
        self.written.wrapping_sub(self.read_seen) < slots
    }

    /// Puts one in, or gives it back when the ring is full.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(value);
        }
        // SAFETY: there is room, so the reader has given this slot back, and only this end writes.
        self.ring.slot(self.written).with_mut(|slot| unsafe { (*slot).write(value) });
        self.written = self.written.wrapping_add(1);
        // Release: who sees the new count finds the value.
        self.ring.written.0.store(self.written, Ordering::Release);
        Ok(())
    }

    /// Values that wait.
    pub(crate) fn depth(&self) -> usize {
        self.written.wrapping_sub(self.ring.read.0.load(Ordering::Relaxed))
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

/// The reading end of a mailbox.
pub struct Inbox<T> {
    ring: Arc<Ring<T>>,
    read: usize,
    /// What was last seen of the writer's counter: it may be further.
    written_seen: usize,
}

impl<T> Inbox<T> {
    /// Takes the oldest value.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.read == self.written_seen {
            self.look();
            if self.read == self.written_seen {
                return None;
            }
        }
        // SAFETY: the writer has filled this slot before it counted it, and only this end takes
        // values out.
        let value = self.ring.slot(self.read).with(|slot| unsafe { (*slot).assume_init_read() });
        self.read = self.read.wrapping_add(1);
        // Release: who sees the new count may overwrite the slot.
        self.ring.read.0.store(self.read, Ordering::Release);
        Some(value)
    }

    /// Values that wait at this moment.
    #[inline]
    pub fn count(&mut self) -> usize {
        self.look();
        self.written_seen.wrapping_sub(self.read)
    }

    /// Whether nothing waits at this moment.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.written.0.load(Ordering::Relaxed) == self.read
    }

    fn look(&mut self) {
        // Acquire: the writer has filled the slots that it counts.
        self.written_seen = self.ring.written.0.load(Ordering::Acquire);
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// Both ends of a ring.
pub(crate) fn ring<T>(slots: usize) -> (Writer<T>, Inbox<T>) {
    assert!((1..=SLOTS_MAX).contains(&slots), "a ring has between 1 and 2^31 slots, not {slots}");
    let slots = slots.next_power_of_two();
    let ring = Arc::new(Ring {
        slots: (0..slots).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        written: Apart(AtomicUsize::new(0)),
        read: Apart(AtomicUsize::new(0)),
    });
    (Writer { ring: ring.clone(), written: 0, read_seen: 0 }, Inbox { ring, read: 0, written_seen: 0 })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn full_ring_gives_back_and_takes_again_after_a_pop() {
        let (mut writer, mut inbox) = ring(2);
        assert!(inbox.is_empty() && inbox.pop().is_none());
        assert_eq!([writer.push("a"), writer.push("b"), writer.push("c")], [Ok(()), Ok(()), Err("c")]);
        assert_eq!((writer.depth(), inbox.count(), writer.has_room()), (2, 2, false));
        assert_eq!(inbox.pop(), Some("a"));
        assert!(writer.has_room());
        assert_eq!(writer.push("d"), Ok(()));
        assert_eq!([inbox.pop(), inbox.pop(), inbox.pop()], [Some("b"), Some("d"), None]);
    }

    #[test]
    fn counters_may_pass_their_limit() {
        let (mut writer, mut inbox) = ring(4);
        let near = usize::MAX - 5;
        (writer.written, writer.read_seen) = (near, near);
        (inbox.read, inbox.written_seen) = (near, near);
        writer.ring.written.0.store(near, Ordering::Relaxed);
        writer.ring.read.0.store(near, Ordering::Relaxed);
        let mut model = VecDeque::new();
        for value in 0..100 {
            match writer.push(value) {
                Ok(()) => model.push_back(value),
                Err(_) => assert_eq!(model.len(), 4),
            }
            if value % 3 > 0 {
                assert_eq!(inbox.pop(), model.pop_front());
            }
            assert_eq!((writer.depth(), inbox.count()), (model.len(), model.len()));
        }
    }

    #[test]
    fn what_is_left_is_dropped_once() {
        let value = std::rc::Rc::new(());
        let (mut writer, mut inbox) = ring(4);
        for _ in 0..3 {
            writer.push(value.clone()).unwrap();
        }
        drop(inbox.pop());
        drop(inbox);
        writer.push(value.clone()).unwrap();
        assert_eq!(std::rc::Rc::strong_count(&value), 4);
        drop(writer);
        assert_eq!(std::rc::Rc::strong_count(&value), 1);
    }

    #[test]
    fn slots_are_rounded_up_to_a_power_of_two() {
        let (mut writer, _inbox) = ring(5);
        assert_eq!((0..).take_while(|value| writer.push(*value).is_ok()).count(), 8);
    }
}
