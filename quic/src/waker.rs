//! Wakes a core from other threads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Ends a core's sleep, or keeps it from the next one. Cheap when the core was woken already and
/// has not run since.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    event: File,
    raised: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Signal { event: File::from(sys::event_fd()?), raised: AtomicBool::new(false) })))
    }

    /// Makes the core take a turn soon. What the caller wrote before is visible to that turn.
    pub fn wake(&self) {
        if !self.0.raised.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full, and then the core is awake anyway.
            let _ = (&self.0.event).write(&1_u64.to_ne_bytes());
        }
    }

    /// Takes the signal back before the turn looks at its mailboxes, so that no later signal is
    /// lost.
    pub(crate) fn lower(&self) {
        let _ = (&self.0.event).read(&mut [0; 8]);
        self.0.raised.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
