//! What the chunks of one read hold, sorted by receiver.

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::data::{Gap, Mark, ReceiverEnd, Source};

use super::batch::SharedDedup;
use super::building::{BatchBuilder, SharedHandover};
use crate::session::receiver::{Echo, Session};
use crate::session::{DeliveredRun, Deliveries, DeliverySink, DeliveryStream, PassedBy, SessionError};

/// Batches that are being filled, one for each receiver of a connection.
#[derive(Default)]
pub(super) struct Sorting {
    /// By receiver number; `None` for receivers that are closed.
    slots: Vec<Option<Slot>>,
    /// Receivers that got something in this read, each once.
    touched: Vec<ReceiverNumber>,
    ends: Vec<ReceiverEnd>,
}

#[derive(Default)]
struct Slot {
    batch: BatchBuilder,
    /// Bytes of the receiver's window that this read has used.
    bytes: u64,
    is_touched: bool,
}

/// Hands batches to the applications.
pub(super) trait Deliver {
    /// Takes what a receiver got in one read, and the bytes of its window that this uses. Returns
    /// whether the bytes wait for the application: if not, they leave the window at once, because
    /// it gets nothing that it could take.
    fn deliver(&mut self, receiver: ReceiverNumber, batch: &mut BatchBuilder, bytes: u64) -> bool;
}

impl Sorting {
    /// A receiver is opened that has had the events in `dedup`.
    pub(super) fn open(&mut self, receiver: ReceiverNumber, dedup: SharedDedup) {
        let index = receiver.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(Slot { batch: BatchBuilder::new(dedup), ..Slot::default() });
    }

    /// Drops what still comes for a receiver.
    pub(super) fn close(&mut self, receiver: ReceiverNumber) {
        if let Some(slot) = self.slots.get_mut(receiver.0 as usize) {
            *slot = None;
        }
    }

    /// What comes for a receiver is judged by its move from here on; by none, if there is none.
    pub(super) fn set_moving(&mut self, receiver: ReceiverNumber, moving: Option<(Session, SharedHandover)>) {
        if let Some(batch) = self.batch_of(receiver) {
            batch.set_moving(moving);
        }
    }

    /// A receiver has moved here, and may get these events once more.
    pub(super) fn set_moved(&mut self, receiver: ReceiverNumber, echo: Echo) {
        if let Some(batch) = self.batch_of(receiver) {
            batch.set_moved(echo);
        }
    }

    fn batch_of(&mut self, receiver: ReceiverNumber) -> Option<&mut BatchBuilder> {
        let slot = self.slots.get_mut(receiver.0 as usize)?.as_mut()?;
        Some(&mut slot.batch)
    }

    /// Decodes the chunks of one read of a stream and hands batches to `to`. Returns the receivers
    /// that the router ended in them.
    ///
    /// # Errors
    /// [`SessionError`] when the router breaks the protocol: the connection is to be closed.
    pub(super) fn feed(
        &mut self,
        deliveries: &mut Deliveries,
        stream: &mut DeliveryStream,
        chunks: &mut [Bytes],
        to: &mut impl Deliver,
    ) -> Result<Vec<ReceiverEnd>, SessionError> {
        for chunk in chunks {
            let chunk = std::mem::take(chunk);
            deliveries.data(stream, &chunk, self)?;
        }
        while let Some(receiver) = self.touched.pop() {
            let Some(slot) = &mut self.slots[receiver.0 as usize] else { continue };
            slot.is_touched = false;
            let bytes = std::mem::take(&mut slot.bytes);
            if !to.deliver(receiver, &mut slot.batch, bytes) {
                deliveries.consumed(receiver, bytes);
            }
        }
        Ok(std::mem::take(&mut self.ends))
    }

    fn slot(&mut self, receiver: ReceiverNumber) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(receiver.0 as usize)?.as_mut()?;
        if !slot.is_touched {
            slot.is_touched = true;
            self.touched.push(receiver);
        }
        Some(slot)
    }
}

