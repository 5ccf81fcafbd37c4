//! The delivery streams of one connection: bytes of quinn go in, batches for the inboxes come out.
//!
//! A router opens either one stream for each receiver or one that all receivers of the connection
//! share; the Welcome says which.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, Mark, ReceiverEnd, Source};
use quinn::{ReadError, RecvStream};

use super::batch::{BatchBuilder, SharedDedup, SharedHandover};
use crate::link::Link;
use crate::session::receiver::{Echo, Session};
use crate::session::{
    DeliveredRun, DeliveriesSession, DeliverySink, PassedBy, PreambleReader, ReceiverConfig, ReceiverSession,
    SessionError, StreamFor,
};

/// Chunks that one read takes from a stream, at most; a chunk holds at most one packet's bytes.
pub(super) const CHUNKS: usize = 64;

/// The delivery streams that the router has opened, and the sessions that decode them.
pub(super) struct Incoming {
    tables: TableCapacity,
    streams: Vec<Stream>,
    /// Index of the stream that the next read asks first: reads begin behind the stream that had
    /// something, because a busy stream would starve the others.
    first: usize,
    deliveries: Deliveries,
}

struct Stream {
    recv: RecvStream,
    /// Reads the first bytes, which say whose stream it is; `None` behind them.
    preamble: Option<PreambleReader>,
    /// The receiver that the preamble names; `None` for a shared stream.
    receiver: Option<ReceiverNumber>,
    /// Whether the receiver's inbox takes more; without room the stream is left unread.
    has_room: bool,
}

enum Deliveries {
    /// A stream for each receiver.
    Own(BTreeMap<ReceiverNumber, Own>),
    /// One stream for all receivers.
    Shared(Box<DeliveriesSession>, Slots),
}

struct Own {
    session: ReceiverSession,
    batch: BatchBuilder,
    /// Whether its stream has begun.
    is_known: bool,
}

/// What the chunks of one read of the shared stream hold, sorted by receiver.
#[derive(Default)]
struct Slots {
    /// By receiver number; `None` for receivers that are closed.
    slots: Vec<Option<Slot>>,
    /// Receivers that got something in this read.
    touched: Vec<ReceiverNumber>,
    ends: Vec<ReceiverEnd>,
}

#[derive(Default)]
struct Slot {
    batch: BatchBuilder,
    bytes: u64,
    is_touched: bool,
}

/// Hands batches to the applications.
pub(super) trait Deliver {
    /// Takes what a receiver got in one read, and the bytes of its window that this uses. Returns
    /// whether the application got a batch; without a whole frame there is none.
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

    /// Prepares for a receiver that the connection is about to ask for, and returns its first grant
    /// in bytes. `held` bytes of an older connection still wait for its application.
    pub(super) fn open(
        &mut self,
        receiver: ReceiverNumber,
        window_bytes: u64,
        held: u64,
        dedup: SharedDedup,
    ) -> u64 {
        match &mut self.deliveries {
            Deliveries::Own(receivers) => {
                let config = ReceiverConfig { receiver, window_bytes, tables: self.tables };
                let session = ReceiverSession::new(config);
                let grant = session.first_grant();
                receivers.insert(receiver, Own { session, batch: BatchBuilder::new(dedup), is_known: false });
                grant
            }
            Deliveries::Shared(session, slots) => {
                let index = receiver.0 as usize;
                if slots.slots.len() <= index {
                    slots.slots.resize_with(index + 1, || None);
                }
                slots.slots[index] = Some(Slot { batch: BatchBuilder::new(dedup), ..Slot::default() });
                session.open(receiver, window_bytes, held).unwrap_or_default()
            }
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
        match &mut self.deliveries {
            Deliveries::Own(receivers) => receivers.get_mut(&receiver).map(|own| &mut own.batch),
            Deliveries::Shared(_, slots) => {
                let slot = slots.slots.get_mut(receiver.0 as usize).and_then(Option::as_mut);
                slot.map(|slot| &mut slot.batch)
            }
        }
    }

    /// So many bytes of an older connection wait for a receiver's application, which takes them
    /// before those of this one.
    pub(super) fn set_held(&mut self, receiver: ReceiverNumber, bytes: u64) {
        if let Deliveries::Shared(session, _) = &mut self.deliveries {
            session.set_held(receiver, bytes);
        }
    }

    /// Counts bytes that nobody is to take: they leave the window at once.
    pub(super) fn discard(&mut self, receiver: ReceiverNumber, bytes: u64, link: &mut Link) {
        match &mut self.deliveries {
            Deliveries::Own(receivers) => {
                if let Some(own) = receivers.get_mut(&receiver) {
                    own.session.consumed(bytes);
                }
            }
            Deliveries::Shared(session, _) => session.consumed(receiver, bytes),
        }
        self.grant(receiver, link);
    }

    /// Drops what the router still sends for a receiver that its application has closed.
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

    /// Forgets a receiver that the router has ended or refused to open. Returns whether a new
    /// receiver may take its number on this connection.
    pub(super) fn gone(&mut self, receiver: ReceiverNumber) -> bool {
        match &mut self.deliveries {
            // The number stays taken until the stream has begun, because a late stream would be
            // taken for the next receiver's.
            Deliveries::Own(receivers) => receivers.remove(&receiver).is_none_or(|own| own.is_known),
            Deliveries::Shared(session, _) => {
                session.refused(receiver);
                true
            }
        }
    }

    /// Adds a stream that the router has opened.
    pub(super) fn add(&mut self, recv: RecvStream) {
        let preamble = Some(PreambleReader::new());
        self.streams.push(Stream { recv, preamble, receiver: None, has_room: true });
    }

    /// The receivers whose own stream has begun, each with the flag that lets [`Incoming::next`]
    /// read it.
    pub(super) fn own_streams(&mut self) -> impl Iterator<Item = (ReceiverNumber, &mut bool)> {
        self.streams.iter_mut().filter_map(|stream| Some((stream.receiver?, &mut stream.has_room)))
    }

    /// Reads the next chunks of any stream. Returns the stream's index and how many chunks there
    /// are; `None` at the end of the stream. The future may be dropped at any time, because it
    /// takes chunks only when it is ready.
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

    /// Removes a stream that has ended. Returns the receiver whose own it was.
    pub(super) fn finished(&mut self, index: usize) -> Option<ReceiverNumber> {
        let stream = self.streams.swap_remove(index);
        stream.receiver
    }

    /// Decodes the chunks of one read and hands batches to `to`. Returns the receivers that the
    /// router ended in them.
    ///
    /// # Errors
    /// [`SessionError`] when the router breaks the protocol: the connection is to be closed.
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
                    // The session holds the begun frame, so its bytes leave the window at once:
                    // the application gets nothing that it could take.
                    own.session.consumed(bytes);
                }
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Counts bytes that a receiver's application took: those of this connection, and those of all
    /// its connections.
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

    /// Grants the router what it may write for a receiver whose application has taken bytes.
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

/// Files a stream behind its preamble. Returns its receiver; `None` for a shared stream.
fn begin(deliveries: &mut Deliveries, stream: StreamFor) -> Result<Option<ReceiverNumber>, SessionError> {
    match deliveries {
        Deliveries::Shared(..) => stream.check(true, |_| false).map(|()| None),
        Deliveries::Own(receivers) => {
            stream.check(false, |receiver| receivers.contains_key(&receiver))?;
            let StreamFor::Receiver(receiver) = stream else { return Ok(None) };
            if let Some(own) = receivers.get_mut(&receiver) {
                own.is_known = true;
            }
            Ok(Some(receiver))
        }
    }
}
