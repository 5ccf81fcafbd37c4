//! What holds the events of a publisher of this shell: memory, or a spool on disk.

use std::ops::Range;

use crate::session::publisher::{GivenUp, MemoryStore, NewEvent, Store, StoreError, StoredRun, Ways};
use crate::session::{PublisherConfig, PublisherSession};
#[cfg(all(unix, feature = "spool"))]
use crate::spool::{DiskStorage, SpoolStore};

/// Memory or a disk. A publisher keeps its kind.
#[derive(Debug)]
pub(super) enum Holding {
    Memory(MemoryStore),
    #[cfg(all(unix, feature = "spool"))]
    Spool(Box<SpoolStore<DiskStorage>>),
}

#[cfg(all(unix, feature = "spool"))]
impl Holding {
    /// The spool, if it is one.
    pub(super) fn spool(&self) -> Option<&SpoolStore<DiskStorage>> {
        match self {
            Self::Memory(_) => None,
            Self::Spool(store) => Some(store),
        }
    }

    /// As [`Holding::spool`].
    pub(super) fn spool_mut(&mut self) -> Option<&mut SpoolStore<DiskStorage>> {
        match self {
            Self::Memory(_) => None,
            Self::Spool(store) => Some(store),
        }
    }
}

/// A store for a publisher that ends with its process.
pub(super) fn in_memory(config: &PublisherConfig) -> Holding {
    Holding::Memory(MemoryStore::new(config.first_seq, config.buffer_bytes, config.flush_bytes))
}

/// The session of a publisher whose events `holding` holds; of one on two routers both, each with a
/// store of its own.
pub(super) fn ways(config: PublisherConfig, holding: Holding) -> Ways<Holding> {
    if !config.redundant {
        return Ways::one(PublisherSession::with_store(config, holding));
    }
    let second = PublisherSession::with_store(config.clone(), in_memory(&config));
    Ways::two(PublisherSession::with_store(config, holding), second)
}

/// Passes a call on to the store that there is.
macro_rules! either {
    ($holding:expr, $store:ident => $call:expr) => {
        match $holding {
            Holding::Memory($store) => $call,
            #[cfg(all(unix, feature = "spool"))]
            Holding::Spool($store) => $call,
        }
    };
}

impl Store for Holding {
    #[inline]
    fn seqs(&self) -> Range<u64> {
        either!(self, store => store.seqs())
    }

    fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        either!(self, store => store.pending_in(seqs))
    }

    #[inline]
    fn poll_given_up(&mut self) -> Option<(Range<u64>, GivenUp)> {
        either!(self, store => store.poll_given_up())
    }

    fn again(&mut self, seqs: Range<u64>) -> bool {
        either!(self, store => store.again(seqs))
    }

    fn expire_before(&mut self, time_ns: u64) {
        either!(self, store => store.expire_before(time_ns));
    }

    #[inline]
    fn is_spacious(&self) -> bool {
        either!(self, store => store.is_spacious())
    }

    #[inline]
    fn has_room(&self, payload_bytes: usize) -> bool {
        either!(self, store => store.has_room(payload_bytes))
    }

    #[inline]
    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        either!(self, store => store.append(event))
    }

    #[inline]
    fn next_run(&self) -> Option<StoredRun<'_>> {
        either!(self, store => store.next_run())
    }

    #[inline]
    fn advance(&mut self) {
        either!(self, store => store.advance());
    }

    fn rewind(&mut self) {
        either!(self, store => store.rewind());
    }

    #[inline]
    fn release(&mut self, below: u64) {
        either!(self, store => store.release(below));
    }

    fn release_range(&mut self, seqs: Range<u64>) {
        either!(self, store => store.release_range(seqs));
    }

    fn leave_out(&mut self, seqs: Range<u64>) {
        either!(self, store => store.leave_out(seqs));
    }

    fn forget_all(&mut self) {
        either!(self, store => store.forget_all());
    }

    #[inline]
    fn held(&self) -> u64 {
        either!(self, store => store.held())
    }

    #[inline]
    fn unsent_bytes(&self) -> usize {
        either!(self, store => store.unsent_bytes())
    }
}
