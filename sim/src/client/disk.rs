//! The disk of a publisher that spools: its spool is opened in each life of the process, synced as
//! its policy says, and compared with what the process before had put in.
//!
//! | checker | what it refuses |
//! |---|---|
//! | `spool` | a spool that has lost, changed or made up an event |

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::spool::{
    Identity, MemoryStorage, Spool, SpoolConfig, SpoolStore, StorageError, SyncPolicy,
};
use millrace_engine::time::Time;
use millrace_proto::{Epoch, PublisherSecret};
use millrace_verify::checker::publication::Cause;
use millrace_verify::payload::Stamp;

use super::published::{Fate, Known, Published};
use crate::record::Record;

/// The name of this checker in findings.
const CHECKER: &str = "spool";

/// How a publisher spools.
#[derive(Debug, Clone)]
pub struct DiskSetup {
    /// Its spool.
    pub spool: SpoolConfig,
    /// Bytes of its file system.
    pub total: u64,
    /// Its faults follow from it.
    pub seed: u64,
    /// How long a batch waits for its sync with [`SyncPolicy::EachBatch`].
    pub sync_delay: Duration,
}

/// A disk, across the lives of the process that uses it.
#[derive(Debug)]
pub(super) struct Disk {
    setup: DiskSetup,
    storage: MemoryStorage,
    sync_due: Option<Time>,
    /// Events below are on disk.
    synced_below: u64,
}

impl Disk {
    pub(super) fn new(setup: DiskSetup) -> Self {
        let storage = MemoryStorage::new(setup.total, setup.seed);
        Self { setup, storage, sync_due: None, synced_below: 0 }
    }

    /// The process ends within one of the next changes of the disk.
    pub(super) fn end_after(&self, changes: u64) {
        self.storage.end_after(changes);
    }

    /// Whether it has ended so: what it does from there on has not happened.
    pub(super) fn has_ended(&self) -> bool {
        self.storage.has_ended()
    }

    /// A new process begins, on a host that has lost power or has not.
    pub(super) fn restart(&mut self, power_lost: bool) {
        self.storage.restart(power_lost);
        self.sync_due = None;
    }

    /// Opens the spool, and compares it with what was published in the lives before.
    pub(super) fn open(
        &mut self,
        secret: PublisherSecret,
        run_bytes: usize,
        (published, power_lost): (&mut Published, bool),
        record: &mut Record,
    ) -> Result<(SpoolStore<MemoryStorage>, Epoch), String> {
        let fresh = Identity { secret, index: 0, epoch: Epoch(self.setup.seed >> 2) };
        let config = self.setup.spool.clone();
        let (mut spool, opened) =
            Spool::open(self.storage.clone(), config, fresh).map_err(|error| error.to_string())?;
        if opened.identity_lost || spool.identity() != fresh {
            record.findings.add(CHECKER, || format!("{fresh:?} was lost"));
        }
        let pending = read(&mut spool).map_err(|error| error.to_string())?;
        self.compare(&pending, published, power_lost, record);
        self.synced_below = spool.seqs().end.min(self.synced_below);
        let epoch = spool.identity().epoch;
        Ok((SpoolStore::new(spool, run_bytes), epoch))
    }

    /// What is pending on disk, against what was published and has not ended.
    fn compare(
        &self,
        pending: &BTreeMap<u64, (u32, u64)>,
        published: &mut Published,
        power_lost: bool,
        record: &mut Record,
    ) {
        for (&seq, &found) in pending {
            match published.get(seq) {
                Some(known) if known.event == found => {
                    if known.fate == Fate::Ended && power_lost {
                        published.set(seq, Fate::Pending);
                        record.checker.reopened(found.0, found.1);
                    } else if known.fate == Fate::Ended {
                        record
                            .findings
                            .add(CHECKER, || format!("seq {seq}, {found:?}, ended and is pending"));
                    }
                }
                known => {
                    record.findings.add(CHECKER, || format!("seq {seq} holds {found:?}, not {known:?}"));
                }
            }
        }
        for (seq, Known { event: (emitter, n), fate }) in published.pending() {
            if pending.contains_key(&seq) {
                published.set(seq, Fate::Pending);
                continue;
            }
            let is_safe = fate == Fate::Pending && (!power_lost || seq < self.synced_below);
            if is_safe && !published.is_last(seq) {
                record
                    .findings
                    .add(CHECKER, || format!("seq {seq}, event {n} of emitter {emitter}, is lost"));
            }
            published.set(seq, Fate::Gone);
            let cause = if power_lost { Cause::PowerLost } else { Cause::ProcessEnded };
            record.checker.gone(emitter, n, cause);
        }
    }

    /// Has what waits synced when its time has come.
    pub(super) fn tend(
        &mut self,
        store: &mut SpoolStore<MemoryStorage>,
        now: Time,
    ) -> Result<(), StorageError> {
        if self.sync_due.is_some_and(|due| due <= now) {
            self.sync_due = None;
            let below = store.spool().seqs().end;
            store.spool_mut().sync()?;
            if !self.has_ended() {
                self.synced_below = below;
                store.synced();
            }
        }
        if self.sync_due.is_none() && store.spool().wants_sync() {
            let wait = match self.setup.spool.sync {
                SyncPolicy::Interval(interval) => interval,
                _ => self.setup.sync_delay,
            };
            self.sync_due = Some(now + wait);
        }
        Ok(())
    }

    pub(super) const fn poll_timeout(&self) -> Option<Time> {
        self.sync_due
    }
}

/// All events that are pending, by seq, as their payloads name them.
fn read(spool: &mut Spool<MemoryStorage>) -> Result<BTreeMap<u64, (u32, u64)>, StorageError> {
    let mut pending = BTreeMap::new();
    spool.visit(0, |record| {
        // Payloads carry a checksum: what is damaged is nobody's event.
        let stamp = Stamp::decode(record.payload).ok();
        pending.insert(record.seq, stamp.map_or((u32::MAX, 0), |stamp| (stamp.emitter, stamp.n)));
        true
    })?;
    Ok(pending)
}
