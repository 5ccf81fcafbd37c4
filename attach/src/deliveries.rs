//! The delivery streams of one connection: bytes in, runs and gaps to the sink, grants out.
//!
//! Until the router's Welcome nobody knows whether its receivers get a stream each or share one, so
//! receivers that are asked for before are noted with their windows only.

use std::collections::HashMap;

use millrace_client::session::receiver::OpenError;
use millrace_client::session::{
    DeliveredRun, DeliveriesSession, DeliverySink, PassedBy, PreambleReader, ReceiverConfig, ReceiverSession,
    SessionError, StreamFor,
};
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, Mark, ReceiverEnd, Source};
use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;
use millrace_proto::{ReceiverNumber, TagSet};
use millrace_sansio::{ConnId, ReadState, StreamId, Transport};

/// The delivery streams of one connection.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    receivers: Receivers,
    /// Streams that the router opened and has not finished: QUIC's limit on them is the bound.
    streams: HashMap<StreamId, Incoming, ahash::RandomState>,
    /// Receivers whose application takes nothing, each once: at most as many as are open.
    held: Vec<ReceiverNumber>,
}

/// A stream that the router opened.
#[derive(Debug)]
enum Incoming {
    Preamble(PreambleReader),
    For(StreamFor),
}

/// Who reads the streams.
#[derive(Debug)]
enum Receivers {
    /// The router has not answered: windows of the receivers that were asked for, by number.
    Asked(Vec<Option<u64>>),
    /// A stream for each receiver, by number.
    Own { tables: TableCapacity, sessions: Vec<Option<ReceiverSession>> },
    /// One stream for all.
    Shared(Box<Shared>),
}

#[derive(Debug)]
struct Shared {
    session: DeliveriesSession,
    /// Bytes of run bodies that each receiver got from one chunk; empty between chunks.
    taken: Vec<(ReceiverNumber, u64)>,
}

impl Default for Receivers {
    fn default() -> Self {
        Self::Asked(Vec::new())
    }
}

impl Deliveries {
    /// The router has answered: from here on it is known who reads.
    pub(crate) fn begin(&mut self, is_shared: bool, tables: TableCapacity) {
        let Receivers::Asked(asked) = &mut self.receivers else { return };
        let asked = std::mem::take(asked);
        self.receivers = if is_shared {
            Receivers::Shared(Box::new(Shared { session: DeliveriesSession::new(tables), taken: Vec::new() }))
        } else {
            Receivers::Own { tables, sessions: Vec::new() }
        };
        for (number, window_bytes) in (0..).zip(asked) {
            if let Some(window_bytes) = window_bytes {
                // Numbers were checked when they were asked for.
                let _ = self.open(ReceiverNumber(number), window_bytes);
            }
        }
    }

    /// A receiver is about to be asked for, with a first grant of `window_bytes`.
    pub(crate) fn open(&mut self, receiver: ReceiverNumber, window_bytes: u64) -> Result<(), OpenError> {
        match &mut self.receivers {
            Receivers::Asked(windows) => place(windows, receiver, window_bytes),
            Receivers::Own { tables, sessions } => {
                let config = ReceiverConfig { receiver, window_bytes, tables: *tables };
                place(sessions, receiver, ReceiverSession::new(config))
            }
            Receivers::Shared(shared) => shared.session.open(receiver, window_bytes, 0).map(drop),
        }
    }

    /// The router did not open a receiver: its number is free.
    pub(crate) fn refused(&mut self, receiver: ReceiverNumber) {
        self.held.retain(|&held| held != receiver);
        match &mut self.receivers {
            Receivers::Asked(windows) => free(windows, receiver),
            Receivers::Own { sessions, .. } => free(sessions, receiver),
            Receivers::Shared(shared) => shared.session.refused(receiver),
        }
    }

    pub(crate) fn hold(&mut self, receiver: ReceiverNumber) {
        if !self.held.contains(&receiver) {
            self.held.push(receiver);
        }
    }

    /// The receiver's application has taken all that arrived; its new grant, if it is time for one.
    pub(crate) fn release(&mut self, receiver: ReceiverNumber) -> Option<u64> {
        self.held.retain(|&held| held != receiver);
        match &mut self.receivers {
            Receivers::Asked(_) => None,
            Receivers::Own { sessions, .. } => {
                let session = sessions.get_mut(receiver.0 as usize)?.as_mut()?;
                session.consumed(session.unconsumed());
                session.poll_grant()
            }
            Receivers::Shared(shared) => {
                shared.session.consumed(receiver, shared.session.unconsumed(receiver));
                shared.session.poll_grant().map(|(_, bytes)| bytes)
            }
        }
    }

