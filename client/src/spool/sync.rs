//! Syncing, in three steps, so that the one that takes time needs no lock on the spool.
//!
//! ```text
//! begin_sync ── SyncOrder ──▶ run (any thread, milliseconds) ──▶ end_sync
//! ```
//!
//! What is appended meanwhile belongs to the next sync. Segments whose events are final are removed
//! when the note of that is on disk: otherwise a power loss could leave neither events nor note.

use super::config::SyncPolicy;
use super::journal::Note;
use super::machine::{RESERVE, Spool};
use super::storage::{Storage, StorageError, StorageFile, SyncFile};

/// What one sync is about.
#[derive(Debug)]
#[must_use = "nothing is synced until it runs, and known to be until it is handed back"]
pub struct SyncOrder<Y> {
    files: Vec<Y>,
    full: usize,
    below: u64,
    reserved: u64,
    removable: Vec<u64>,
    outcome: Option<Result<(), StorageError>>,
}

impl<Y: SyncFile> SyncOrder<Y> {
    /// Syncs. Blocks for as long as the disk takes.
    pub fn run(&mut self) {
        self.outcome = Some(self.files.iter().try_for_each(SyncFile::sync));
    }
}

impl<S: Storage> Spool<S> {
    /// When it is to be synced.
    pub const fn sync_policy(&self) -> SyncPolicy {
        self.config.sync
    }

    /// Whether anything waits for a sync; never with [`SyncPolicy::Never`].
    pub fn wants_sync(&self) -> bool {
        let unsynced = &self.unsynced;
        let any = unsynced.tail || unsynced.journal || unsynced.names || !unsynced.full.is_empty();
        any && self.config.sync != SyncPolicy::Never
    }

    /// Seqs below may be sent: all that were given, or with [`SyncPolicy::EachBatch`] those that
    /// are synced.
    pub const fn sendable(&self) -> u64 {
        match self.config.sync {
            SyncPolicy::EachBatch => self.synced,
            SyncPolicy::Interval(_) | SyncPolicy::Never => self.next_seq,
        }
    }

    /// What is to be synced; `None` when nothing is. One order at a time: hand it to
    /// [`end_sync`](Self::end_sync) first.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn begin_sync(&mut self) -> Result<Option<SyncOrder<S::Syncer>>, StorageError> {
        if !self.wants_sync() {
            return Ok(None);
        }
        if self.next_seq + RESERVE / 2 > self.state.reserved {
            self.note_reserve()?;
        }
        let mut files = Vec::new();
        if let Some(tail) = self.tail.as_ref().filter(|_| self.unsynced.tail) {
            files.push(tail.file.syncer()?);
        }
        if self.unsynced.names {
            files.push(self.storage.names_syncer()?);
        }
        // The journal comes behind the records, so that nothing final is missing among them.
        let journal = self.unsynced.journal.then(|| self.journal.file.syncer()).transpose()?;
        let full = std::mem::take(&mut self.unsynced.full);
        let count = full.len();
        files.splice(0..0, full);
        files.extend(journal);
        (self.unsynced.tail, self.unsynced.journal, self.unsynced.names) = (false, false, false);
        Ok(Some(SyncOrder {
            files,
            full: count,
            below: self.next_seq,
            reserved: self.state.reserved,
            removable: self.removable.clone(),
            outcome: None,
        }))
    }

    /// Takes in what became of an order.
    ///
    /// # Errors
    /// The disk failed: everything of the order counts as unsynced. Or a file cannot be removed.
    pub fn end_sync(&mut self, mut order: SyncOrder<S::Syncer>) -> Result<(), StorageError> {
        match order.outcome.take() {
            Some(Ok(())) => {
                self.synced = self.synced.max(order.below);
                self.reserved = self.reserved.max(order.reserved);
                self.remove_finished(&order.removable)
            }
            failed => {
                order.files.truncate(order.full);
                self.unsynced.full.append(&mut order.files);
                (self.unsynced.tail, self.unsynced.journal, self.unsynced.names) = (true, true, true);
                failed.unwrap_or(Ok(()))
            }
        }
    }

    /// Syncs here and now.
    ///
    /// # Errors
    /// As the three steps.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        match self.begin_sync()? {
            Some(mut order) => {
                order.run();
                self.end_sync(order)
            }
            None => Ok(()),
        }
    }

    /// Ends in order: the next start knows that nothing is missing. Without it, too, nothing is
    /// lost that is written.
    ///
    /// # Errors
    /// The disk fails.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.sync()?;
        let note = Note::Closed(self.next_seq);
        self.state.apply(&note);
        self.unsynced.journal = true;
        self.journal.append(&note, &self.state)?;
        self.sync()
    }
}
