//! The receiver of a cluster: what it has got of whom, and how long it took.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_client::Receiver;
use millrace_client::receiver::BatchItem;
use millrace_verify::payload::Stamp;

use super::settings::CLUSTERS;
use crate::clock::Clock;
use crate::features::Streams;

/// What the receiver of a cluster has got.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    pub(super) streams: Streams,
    /// Latencies of events of its own cluster, and of others.
    pub(super) within_us: Vec<u64>,
    pub(super) across_us: Vec<u64>,
    /// Payloads that nobody published.
    pub(super) corrupted: u64,
    /// Copies that the library removed.
    pub(super) removed: u64,
    /// When an event of another cluster came first since [`Hearing::watch`].
    pub(super) foreign_us: Option<u64>,
}

impl Hearing {
    /// From here on the first event of another cluster counts.
    pub(super) fn watch(&mut self) {
        self.foreign_us = None;
    }
}

/// Listens for as long as the receiver lives. An emitter's cluster is its number modulo theirs.
pub(super) async fn hear(mut receiver: Receiver, own: u32, clock: Clock, hearing: Rc<RefCell<Hearing>>) {
    while let Some(batch) = receiver.next_batch().await {
        let now_us = clock.now_us();
        let mut hearing = hearing.borrow_mut();
        for item in batch.iter() {
            let BatchItem::Event(event) = item else { continue };
            let Ok(stamp) = Stamp::decode(event.payload) else {
                hearing.corrupted += 1;
                continue;
            };
            hearing.streams.take(stamp.emitter, stamp.n);
            let latency_us = now_us.saturating_sub(stamp.scheduled_ns / 1_000);
            if stamp.emitter % CLUSTERS == own {
                hearing.within_us.push(latency_us);
            } else {
                hearing.across_us.push(latency_us);
                hearing.foreign_us.get_or_insert(now_us);
            }
        }
        hearing.removed = receiver.duplicates_removed();
    }
}
