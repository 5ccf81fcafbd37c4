//! What is shown of history files: the thread writes it, the admin pages read it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use millrace_engine::history::files::ArchiveCounts;

millrace_engine::metrics! {
    /// What history files hold, and what was counted.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub(crate) struct FilesMetrics {
        /// Bytes of history files.
        bytes: level "history_file_bytes",
        /// How far back history files reach: the age of their oldest run.
        span: level "history_file_span_seconds",
        /// Lives of the router of which history files have runs, the present one among them.
        lives: level "history_file_lives",
        /// Blocks that were written to history files.
        blocks: counter "history_file_blocks",
        /// Events that history files let go, because of their bytes or age, or for space on the
        /// disk.
        evicted: counter "history_file_evicted_events",
        /// Events that are missing in history files, because there was no space or the disk failed.
        unwritten: counter "history_file_unwritten_events",
        /// Events that are missing in history files, because the disk did not keep up.
        overtaken: counter "history_file_overtaken_events",
        /// Places of history files that could not be read.
        damaged: counter "history_file_damaged",
    }
}

/// What is known of history files now. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilesBook(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Mutex<ArchiveCounts>,
    overtaken: AtomicU64,
}

impl FilesBook {
    pub(super) fn set(&self, counts: ArchiveCounts) {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Events were not handed over.
    pub(super) fn overtaken(&self, events: u64) {
        self.0.overtaken.fetch_add(events, Ordering::Relaxed);
    }

    /// The numbers; `now` is the time of day, nanoseconds since 1970.
    pub(crate) fn metrics(&self, now: u64) -> FilesMetrics {
        let counts = *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let span = if counts.oldest_at == 0 { 0 } else { now.saturating_sub(counts.oldest_at) };
        FilesMetrics {
            bytes: counts.bytes,
            span: span / 1_000_000_000,
            lives: counts.lives,
            blocks: counts.blocks,
            evicted: counts.events_evicted,
            unwritten: counts.events_unwritten,
            overtaken: self.0.overtaken.load(Ordering::Relaxed),
            damaged: counts.damaged,
        }
    }
}
