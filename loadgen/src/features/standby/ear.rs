//! A receiver of the stream: its numbers, and how long nothing came.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_client::Receiver;
use millrace_client::receiver::BatchItem;
use millrace_verify::payload::Stamp;

use crate::clock::Clock;
use crate::features::Streams;

/// What a receiver has got so far.
#[derive(Debug, Default)]
pub(super) struct Ear {
    pub(super) streams: Streams,
    /// The first number.
    pub(super) first: Option<u64>,
    /// Payloads that nobody published.
    pub(super) corrupted: u64,
    /// Gap markers.
    pub(super) gaps: u64,
    /// Repeats that its library removed, and events of old generations that it dropped.
    pub(super) removed: u64,
    pub(super) fenced: u64,
    /// When the last event came.
    pub(super) last_us: u64,
    /// The longest time without one since [`Ear::watch`].
    longest_us: u64,
}

impl Ear {
    /// From here on the longest pause counts.
    pub(super) fn watch(&mut self, now_us: u64) {
        self.longest_us = 0;
        self.last_us = now_us;
    }

    /// The longest pause, one that goes on included.
    pub(super) fn longest_us(&self, now_us: u64) -> u64 {
        self.longest_us.max(now_us.saturating_sub(self.last_us))
    }

    fn came(&mut self, now_us: u64) {
        self.longest_us = self.longest_us(now_us);
        self.last_us = now_us;
    }
}

/// Listens for as long as the receiver lives.
pub(super) async fn listen(mut receiver: Receiver, clock: Clock, ear: Rc<RefCell<Ear>>) {
    while let Some(batch) = receiver.next_batch().await {
        let mut ear = ear.borrow_mut();
        for item in batch.iter() {
            match item {
                BatchItem::Event(event) => match Stamp::decode(event.payload) {
                    Ok(stamp) => {
                        ear.came(clock.now_us());
                        ear.first.get_or_insert(stamp.n);
                        ear.streams.take(stamp.emitter, stamp.n);
                    }
                    Err(_) => ear.corrupted += 1,
                },
                BatchItem::Gap(_) => ear.gaps += 1,
                _ => {}
            }
        }
        (ear.removed, ear.fenced) = (receiver.duplicates_removed(), receiver.fenced());
    }
}
