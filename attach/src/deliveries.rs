//! The delivery streams of one connection: bytes in, runs and gaps to the sink, grants out. Which
//! session reads which stream, the client library's
//! [`Deliveries`](millrace_client::session::Deliveries) decides.

use std::collections::HashMap;

use millrace_client::session::receiver::OpenError;
use millrace_client::session::{
    DeliveredRun, Deliveries as Sessions, DeliverySink, DeliveryStream, PassedBy, SessionError, StreamFor,
};
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, Mark, ReceiverEnd, Source};
use millrace_proto::{ReceiverNumber, TagSet};
use millrace_sansio::{ConnId, ReadState, StreamId, Transport};

/// The delivery streams of one connection.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    sessions: Sessions,
    /// Streams that the router opened and has not finished: QUIC's limit on them is the bound.
    streams: HashMap<StreamId, DeliveryStream, ahash::RandomState>,
    /// Receivers whose application takes nothing, each once: at most as many as are open.
    held: Vec<ReceiverNumber>,
    /// Bytes that receivers got from one chunk, and take at once; empty between chunks.
    taken: Vec<(ReceiverNumber, u64)>,
}

impl Deliveries {
    /// The router has answered: from here on it is known who reads.
    pub(crate) fn begin(&mut self, is_shared: bool, tables: TableCapacity) {
        self.sessions.welcomed(is_shared, tables);
    }

    /// A receiver is about to be asked for, with a first grant of `window_bytes`.
    pub(crate) fn open(&mut self, receiver: ReceiverNumber, window_bytes: u64) -> Result<(), OpenError> {
        self.sessions.open(receiver, window_bytes, 0).map(drop)
    }

    /// The router did not open a receiver: its number is free.
    pub(crate) fn refused(&mut self, receiver: ReceiverNumber) {
        self.held.retain(|&held| held != receiver);
        self.sessions.refused(receiver);
    }

    /// The router has closed a receiver.
    pub(crate) fn closed(&mut self, receiver: ReceiverNumber) {
        self.held.retain(|&held| held != receiver);
        self.sessions.closed(receiver);
    }

    pub(crate) fn hold(&mut self, receiver: ReceiverNumber) {
        if !self.held.contains(&receiver) {
            self.held.push(receiver);
        }
    }

    /// The receiver's application has taken all that arrived; its new grant, if it is time for one.
    pub(crate) fn release(&mut self, receiver: ReceiverNumber) -> Option<u64> {
        self.held.retain(|&held| held != receiver);
        self.sessions.consumed_all(receiver);
        self.sessions.poll_grant().map(|(_, bytes)| bytes)
    }

    pub(crate) fn stream_opened(&mut self, stream: StreamId) {
        self.streams.insert(stream, DeliveryStream::new());
    }

    /// Reads a stream; `grant` gets what the router may write from here on.
    #[inline]
    pub(crate) fn read(
        &mut self,
        (transport, conn): (&mut impl Transport, ConnId),
        stream: StreamId,
        limit: usize,
        sink: &mut impl DeliverySink,
        mut grant: impl FnMut(ReceiverNumber, u64),
    ) -> Result<ReadState, SessionError> {
        let Self { sessions, streams, held, taken } = self;
        let Some(delivery) = streams.get_mut(&stream) else {
            // It is over, or the owner was not told of it: nobody waits for what it carries.
            return Ok(transport.read(conn, stream, limit, &mut |_| {}));
        };
        let mut wrong = None;
        let state = transport.read(conn, stream, limit, &mut |chunk| {
            if wrong.is_none() {
                wrong = sessions.data(delivery, chunk, &mut Taking { sink, held, taken }).err();
                taken.drain(..).for_each(|(receiver, bytes)| sessions.consumed(receiver, bytes));
            }
        });
        if let Some(error) = wrong {
            return Err(error);
        }
        while let Some((receiver, bytes)) = sessions.poll_grant() {
            grant(receiver, bytes);
        }
        if matches!(state, ReadState::Finished | ReadState::Lost) {
            streams.remove(&stream);
        }
        Ok(state)
    }
}

/// The owner's sink, and a note of what each receiver got that is not on hold.
struct Taking<'a, S> {
    sink: &'a mut S,
    held: &'a [ReceiverNumber],
    taken: &'a mut Vec<(ReceiverNumber, u64)>,
}

impl<S: DeliverySink> DeliverySink for Taking<'_, S> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        self.sink.run(run);
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        self.sink.gap(receiver, gap);
    }

    #[inline]
    fn used(&mut self, receiver: ReceiverNumber, bytes: u64) {
        self.sink.used(receiver, bytes);
        if !self.held.contains(&receiver) {
            self.taken.push((receiver, bytes));
        }
    }

    fn passed(&mut self, receiver: ReceiverNumber, source: Source, position: u64, by: PassedBy) {
        self.sink.passed(receiver, source, position, by);
    }

    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        self.sink.marked(receiver, mark);
    }

    fn ended(&mut self, end: &ReceiverEnd) {
        self.sink.ended(end);
    }

    fn tags_defined(&mut self, stream: StreamFor, number: u64, tags: &TagSet) {
        self.sink.tags_defined(stream, number, tags);
    }
}
