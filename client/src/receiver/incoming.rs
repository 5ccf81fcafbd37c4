//! The delivery streams of one connection, of either kind: bytes in, batches for the inboxes out.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, ReceiverEnd};
use quinn::{ReadError, RecvStream};

use super::batch::BatchBuilder;
use crate::link::Link;
use crate::session::{
    DeliveredRun, DeliveriesSession, DeliverySink, PreambleReader, ReceiverConfig, ReceiverSession,
    SessionError, StreamFor,
};

/// Chunks of a stream taken at once: each is at most one packet's worth.
pub(super) const CHUNKS: usize = 64;

/// The streams that the router opened, and what reads them.
pub(super) struct Incoming {
    tables: TableCapacity,
    streams: Vec<Stream>,
    /// The stream that is asked first; each in turn.
    first: usize,
    deliveries: Deliveries,
}

struct Stream {
    recv: RecvStream,
    preamble: Option<PreambleReader>,
    /// Known behind the preamble.
    receiver: Option<ReceiverNumber>,
    has_room: bool,
}

enum Deliveries {
    /// A stream for each receiver.
    Own(BTreeMap<ReceiverNumber, Own>),
    /// One for all.
    Shared(Box<DeliveriesSession>, Slots),
}

struct Own {
    session: ReceiverSession,
    batch: BatchBuilder,
    is_known: bool,
}

/// What a chunk of the shared stream holds, by receiver.
#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    touched: Vec<ReceiverNumber>,
    ends: Vec<ReceiverEnd>,
}

#[derive(Default)]
struct Slot {
    batch: BatchBuilder,
    bytes: u64,
    is_touched: bool,
}

/// Takes what a receiver got: its batch, and how many bytes it counts.
pub(super) trait Deliver {
    fn deliver(&mut self, receiver: ReceiverNumber, batch: &mut BatchBuilder, bytes: u64) -> bool;
}

impl Slots {
    fn slot(&mut self, receiver: ReceiverNumber) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(receiver.0 as usize)?.as_mut()?;
        if !slot.is_touched {
            slot.is_touched = true;
            self.touched.push(receiver);
        }
        Some(slot)
    }
}

impl DeliverySink for Slots {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        if let Some(slot) = self.slot(run.receiver) {
            slot.bytes += run.bytes() as u64;
            slot.batch.run(run);
        }
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        if let Some(slot) = self.slot(receiver) {
            slot.batch.gap(receiver, gap);
        }
    }

    fn ended(&mut self, end: &ReceiverEnd) {
        self.ends.push(end.clone());
    }
}

impl Incoming {
    pub(super) fn new(link: &Link) -> Self {
        let tables = link.session.tables();
        let deliveries = if link.session.shares_deliveries() {
            Deliveries::Shared(Box::new(DeliveriesSession::new(tables)), Slots::default())
        } else {
            Deliveries::Own(BTreeMap::new())
        };
        Self { tables, streams: Vec::new(), first: 0, deliveries }
    }

    /// A receiver is about to be asked for, while `held` bytes of an older connection wait for its application. Its first
    /// grant.
    pub(super) fn open(&mut self, receiver: ReceiverNumber, window_bytes: u64, held: u64) -> u64 {
        match &mut self.deliveries {
            Deliveries::Own(receivers) => {
                let config = ReceiverConfig { receiver, window_bytes, tables: self.tables };
                let session = ReceiverSession::new(config);
                let grant = session.first_grant();
                receivers.insert(receiver, Own { session, batch: BatchBuilder::default(), is_known: false });
                grant
            }
            Deliveries::Shared(session, slots) => {
                let index = receiver.0 as usize;
                if slots.slots.len() <= index {
                    slots.slots.resize_with(index + 1, || None);
                }
                slots.slots[index] = Some(Slot::default());
                session.open(receiver, window_bytes, held).unwrap_or_default()
            }
        }
    }

    /// Nothing more is wanted for a receiver; the router may still send some.
    pub(super) fn close(&mut self, receiver: ReceiverNumber) {
        match &mut self.deliveries {
            Deliveries::Own(_) => self.streams.retain(|stream| stream.receiver != Some(receiver)),
            Deliveries::Shared(_, slots) => {
                if let Some(slot) = slots.slots.get_mut(receiver.0 as usize) {
                    *slot = None;
                }
            }
        }
    }

    /// The router said that a receiver is gone, or that it would not open it; whether its number is free on this connection.
    pub(super) fn gone(&mut self, receiver: ReceiverNumber) -> bool {
        match &mut self.deliveries {
            // A stream that is still to come would be taken for the next receiver's.
            Deliveries::Own(receivers) => receivers.remove(&receiver).is_none_or(|own| own.is_known),
            Deliveries::Shared(session, _) => {
                session.refused(receiver);
                true
            }
        }
    }

    pub(super) fn add(&mut self, recv: RecvStream) {
        let preamble = Some(PreambleReader::new());
        self.streams.push(Stream { recv, preamble, receiver: None, has_room: true });
    }

