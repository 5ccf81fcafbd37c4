//! One connection to a router. See the crate.

use millrace_client::session::publisher::{Heard, Store};
use millrace_client::session::receiver::OpenError;
use millrace_client::session::{
    ConnectionConfig, ConnectionEvent, ConnectionSession, DeliverySink, PastRequest, PublisherSession,
    SessionError,
};
use millrace_proto::control::{Ack, OpenReceiver, Standby};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use millrace_sansio::{ConnId, ReadState, StreamId, Time, Transport};

use crate::control::ControlStream;
use crate::deliveries::Deliveries;
use crate::event::{Event, Failure};
use crate::publishing::Publishing;

/// One connection to a router, from its dial on.
#[derive(Debug)]
pub struct ClientConnection {
    control: ControlStream,
    publishing: Publishing,
    deliveries: Deliveries,
}

impl ClientConnection {
    /// A connection that was dialled `now`. Receivers and subscriptions may be asked for at once:
    /// they wait for the router's Welcome.
    #[must_use]
    pub fn new(conn: ConnId, config: ConnectionConfig, now: Time) -> Self {
        Self {
            control: ControlStream::new(conn, ConnectionSession::new(config, now)),
            publishing: Publishing::new(),
            deliveries: Deliveries::default(),
        }
    }

