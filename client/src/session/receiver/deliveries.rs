//! The delivery streams of one connection: which session reads which stream, whose number is free,
//! and what the router is granted.
//!
//! A router opens a stream for each receiver, or one that all receivers of the connection share;
//! its Welcome says which. [`Deliveries`] knows the receivers, a [`DeliveryStream`] stands for each
//! stream that the router opened. Whoever reads streams feeds their chunks here, whatever they are
//! read from: the library from quinn, `millrace-attach` from any transport. Neither knows the two
//! kinds.
//!
//! ```text
//!  chunk ─► DeliveryStream ─► ReceiverSession of its receiver ┐
//!                          └► DeliveriesSession of all        ┴─► sink: runs, gaps, bytes used
//!                                                 consumed ─► poll_grant ─► Grant on the control stream
//! ```

use millrace_proto::ReceiverNumber;
use millrace_proto::control::TableCapacity;
use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;

use super::own::{ReceiverConfig, ReceiverSession};
use super::preamble::{PreambleReader, StreamFor};
use super::shared::{DeliveriesSession, OpenError};
use super::sink::DeliverySink;
use crate::session::SessionError;

/// The receivers of one connection, and the sessions that read their streams.
#[derive(Debug, Default)]
pub struct Deliveries {
    readers: Readers,
}

/// A stream that the router opened.
#[derive(Debug)]
pub struct DeliveryStream {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its first bytes, which say whose events it carries.
    Preamble(PreambleReader),
    Of(StreamFor),
    /// Its receiver had ended before it began.
    Unwanted,
}

#[derive(Debug)]
enum Readers {
    /// The router has not answered: windows of the receivers that were asked for, by number.
    Asked(Vec<Option<u64>>),
    /// A stream for each receiver.
    Own(Own),
    /// One stream for all.
    Shared(Box<DeliveriesSession>),
}

/// Receivers with a stream each.
#[derive(Debug)]
struct Own {
    tables: TableCapacity,
    /// By number; at most [`RECEIVERS_PER_CONNECTION_MAX`].
    places: Vec<Place>,
    /// New grants, at most one for each receiver.
    due: Vec<(ReceiverNumber, u64)>,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Free,
    Open {
        session: Box<ReceiverSession>,
        /// Whether its stream has begun.
        has_begun: bool,
    },
    /// The receiver is closed, and its stream may still begin: a new receiver of this number would
    /// get what is on its way.
    Late,
}

impl Default for Readers {
    fn default() -> Self {
        Self::Asked(Vec::new())
    }
}

impl Default for DeliveryStream {
    fn default() -> Self {
        Self::new()
    }
}

impl DeliveryStream {
    /// A stream that the router has just opened.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Preamble(PreambleReader::new()) }
    }

    /// The receiver whose own stream this is; none for a stream of all, and before its preamble.
    #[must_use]
    pub const fn receiver(&self) -> Option<ReceiverNumber> {
        match self.state {
            State::Of(StreamFor::Receiver(receiver)) => Some(receiver),
            _ => None,
        }
    }

    /// Whether nobody waits for what it carries: its receiver had ended before it began.
    #[must_use]
    pub const fn is_unwanted(&self) -> bool {
        matches!(self.state, State::Unwanted)
    }
}

impl Deliveries {
    /// Those of a connection whose router has not answered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The router has answered: whether its receivers
    /// [share a stream](crate::session::ConnectionSession::shares_deliveries), and the
    /// [tables](crate::session::ConnectionSession::tables) of its streams. Receivers that were
    /// asked for before are open from here on. Said once more, it changes nothing.
    pub fn welcomed(&mut self, is_shared: bool, tables: TableCapacity) {
        let Readers::Asked(asked) = &mut self.readers else { return };
        let asked = std::mem::take(asked);
        self.readers = if is_shared {
            Readers::Shared(Box::new(DeliveriesSession::new(tables)))
        } else {
            Readers::Own(Own { tables, places: Vec::new(), due: Vec::new() })
        };
        for (number, window_bytes) in (0..).zip(asked) {
            if let Some(window_bytes) = window_bytes {
                // Numbers were checked when they were asked for.
                let _ = self.open(ReceiverNumber(number), window_bytes, 0);
            }
        }
    }

    /// Prepares for a receiver that the connection is about to ask for, and returns its first
    /// grant: the receiver holds at most `window_bytes` and one frame or run. On a stream of all,
    /// `held` bytes of them wait already, from an older connection.
    ///
    /// # Errors
    /// [`OpenError`]: the number is taken, or too high. Nothing changed.
    pub fn open(&mut self, receiver: ReceiverNumber, window_bytes: u64, held: u64) -> Result<u64, OpenError> {
        if receiver.0 >= RECEIVERS_PER_CONNECTION_MAX {
            return Err(OpenError::TooMany);
        }
        let index = receiver.0 as usize;
        match &mut self.readers {
            Readers::Asked(windows) => {
                if windows.len() <= index {
                    windows.resize(index + 1, None);
                }
                if windows[index].is_some() {
                    return Err(OpenError::Taken(receiver));
                }
                windows[index] = Some(window_bytes);
                Ok(window_bytes)
            }
            Readers::Own(own) => own.open(receiver, window_bytes),
            Readers::Shared(session) => session.open(receiver, window_bytes, held),
        }
    }

    /// So many bytes of an older connection wait for the application of a receiver, which takes
    /// them first. They count on a stream of all.
    pub fn set_held(&mut self, receiver: ReceiverNumber, bytes: u64) {
        if let Readers::Shared(session) = &mut self.readers {
            session.set_held(receiver, bytes);
        }
    }