    /// The receivers with a stream of their own, and whether it may be read.
    pub(super) fn own_streams(&mut self) -> impl Iterator<Item = (ReceiverNumber, &mut bool)> {
        self.streams.iter_mut().filter_map(|stream| Some((stream.receiver?, &mut stream.has_room)))
    }

    /// The next chunks of any stream, and how many; none at its end. May be dropped at any time.
    pub(super) async fn next(
        &mut self,
        chunks: &mut [Bytes; CHUNKS],
    ) -> (usize, Result<Option<usize>, ReadError>) {
        let Self { streams, first, .. } = self;
        poll_fn(|context| {
            let count = streams.len();
            for step in 0..count {
                let index = (*first + step) % count;
                let stream = &mut streams[index];
                if !stream.has_room {
                    continue;
                }
                let read = pin!(stream.recv.read_chunks(chunks));
                if let Poll::Ready(read) = read.poll(context) {
                    *first = index + 1;
                    return Poll::Ready((index, read));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// A stream has ended; the receiver whose own it was.
    pub(super) fn finished(&mut self, index: usize) -> Option<ReceiverNumber> {
        let stream = self.streams.swap_remove(index);
        stream.receiver
    }

    /// Passes chunks of a stream on; the receivers that ended in them.
    pub(super) fn feed(
        &mut self,
        index: usize,
        chunks: &mut [Bytes],
        to: &mut impl Deliver,
    ) -> Result<Vec<ReceiverEnd>, SessionError> {
        let Self { streams, deliveries, .. } = self;
        let stream = &mut streams[index];
        let mut bytes = 0;
        for chunk in chunks {
            let mut chunk = std::mem::take(chunk);
            if let Some(preamble) = &mut stream.preamble {
                let Some((stream_for, taken)) = preamble.feed(&chunk)? else { continue };
                stream.receiver = begin(deliveries, stream_for)?;
                stream.preamble = None;
                chunk = chunk.slice(taken..);
            }
            bytes += chunk.len() as u64;
            match (&mut *deliveries, stream.receiver) {
                (Deliveries::Shared(session, slots), None) => session.data(&chunk, slots)?,
                (Deliveries::Own(receivers), Some(receiver)) => {
                    let Some(own) = receivers.get_mut(&receiver) else { continue };
                    own.session.data(&chunk, &mut own.batch)?;
                }
                _ => {}
            }
        }
        match (deliveries, stream.receiver) {
            (Deliveries::Shared(_, slots), _) => {
                while let Some(receiver) = slots.touched.pop() {
                    let Some(slot) = &mut slots.slots[receiver.0 as usize] else { continue };
                    slot.is_touched = false;
                    to.deliver(receiver, &mut slot.batch, std::mem::take(&mut slot.bytes));
                }
                Ok(std::mem::take(&mut slots.ends))
            }
            (Deliveries::Own(receivers), Some(receiver)) => {
                if let Some(own) = receivers.get_mut(&receiver)
                    && !to.deliver(receiver, &mut own.batch, bytes)
                {
                    // Part of a frame: it waits here, not with the application.
                    own.session.consumed(bytes);
                }
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// A receiver's application took bytes: of this connection, and in all.
    pub(super) fn consumed(&mut self, receiver: ReceiverNumber, (here, in_all): (u64, u64)) {
        match &mut self.deliveries {
            Deliveries::Own(receivers) => {
                if let Some(own) = receivers.get_mut(&receiver) {
                    own.session.consumed(here);
                }
            }
            Deliveries::Shared(session, _) => session.consumed(receiver, in_all),
        }
    }

    /// Tells the router what it may write for a receiver whose application took something.
    pub(super) fn grant(&mut self, receiver: ReceiverNumber, link: &mut Link) {
        match &mut self.deliveries {
            Deliveries::Own(receivers) => {
                if let Some(bytes) = receivers.get_mut(&receiver).and_then(|own| own.session.poll_grant()) {
                    link.session.grant(receiver, bytes);
                }
            }
            Deliveries::Shared(session, _) => {
                while let Some((receiver, bytes)) = session.poll_grant() {
                    link.session.grant(receiver, bytes);
                }
            }
        }
    }
}

/// The receiver of a stream that begins, if it is one receiver's.
fn begin(deliveries: &mut Deliveries, stream: StreamFor) -> Result<Option<ReceiverNumber>, SessionError> {
    match (deliveries, stream) {
        (Deliveries::Shared(..), StreamFor::All) => Ok(None),
        (Deliveries::Own(receivers), StreamFor::Receiver(receiver)) => {
            let own = receivers
                .get_mut(&receiver)
                .ok_or(SessionError::Unexpected { frame: "the stream of a receiver that is not open" })?;
            own.is_known = true;
            Ok(Some(receiver))
        }
        _ => Err(SessionError::Unexpected { frame: "a delivery stream of the other kind" }),
    }
}