    pub(crate) fn stream_opened(&mut self, stream: StreamId) {
        self.streams.insert(stream, Incoming::Preamble(PreambleReader::new()));
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
        let Self { receivers, streams, held } = self;
        let Some(incoming) = streams.get_mut(&stream) else {
            // It is over, or the owner was not told of it: nobody waits for what it carries.
            return Ok(transport.read(conn, stream, limit, &mut |_| {}));
        };
        let mut wrong = None;
        let state = transport.read(conn, stream, limit, &mut |chunk| {
            if wrong.is_none() {
                wrong = receivers.data(incoming, chunk, held, sink).err();
            }
        });
        if let Some(error) = wrong {
            return Err(error);
        }
        match (&mut *receivers, &*incoming) {
            (Receivers::Own { sessions, .. }, Incoming::For(StreamFor::Receiver(receiver))) => {
                let session = sessions.get_mut(receiver.0 as usize).and_then(Option::as_mut);
                if let Some(bytes) = session.and_then(ReceiverSession::poll_grant) {
                    grant(*receiver, bytes);
                }
            }
            (Receivers::Shared(shared), _) => {
                while let Some((receiver, bytes)) = shared.session.poll_grant() {
                    grant(receiver, bytes);
                }
            }
            _ => {}
        }
        if matches!(state, ReadState::Finished | ReadState::Lost) {
            streams.remove(&stream);
        }
        Ok(state)
    }
}

impl Receivers {
    /// Feeds a chunk of a stream.
    #[inline]
    fn data(
        &mut self,
        incoming: &mut Incoming,
        mut chunk: &[u8],
        held: &[ReceiverNumber],
        sink: &mut impl DeliverySink,
    ) -> Result<(), SessionError> {
        if let Incoming::Preamble(preamble) = incoming {
            let Some((stream, taken)) = preamble.feed(chunk)? else { return Ok(()) };
            self.check(stream)?;
            *incoming = Incoming::For(stream);
            chunk = &chunk[taken..];
        }
        match (self, &*incoming) {
            (Self::Own { sessions, .. }, &Incoming::For(StreamFor::Receiver(receiver))) => {
                // A receiver that is gone may have left bytes on their way.
                let session = sessions.get_mut(receiver.0 as usize).and_then(Option::as_mut);
                let Some(session) = session else { return Ok(()) };
                session.data(chunk, sink)?;
                if !held.contains(&receiver) {
                    session.consumed(chunk.len() as u64);
                }
                Ok(())
            }
            (Self::Shared(shared), _) => {
                let Shared { session, taken } = &mut **shared;
                session.data(chunk, &mut Counted { sink, taken })?;
                for (receiver, bytes) in taken.drain(..) {
                    if !held.contains(&receiver) {
                        session.consumed(receiver, bytes);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a stream may begin so.
    fn check(&self, stream: StreamFor) -> Result<(), SessionError> {
        match self {
            // Before its Welcome a router has nothing to deliver.
            Self::Asked(_) => stream.check(false, |_| false),
            Self::Own { sessions, .. } => {
                stream.check(false, |receiver| sessions.get(receiver.0 as usize).is_some_and(Option::is_some))
            }
            Self::Shared(_) => stream.check(true, |_| false),
        }
    }
}

fn place<T>(places: &mut Vec<Option<T>>, receiver: ReceiverNumber, value: T) -> Result<(), OpenError> {
    if receiver.0 >= RECEIVERS_PER_CONNECTION_MAX {
        return Err(OpenError::TooMany);
    }
    let index = receiver.0 as usize;
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    if places[index].is_some() {
        return Err(OpenError::Taken(receiver));
    }
    places[index] = Some(value);
    Ok(())
}

fn free<T>(places: &mut [Option<T>], receiver: ReceiverNumber) {
    if let Some(place) = places.get_mut(receiver.0 as usize) {
        *place = None;
    }
}

/// The owner's sink, and a note of what each receiver got on the stream of all.
struct Counted<'a, S> {
    sink: &'a mut S,
    taken: &'a mut Vec<(ReceiverNumber, u64)>,
}

impl<S: DeliverySink> DeliverySink for Counted<'_, S> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        self.sink.run(run);
        self.taken.push((run.receiver, run.bytes() as u64));
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        self.sink.gap(receiver, gap);
    }

    fn ended(&mut self, end: &ReceiverEnd) {
        self.sink.ended(end);
    }

    fn passed(&mut self, receiver: ReceiverNumber, source: Source, position: u64, by: PassedBy) {
        self.sink.passed(receiver, source, position, by);
    }

    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        self.sink.marked(receiver, mark);
    }

    fn tags_defined(&mut self, stream: StreamFor, number: u64, tags: &TagSet) {
        self.sink.tags_defined(stream, number, tags);
    }
}