impl DeliverySink for Sorting {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        if let Some(slot) = self.slot(run.receiver) {
            slot.batch.run(run);
        }
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        if let Some(slot) = self.slot(receiver) {
            slot.batch.gap(receiver, gap);
        }
    }

    fn used(&mut self, receiver: ReceiverNumber, bytes: u64) {
        if let Some(slot) = self.slot(receiver) {
            slot.bytes += bytes;
        }
    }

    fn passed(&mut self, receiver: ReceiverNumber, source: Source, position: u64, by: PassedBy) {
        if let Some(slot) = self.slot(receiver) {
            slot.batch.passed(receiver, source, position, by);
        }
    }

    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        if let Some(slot) = self.slot(receiver) {
            slot.batch.marked(receiver, mark);
        }
    }

    fn ended(&mut self, end: &ReceiverEnd) {
        self.ends.push(end.clone());
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::control::TableCapacity;
    use millrace_proto::data::{self, HopHeader, Target, flag};
    use millrace_proto::run::RunBuilder;
    use millrace_proto::stream::{DeliverAllPreamble, DeliverPreamble};
    use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};

    use super::*;

    const RECEIVER: ReceiverNumber = ReceiverNumber(2);
    const WINDOW_BYTES: u64 = 1_000;

    /// An application that takes what it gets at once.
    #[derive(Default)]
    struct Application {
        entries: usize,
        taken: u64,
    }

    impl Deliver for Application {
        fn deliver(&mut self, _: ReceiverNumber, batch: &mut BatchBuilder, bytes: u64) -> bool {
            let Some(batch) = batch.take(bytes, 0) else { return false };
            self.entries += batch.len();
            self.taken += bytes;
            true
        }
    }

    /// The beginning of a stream of either kind.
    fn beginning(is_shared: bool) -> Vec<u8> {
        let mut out = Vec::new();
        if is_shared {
            DeliverAllPreamble {}.encode(&mut out);
        } else {
            DeliverPreamble { receiver: RECEIVER }.encode(&mut out);
        }
        data::put_define_tags(&mut out, 0, TagSet::from_texts(["host=web-1"]).unwrap().borrow());
        let key = PublisherKey { publisher: PublisherId(9), epoch: Epoch(1) };
        data::put_define_publisher(&mut out, 0, key);
        out
    }

    /// One event of a publisher with a confirm level that asks for no acknowledgement.
    fn run(is_shared: bool, flags: u64) -> Vec<u8> {
        let mut builder = RunBuilder::default();
        builder.start(0, 0, 1_000);
        builder.push(1_000, &[7; 100]);
        let (mut body, mut targets, mut out) = (Vec::new(), Vec::new(), Vec::new());
        builder.finish(&mut body);
        let hop = HopHeader { flags, ..HopHeader::numbered(0, 0) };
        if is_shared {
            Target::plain(RECEIVER).put(&mut targets);
            data::put_deliver(&mut out, &hop, &targets, &body);
        } else {
            data::put_run(&mut out, &hop, &body);
        }
        out
    }

    #[test]
    fn copies_that_are_removed_do_not_use_the_window_up() {
        for is_shared in [false, true] {
            let (mut deliveries, mut sorting) = (Deliveries::new(), Sorting::default());
            let mut application = Application::default();
            deliveries.welcomed(is_shared, TableCapacity::CLIENT);
            let mut granted = deliveries.open(RECEIVER, WINDOW_BYTES, 0).unwrap();
            sorting.open(RECEIVER, SharedDedup::default());
            let mut stream = DeliveryStream::new();
            let mut arrive = |bytes: Vec<u8>| {
                let mut chunks = [Bytes::from(bytes)];
                sorting.feed(&mut deliveries, &mut stream, &mut chunks, &mut application).unwrap();
                deliveries.consumed(RECEIVER, std::mem::take(&mut application.taken));
                while let Some((receiver, bytes)) = deliveries.poll_grant() {
                    assert_eq!(receiver, RECEIVER);
                    granted = bytes;
                }
            };
            let routed = 1;
            arrive(beginning(is_shared));
            arrive(run(is_shared, routed));
            for _ in 0..100 {
                arrive(run(is_shared, routed | flag::RESENT));
            }
            assert!(granted > 100 * 100, "{is_shared}: {granted}");
            assert_eq!(application.entries, 1, "{is_shared}: a copy is given once");
        }
    }

    #[test]
    fn nothing_comes_for_a_receiver_that_is_closed() {
        let (mut deliveries, mut sorting) = (Deliveries::new(), Sorting::default());
        deliveries.welcomed(true, TableCapacity::CLIENT);
        deliveries.open(RECEIVER, WINDOW_BYTES, 0).unwrap();
        sorting.open(RECEIVER, SharedDedup::default());
        sorting.close(RECEIVER);
        let mut application = Application::default();
        let mut chunks = [beginning(true).into(), run(true, 0).into()];
        sorting.feed(&mut deliveries, &mut DeliveryStream::new(), &mut chunks, &mut application).unwrap();
        assert_eq!((application.entries, application.taken), (0, 0));
    }
}
