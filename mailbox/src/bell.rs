//! The bell of a reader: a flag that says whether it sleeps, and what wakes it.
//!
//! All changes of the flag are read-modify-writes, which makes their order plain, to loom as well.
//! They are rare: a reader lies down only when it has nothing to do, and a writer's ring is one
//! load unless the reader sleeps.

use std::fmt;

use crate::sync::{Arc, AtomicBool, Ordering, fence};

/// Wakes one reader, when it sleeps. All of its writers share it.
pub struct Doorbell {
    asleep: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Doorbell {
    /// `wake` ends the reader's sleep, or keeps it from the next one.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { asleep: AtomicBool::new(false), wake: Box::new(wake) })
    }

    /// Called by a writer behind its push.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Called by the reader before its last look.
    #[inline]
    pub fn lie_down(&self) {
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Called by the reader when it is up: writers need not ring.
    #[inline]
    pub fn get_up(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.swap(false, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}
