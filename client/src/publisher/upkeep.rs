//! Looks after a publisher's spool beside the task of its connection: syncs what was written, gives
//! up what has waited too long, and has those who wait for room try again.
//!
//! ```text
//! publish, outcomes ── upkeep told ──▶ interval ──▶ begin_sync ──▶ run, on a thread ──▶ end_sync
//! ```
//!
//! The lock on the publisher is not held while the disk works.

use std::sync::Arc;
use std::time::Duration;

use super::state::Shared;
use crate::spool::{DiskSyncer, StorageError, SyncOrder, SyncPolicy};

/// How often those who wait for room try again, because the file system may have room that other
/// programs gave back, and how often events expire while there is no router.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a disk that failed is left alone.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Runs until the task of the publisher's connection has ended, and everything is synced.
pub(super) async fn upkeep(shared: Arc<Shared>) {
    loop {
        let (is_served, interval, looks) = look(&shared);
        let nap = if looks { LOOK_EVERY } else { Duration::MAX };
        if is_served {
            let told = tokio::time::timeout(nap, shared.upkeep.notified()).await;
            // Who waits for a sync does not wait for the interval.
            if told.is_ok() && !shared.lock().wants_sync_now {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    // The publisher ends, or somebody waits for room: neither waits for the
                    // interval.
                    () = shared.upkeep.notified() => {}
                }
            }
        }
        let synced = sync(&shared).await;
        shared.wake();
        shared.progress.notify_waiters();
        if let Err(error) = synced {
            tracing::error!("a spool is not synced: {error}");
            if let Some(store) = shared.lock().ways.first_mut().store_mut().spool_mut() {
                store.set_failed(error);
            }
            if is_served {
                tokio::time::sleep(FAILED_PAUSE).await;
            }
        }
        if !is_served {
            return;
        }
    }
}

/// Whether the publisher is served, how long a sync may wait, and whether there is something to
/// look at from time to time. Gives up what has expired.
fn look(shared: &Shared) -> (bool, Duration, bool) {
    let mut state = shared.lock();
    state.expire();
    state.settle();
    let looks = state.ttl.is_some() || state.spool_full().is_some();
    let policy = state.ways.first().store().spool().map(|store| store.spool().sync_policy());
    let interval = match policy {
        Some(SyncPolicy::Interval(interval)) => interval,
        Some(SyncPolicy::EachBatch | SyncPolicy::Never) | None => Duration::ZERO,
    };
    (state.served, interval, looks)
}

/// Syncs what was written.
async fn sync(shared: &Shared) -> Result<(), StorageError> {
    let order = {
        let mut state = shared.lock();
        state.begin_upkeep();
        state.wants_sync_now = false;
        match state.ways.first_mut().store_mut().spool_mut() {
            Some(store) => store.spool_mut().begin_sync()?,
            None => None,
        }
    };
    let Some(order) = order else { return Ok(()) };
    let run = move |mut order: SyncOrder<DiskSyncer>| {
        order.run();
        order
    };
    // Without its runtime the publisher ends with what is written, which survives it.
    let Ok(order) = tokio::task::spawn_blocking(move || run(order)).await else { return Ok(()) };
    let mut state = shared.lock();
    let ended = match state.ways.first_mut().store_mut().spool_mut() {
        Some(store) => {
            let ended = store.spool_mut().end_sync(order);
            store.synced();
            ended
        }
        None => Ok(()),
    };
    state.settle();
    ended
}