    /// Its name on the transport.
    #[inline]
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.control.id()
    }

    /// Whether the router has answered.
    #[must_use]
    pub const fn is_welcomed(&self) -> bool {
        self.control.session.is_welcomed()
    }

    /// Whether the router tells outcomes and takes acknowledgements: it was asked to, and can.
    /// False until its Welcome.
    #[must_use]
    pub const fn confirms(&self) -> bool {
        self.control.session.confirms()
    }

    /// Whether this is the control stream.
    #[inline]
    #[must_use]
    pub fn is_control(&self, stream: StreamId) -> bool {
        self.control.is(stream)
    }

    /// The handshake is complete: the control stream can be opened, here or at the next
    /// [`flush`](Self::flush) after the router allows it.
    pub fn connected(&mut self, transport: &mut impl Transport) {
        self.control.connected(transport);
    }

    /// The router opened a stream.
    pub fn stream_opened(&mut self, stream: StreamId) {
        self.deliveries.stream_opened(stream);
    }

    /// Reads about `limit` bytes of a stream: the control stream's become events, the others' go to
    /// `sink`. Says how the read ended; with [`ReadState::More`] the owner comes back to the
    /// stream.
    ///
    /// # Errors
    /// [`Failure`]: the router broke the protocol, and the connection is closed.
    #[inline]
    pub fn readable(
        &mut self,
        transport: &mut impl Transport,
        now: Time,
        stream: StreamId,
        limit: usize,
        sink: &mut impl DeliverySink,
    ) -> Result<ReadState, Failure> {
        let read = if self.control.is(stream) {
            self.read_control(transport, now, stream, limit)
        } else {
            let Self { control, deliveries, .. } = self;
            let (conn, session) = (control.id(), &mut control.session);
            session.heard(now);
            let grant = |receiver, bytes| session.grant(receiver, bytes);
            deliveries.read((transport, conn), stream, limit, sink, grant)
        };
        read.map_err(|error| self.fail(transport, error.into()))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.control.session.poll_timeout()
    }

    /// Time has gone by: a ping may be due, or the router may have been silent for too long.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.control.session.poll_timeout().is_some_and(|due| due <= now) {
            self.control.session.handle_timeout(now);
        }
    }

    /// What the router said, oldest first. `publisher` is the one whose events this connection
    /// carries; without one, what the router says of events is left out.
    ///
    /// # Errors
    /// [`Failure`]: the router broke the protocol or was silent for too long, and the connection is
    /// closed.
    pub fn poll_event<S: Store>(
        &mut self,
        transport: &mut impl Transport,
        mut publisher: Option<&mut PublisherSession<S>>,
    ) -> Result<Option<Event>, Failure> {
        while let Some(event) = self.control.session.poll_event() {
            let heard = match &mut publisher {
                Some(publisher) => {
                    publisher.hear(&event).map_err(|error| self.fail(transport, error.into()))?
                }
                None => Heard::Nothing,
            };
            match heard {
                Heard::Nothing => {}
                Heard::Received(seqs) => return Ok(Some(Event::Received { seqs })),
                Heard::Credit => {
                    let ConnectionEvent::Credit { bytes } = event else { continue };
                    return Ok(Some(Event::Credit { bytes }));
                }
                // What it is now is for whoever asks the publisher.
                Heard::Ended | Heard::Standing | Heard::Wanted { .. } => continue,
            }
            return Ok(Some(match event {
                ConnectionEvent::Welcomed(welcome) => Event::Welcomed(welcome),
                ConnectionEvent::Subscribed(subscribed) => Event::Subscribed(subscribed),
                ConnectionEvent::Refused(refused) => {
                    if refused.subscription.is_none() {
                        self.deliveries.refused(refused.receiver);
                    }
                    Event::Refused(refused)
                }
                ConnectionEvent::ReceiverClosed(closed) => {
                    self.deliveries.closed(closed.receiver);
                    Event::ReceiverClosed(closed)
                }
                ConnectionEvent::Goaway(goaway) => Event::Goaway(goaway),
                ConnectionEvent::Dead { silent_ns } => {
                    return Err(self.fail(transport, Failure::Silent { silent_ns }));
                }
                // Those of a publisher, which is not here, and of who forwards, which it does not.
                ConnectionEvent::Credit { .. }
                | ConnectionEvent::Received { .. }
                | ConnectionEvent::Outcome(_)
                | ConnectionEvent::SetState { .. }
                | ConnectionEvent::Quench(_)
                | ConnectionEvent::Unquench(_)
                | ConnectionEvent::Forwarding(_) => continue,
            }));
        }
        Ok(None)
    }

    /// Writes what the publisher has due, as far as credit and the stream allow. Returns how many
    /// chunks were taken from its session.
    #[inline]
    pub fn publish<S: Store>(
        &mut self,
        transport: &mut impl Transport,
        now: Time,
        publisher: &mut PublisherSession<S>,
    ) -> u64 {
        self.publishing.write(transport, self.control.id(), now, publisher)
    }

    /// Whether part of a publisher's chunk waits for the publish stream.
    #[inline]
    #[must_use]
    pub const fn is_publish_blocked(&self) -> bool {
        self.publishing.is_blocked()
    }

    /// Whether [`flush`](Self::flush) has something to write.
    #[inline]
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.control.has_output()
    }

    /// Writes what the control stream has to carry: the Hello, requests, grants, pings and pongs.
    pub fn flush(&mut self, transport: &mut impl Transport) {
        self.control.flush(transport);
    }

    /// Asks for a receiver that may be `window_bytes` ahead of its application; the request's first
    /// grant is set to that.
    ///
    /// # Errors
    /// [`OpenError`]: its number is taken, or too high. Nothing was asked for.
    pub fn open_receiver(&mut self, mut request: OpenReceiver, window_bytes: u64) -> Result<(), OpenError> {
        self.deliveries.open(request.receiver, window_bytes)?;
        request.grant = window_bytes;
        self.control.session.open_receiver(&request);
        Ok(())
    }

    /// Asks for a subscription, or replaces one.
    pub fn subscribe(
        &mut self,
        receiver: ReceiverNumber,
        subscription: SubscriptionNumber,
        selectors: &[String],
    ) {
        self.control.session.subscribe(receiver, subscription, selectors);
    }

    /// As [`subscribe`](Self::subscribe), with something of the past before live events. To be used
    /// where the router [has history](Self::has_history).
    pub fn subscribe_from(
        &mut self,
        receiver: ReceiverNumber,
        subscription: SubscriptionNumber,
        selectors: &[String],
        past: PastRequest,
    ) {
        self.control.session.subscribe_from(receiver, subscription, selectors, past);
    }

    /// Whether the router keeps history and tells positions: it was asked to, and lists the
    /// feature. False until its Welcome.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.control.session.has_history()
    }

    /// Takes a subscription away.
    pub fn unsubscribe(&mut self, receiver: ReceiverNumber, subscription: SubscriptionNumber) {
        self.control.session.unsubscribe(receiver, subscription);
    }

    /// Whether the router writes marks, so that receivers move to and from it without a gap. False
    /// until its Welcome.
    #[must_use]
    pub const fn has_moves(&self) -> bool {
        self.control.session.has_moves()
    }

    /// Asks for a mark in a receiver's stream, and returns its number.
    pub fn ask_mark(&mut self, receiver: ReceiverNumber) -> u64 {
        self.control.session.ask_mark(receiver)
    }

    /// Whether the router knows sets of standby publishers. False until its Welcome.
    #[must_use]
    pub const fn has_sets(&self) -> bool {
        self.control.session.sets()
    }

    /// Has the publisher join its set
    /// ([`standby_request`](millrace_client::session::PublisherSession::standby_request)).
    pub fn join_set(&mut self, request: &Standby) {
        self.control.session.join_set(request);
    }

    /// A receiver's application has taken runs that want to be acknowledged
    /// ([`wants_ack`](millrace_client::session::DeliveredRun::wants_ack)), or refused them.
    pub fn acknowledge(&mut self, ack: &Ack) {
        self.control.session.acknowledge(ack);
    }

    /// A receiver's application takes nothing from here on: what arrives for it uses its window up.
    pub fn hold(&mut self, receiver: ReceiverNumber) {
        self.deliveries.hold(receiver);
    }

    /// A receiver's application takes what waits, and goes on.
    pub fn release(&mut self, receiver: ReceiverNumber) {
        if let Some(bytes) = self.deliveries.release(receiver) {
            self.control.session.grant(receiver, bytes);
        }
    }

    /// Whether silence of the router means something; see
    /// [`liveness`](millrace_client::session::liveness).
    pub fn set_attentive(&mut self, now: Time, attentive: bool) {
        self.control.session.set_attentive(now, attentive);
    }

    fn read_control(
        &mut self,
        transport: &mut impl Transport,
        now: Time,
        stream: StreamId,
        limit: usize,
    ) -> Result<ReadState, SessionError> {
        let Self { control, deliveries, .. } = self;
        let state = control.read(transport, now, stream, limit)?;
        let session = &control.session;
        if session.is_welcomed() {
            deliveries.begin(session.shares_deliveries(), session.tables());
        }
        Ok(state)
    }

    /// Closes the connection for what went wrong.
    #[cold]
    fn fail(&self, transport: &mut impl Transport, failure: Failure) -> Failure {
        transport.close(self.control.id(), failure.close_code().code(), &failure.to_string());
        failure
    }
}