    /// The router did not open a receiver: its number is free.
    pub fn refused(&mut self, receiver: ReceiverNumber) {
        let index = receiver.0 as usize;
        match &mut self.readers {
            Readers::Asked(windows) => {
                if let Some(window) = windows.get_mut(index) {
                    *window = None;
                }
            }
            Readers::Own(own) => {
                if let Some(place) = own.places.get_mut(index) {
                    *place = Place::Free;
                }
            }
            Readers::Shared(session) => session.refused(receiver),
        }
    }

    /// The router has closed a receiver. Returns whether its number is free; if not, its stream has
    /// not begun, and the number is free when that has come and is dropped.
    pub fn closed(&mut self, receiver: ReceiverNumber) -> bool {
        if let Readers::Own(own) = &mut self.readers
            && let Some(place) = own.places.get_mut(receiver.0 as usize)
            && matches!(place, Place::Open { has_begun: false, .. } | Place::Late)
        {
            *place = Place::Late;
            return false;
        }
        self.refused(receiver);
        true
    }

    /// Feeds bytes of a stream; `sink` gets what they complete, and how much of each receiver's
    /// window they use.
    ///
    /// # Errors
    /// [`SessionError`] when the router breaks the protocol: the connection is to be closed.
    #[inline]
    pub fn data(
        &mut self,
        stream: &mut DeliveryStream,
        mut chunk: &[u8],
        sink: &mut impl DeliverySink,
    ) -> Result<(), SessionError> {
        if let State::Preamble(preamble) = &mut stream.state {
            let Some((of, taken)) = preamble.feed(chunk)? else { return Ok(()) };
            stream.state = self.begin(of)?;
            chunk = &chunk[taken..];
        }
        match (&mut self.readers, &stream.state) {
            (Readers::Own(own), &State::Of(StreamFor::Receiver(receiver))) => {
                // A receiver that is gone may have left bytes on their way.
                own.session(receiver).map_or(Ok(()), |session| session.data(chunk, sink))
            }
            (Readers::Shared(session), State::Of(StreamFor::All)) => session.data(chunk, sink),
            _ => Ok(()),
        }
    }

    /// Files a stream behind its preamble.
    #[cold]
    fn begin(&mut self, of: StreamFor) -> Result<State, SessionError> {
        match &mut self.readers {
            // Before its Welcome a router has nothing to deliver.
            Readers::Asked(_) => of.check(false, |_| false)?,
            Readers::Shared(_) => of.check(true, |_| false)?,
            Readers::Own(own) => {
                let mut place = match of {
                    StreamFor::Receiver(receiver) => own.places.get_mut(receiver.0 as usize),
                    StreamFor::All => None,
                };
                if let Some(place) = place.as_deref_mut()
                    && matches!(place, Place::Late)
                {
                    *place = Place::Free;
                    return Ok(State::Unwanted);
                }
                of.check(false, |_| matches!(place, Some(Place::Open { .. })))?;
                if let Some(Place::Open { has_begun, .. }) = place {
                    *has_begun = true;
                }
            }
        }
        Ok(State::Of(of))
    }

    /// The application of a receiver has taken bytes of its window, in the unit in which the sink
    /// was told that they were [used](DeliverySink::used).
    #[inline]
    pub fn consumed(&mut self, receiver: ReceiverNumber, bytes: u64) {
        match &mut self.readers {
            Readers::Asked(_) => {}
            Readers::Own(own) => own.consumed(receiver, bytes),
            Readers::Shared(session) => session.consumed(receiver, bytes),
        }
    }

    /// The application of a receiver has taken bytes that an older connection brought.
    pub fn consumed_held(&mut self, receiver: ReceiverNumber, bytes: u64) {
        if let Readers::Shared(session) = &mut self.readers {
            session.consumed(receiver, bytes);
        }
    }

    /// The application of a receiver has taken everything that arrived.
    pub fn consumed_all(&mut self, receiver: ReceiverNumber) {
        let bytes = match &mut self.readers {
            Readers::Asked(_) => 0,
            Readers::Own(own) => own.session(receiver).map_or(0, |session| session.unconsumed()),
            Readers::Shared(session) => session.unconsumed(receiver),
        };
        self.consumed(receiver, bytes);
    }

    /// A new grant for the router: of a receiver of whose window half is used up.
    #[inline]
    pub fn poll_grant(&mut self) -> Option<(ReceiverNumber, u64)> {
        match &mut self.readers {
            Readers::Asked(_) => None,
            Readers::Own(own) => own.due.pop(),
            Readers::Shared(session) => session.poll_grant(),
        }
    }
}

impl Own {
    fn open(&mut self, receiver: ReceiverNumber, window_bytes: u64) -> Result<u64, OpenError> {
        let index = receiver.0 as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, Place::default);
        }
        if !matches!(self.places[index], Place::Free) {
            return Err(OpenError::Taken(receiver));
        }
        let config = ReceiverConfig { receiver, window_bytes, tables: self.tables };
        let session = Box::new(ReceiverSession::new(config));
        let grant = session.first_grant();
        self.places[index] = Place::Open { session, has_begun: false };
        Ok(grant)
    }

    #[inline]
    fn session(&mut self, receiver: ReceiverNumber) -> Option<&mut ReceiverSession> {
        match self.places.get_mut(receiver.0 as usize)? {
            Place::Open { session, .. } => Some(session),
            Place::Free | Place::Late => None,
        }
    }

    #[inline]
    fn consumed(&mut self, receiver: ReceiverNumber, bytes: u64) {
        let Some(session) = self.session(receiver) else { return };
        session.consumed(bytes);
        let Some(grant) = session.poll_grant() else { return };
        match self.due.iter_mut().find(|(due, _)| *due == receiver) {
            Some((_, due)) => *due = grant,
            None => self.due.push((receiver, grant)),
        }
    }
}
