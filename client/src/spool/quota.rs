//! A bound that several spools share: those of one host's producers, say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that spools may hold together. Clones are the same quota.
///
/// ```
/// use millrace_client::spool::Quota;
///
/// let quota = Quota::new(1 << 30);
/// assert_eq!((quota.used(), quota.left()), (0, 1 << 30));
/// ```
#[derive(Debug, Clone)]
pub struct Quota(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: u64,
    used: AtomicU64,
}

impl Quota {
    /// A quota of `max_bytes`, none of which is used.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Inner { max: max_bytes, used: AtomicU64::new(0) }))
    }

    /// Bytes in all.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max
    }

    /// Bytes that files hold.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.max().saturating_sub(self.used())
    }
}

/// What a folder of a disk says to it.
#[cfg(all(unix, feature = "spool"))]
impl Quota {
    /// Takes bytes for a file, all or none.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.0.max);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Counts files that are there, whether or not they fit: a bound may be lower than it was.
    pub(super) fn found(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back the bytes of a file that is gone.
    pub(super) fn give_back(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The closure always gives a value.
        let _ = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(all(test, unix, feature = "spool"))]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_whole_and_come_back() {
        let quota = Quota::new(100);
        assert!(quota.take(60) && !quota.take(41) && quota.take(40));
        quota.give_back(60);
        assert_eq!((quota.used(), quota.left()), (40, 60));
        quota.found(90);
        assert_eq!(quota.left(), 0);
        assert!(!quota.take(1));
    }
}
