//! What holds a simulated publisher's events: memory, or a spool on a disk that fails.

use std::ops::Range;

use millrace_client::session::publisher::{GivenUp, MemoryStore, NewEvent, Store, StoreError, StoredRun};
use millrace_client::spool::{MemoryStorage, SpoolStore};

/// Holds a publisher's events.
#[derive(Debug)]
pub(super) enum Held {
    /// What the process loses when it ends.
    Memory(MemoryStore),
    /// What outlives it.
    Spool(Box<SpoolStore<MemoryStorage>>),
}

impl Held {
    fn store(&self) -> &dyn Store {
        match self {
            Self::Memory(store) => store,
            Self::Spool(store) => store.as_ref(),
        }
    }

    fn store_mut(&mut self) -> &mut dyn Store {
        match self {
            Self::Memory(store) => store,
            Self::Spool(store) => store.as_mut(),
        }
    }
}

impl Store for Held {
    fn seqs(&self) -> Range<u64> {
        self.store().seqs()
    }

    fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        self.store().pending_in(seqs)
    }

    fn poll_given_up(&mut self) -> Option<(Range<u64>, GivenUp)> {
        self.store_mut().poll_given_up()
    }

    fn again(&mut self, seqs: Range<u64>) -> bool {
        self.store_mut().again(seqs)
    }

    fn expire_before(&mut self, time_ns: u64) {
        self.store_mut().expire_before(time_ns);
    }

    fn is_spacious(&self) -> bool {
        self.store().is_spacious()
    }

    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        self.store_mut().append(event)
    }

    fn next_run(&self) -> Option<StoredRun<'_>> {
        self.store().next_run()
    }

    fn advance(&mut self) {
        self.store_mut().advance();
    }

    fn rewind(&mut self) {
        self.store_mut().rewind();
    }

    fn release(&mut self, below: u64) {
        self.store_mut().release(below);
    }

    fn release_range(&mut self, seqs: Range<u64>) {
        self.store_mut().release_range(seqs);
    }

    fn forget_all(&mut self) {
        self.store_mut().forget_all();
    }

    fn held(&self) -> u64 {
        self.store().held()
    }

    fn unsent_bytes(&self) -> usize {
        self.store().unsent_bytes()
    }
}
