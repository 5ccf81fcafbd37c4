//! The control stream of one connection, from the client's side.
//!
//! ```text
//! client                                   router
//!   Hello ────────────────────────────────▶          nothing else before Welcome
//!         ◀──────────────────────────────── Welcome
//!   OpenReceiver, Subscribe, Grant … ─────▶
//!         ◀──────────────────────────────── Subscribed (router), Subscribed (cluster), Refused
//!         ◀──────────────────────────────── Credit, Received
//!   Ping ◀───────────────────────────────▶ Pong, both ways
//!         ◀──────────────────────────────── Goaway: move within its delay
//! ```
//!
//! Requests made before the Welcome wait for it. Pings are answered with the newest nonce only, so
//! a router that pings without end costs one pong per poll. Feed what the stream carries to
//! [`ConnectionSession::control_data`], take events until [`ConnectionSession::poll_event`] has
//! none, write what [`ConnectionSession::poll_control_output`] gives, and call
//! [`ConnectionSession::handle_timeout`] when [`ConnectionSession::poll_timeout`] says.

mod config;
mod event;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_proto::control::{
    Ack, CloseReceiver, ControlFrame, Grant, Hello, Member, Move, OpenReceiver, Ping, Pong, Quench, Quenched,
    Received, Standby, Subscribe, TableCapacity, Unquench, Unsubscribe, Welcome,
};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::{ClusterId, PROTOCOL_VERSION, ReceiverNumber, SubscriptionNumber, feature, varint};

pub use self::config::ConnectionConfig;
pub use self::event::ConnectionEvent;
use super::SessionError;
use super::forwarding::forwarding;
use super::liveness::{Due, Liveness};
use super::past::PastRequest;
use crate::time::Time;

/// Value of `deliveries` in Hello and Welcome: one stream for all receivers.
const DELIVERIES_SHARED: u64 = 1;

/// Most events that wait for [`ConnectionSession::poll_event`]. A driver that takes them after each
/// chunk of up to 64 KiB never comes near.
const EVENTS_MAX: usize = 65_536;

/// The control stream of one connection.
#[derive(Debug)]
pub struct ConnectionSession {
    reader: FrameReader,
    /// Frames to write.
    output: Vec<u8>,
    /// Frames that wait for the Welcome.
    held: Vec<u8>,
    welcomed: bool,
    pong_due: Option<u64>,
    next_nonce: u64,
    /// The newest ping that was answered; none before the first answer.
    answered: Option<u64>,
    events: VecDeque<ConnectionEvent>,
    liveness: Liveness,
    tables: TableCapacity,
    /// Whether Hello asks for one delivery stream; from the Welcome on, whether there is one.
    share_deliveries: bool,
    /// Whether Hello asks for confirms; from the Welcome on, whether there are any.
    confirms: bool,
    /// The router has groups.
    groups: bool,
    /// The router knows names, requests and replies.
    names: bool,
    /// The router knows sets of standby publishers.
    sets: bool,
    /// History was asked for; from the Welcome on, whether the router keeps any.
    history: bool,
    /// Marks were announced; from the Welcome on, whether the router writes them.
    moves: bool,
    /// Whether it forwards from another cluster.
    forwards: bool,
    /// Quench and Unquench were announced.
    quench: bool,
    /// Numbers of publishers are below it.
    publishers: u64,
    /// Number of the last mark that was asked for.
    last_mark: u64,
}

impl ConnectionSession {
    /// A connection that begins `now`; its Hello is ready to be written.
    #[must_use]
    pub fn new(config: ConnectionConfig, now: Time) -> Self {
        let ConnectionConfig {
            software,
            tables,
            receivers,
            liveness,
            received_within_us,
            share_deliveries,
            confirms,
            history,
            moves,
            quench,
            publishers,
            secret,
            token,
            zone,
            cluster,
        } = config;
        let received_within_us = received_within_us.min(varint::MAX);
        let mut output = Vec::with_capacity(128);
        let mut hello = Hello {
            version: PROTOCOL_VERSION,
            software,
            tables,
            receivers,
            received_within_us,
            secret,
            token,
            zone,
            cluster,
            ..Hello::default()
        };
        hello.features = hello.features.with(feature::PROOF).with(feature::STANDBY);
        if share_deliveries {
            hello.deliveries = DELIVERIES_SHARED;
            hello.features = hello.features.with(feature::DELIVERIES);
        }
        if confirms {
            hello.features =
                hello.features.with(feature::CONFIRMS).with(feature::GROUPS).with(feature::NAMES);
        }
        if history {
            hello.positions = true;
            hello.features = hello.features.with(feature::HISTORY);
        }
        if moves {
            hello.features = hello.features.with(feature::MOVES);
        }
        let forwards = cluster != ClusterId(0);
        if forwards {
            hello.features = hello.features.with(feature::FORWARDING);
        }
        if quench {
            hello.features = hello.features.with(feature::QUENCH);
        }
        hello.encode(&mut output);
        Self {
            reader: FrameReader::new(),
            output,
            held: Vec::new(),
            welcomed: false,
            pong_due: None,
            next_nonce: 1,
            answered: None,
            events: VecDeque::new(),
            liveness: Liveness::new(liveness, now),
            tables,
            share_deliveries,
            confirms,
            groups: false,
            names: false,
            sets: false,
            history,
            moves,
            forwards,
            quench,
            publishers,
            last_mark: 0,
        }
    }

    /// Whether the router has answered.
    #[must_use]
    pub const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// The tables that Hello announced, of each delivery stream: for
    /// [`Deliveries::welcomed`](super::Deliveries::welcomed).
    #[must_use]
    pub const fn tables(&self) -> TableCapacity {
        self.tables
    }

    /// Whether all receivers share one delivery stream: Hello asked for it, and the router's
    /// Welcome agrees. False until the Welcome.
    #[must_use]
    pub const fn shares_deliveries(&self) -> bool {
        self.welcomed && self.share_deliveries
    }

    /// Whether the router confirms: Hello asked for it, and the router lists the feature. False
    /// until the Welcome.
    #[must_use]
    pub const fn confirms(&self) -> bool {
        self.welcomed && self.confirms
    }

    /// Whether receivers may be members of groups: that takes confirms, and the router lists the
    /// feature. False until the Welcome.
    #[must_use]
    pub const fn groups(&self) -> bool {
        self.welcomed && self.confirms && self.groups
    }

    /// Whether receivers may have names, and events recipients, requests and replies: that takes
    /// confirms, and the router lists the feature. False until the Welcome.
    #[must_use]
    pub const fn names(&self) -> bool {
        self.welcomed && self.confirms && self.names
    }

    /// Whether the router knows sets of standby publishers. False until the Welcome.
    #[must_use]
    pub const fn sets(&self) -> bool {
        self.welcomed && self.sets
    }

    /// Whether the router keeps history and tells positions: it was asked to, and lists the
    /// feature. False until the Welcome.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.welcomed && self.history
    }

    /// Whether the router writes marks, so that receivers move to and from it without a gap. False
    /// until the Welcome.
    #[must_use]
    pub const fn has_moves(&self) -> bool {
        self.welcomed && self.moves
    }

    /// Feeds bytes of the control stream.
    ///
    /// # Errors
    /// [`SessionError`]: close the connection with its code.
    pub fn control_data(&mut self, now: Time, chunk: &[u8]) -> Result<(), SessionError> {
        self.heard(now);
        let mut reader = std::mem::take(&mut self.reader);
        let outcome = reader.feed::<SessionError>(chunk, CONTROL_FRAME_BYTES_MAX, |kind, body| {
            self.frame(now, ControlFrame::decode(kind, body)?)
        });
        self.reader = reader;
        outcome
    }

    /// Notes that bytes of a receiver's stream arrived, which shows that the router lives.
    #[inline]
    pub fn heard(&mut self, now: Time) {
        if self.welcomed {
            self.liveness.heard(now);
        }
    }

    /// Takes the oldest event.
    #[inline]
    pub fn poll_event(&mut self) -> Option<ConnectionEvent> {
        let event = self.events.pop_front();
        if let Some(
            ConnectionEvent::Quench(Quench { version, .. })
            | ConnectionEvent::Unquench(Unquench { version, .. }),
        ) = &event
        {
            Quenched { version: *version }.encode(&mut self.output);
        }
        event
    }

    /// Whether [`ConnectionSession::poll_control_output`] has something.
    #[inline]
    #[must_use]
    pub const fn has_output(&self) -> bool {
        self.pong_due.is_some() || !self.output.is_empty()
    }

    /// Bytes to write to the control stream, in order.
    pub fn poll_control_output(&mut self) -> Option<Bytes> {
        if let Some(nonce) = self.pong_due.take() {
            Pong { nonce }.encode(&mut self.output);
        }
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output).into())
    }

    /// When to call [`ConnectionSession::handle_timeout`]; `None` when the connection is dead.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.liveness.poll_timeout()
    }

    /// Handles a timeout: a ping goes to the output, or the event is [`ConnectionEvent::Dead`].
    pub fn handle_timeout(&mut self, now: Time) {
        match self.liveness.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => {
                self.ask_pong();
            }
            Due::Dead { silent_ns } => self.events.push_back(ConnectionEvent::Dead { silent_ns }),
        }
    }

    /// Asks for an answer behind everything that was said before. Returns its number.
    pub fn ask_pong(&mut self) -> u64 {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        Ping { nonce }.encode(&mut self.output);
        nonce
    }

    /// Whether the router has answered [`ask_pong`](Self::ask_pong) of this number, or a later one.
    #[must_use]
    pub fn has_answered(&self, nonce: u64) -> bool {
        self.answered >= Some(nonce)
    }

    /// Sets whether the session is attentive: it has receivers, or its publisher [expects an
    /// answer](super::PublisherSession::expects_answer). See [`liveness`](super::liveness).
    #[inline]
    pub fn set_attentive(&mut self, now: Time, attentive: bool) {
        self.liveness.set_attentive(now, attentive);
    }

    /// Opens a receiver.
    pub fn open_receiver(&mut self, request: &OpenReceiver) {
        request.encode(self.requests());
    }

    /// Adds or replaces a subscription. Answered by [`ConnectionEvent::Subscribed`], twice, or
    /// [`ConnectionEvent::Refused`].
    pub fn subscribe(
        &mut self,
        receiver: ReceiverNumber,
        subscription: SubscriptionNumber,
        selectors: &[String],
    ) {
        let selectors = selectors.to_vec();
        Subscribe { receiver, subscription, selectors, ..Subscribe::default() }.encode(self.requests());
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
        let selectors = selectors.to_vec();
        let PastRequest { since_us, cursor, is_newest_only } = past;
        let last = u64::from(is_newest_only);
        Subscribe { receiver, subscription, selectors, since_us, cursor, last }.encode(self.requests());
    }

    /// Takes a subscription away.
    pub fn unsubscribe(&mut self, receiver: ReceiverNumber, subscription: SubscriptionNumber) {
        Unsubscribe { receiver, subscription }.encode(self.requests());
    }

    /// Allows the router to write a receiver's stream up to `bytes` behind its preamble.
    pub fn grant(&mut self, receiver: ReceiverNumber, bytes: u64) {
        Grant { receiver, bytes }.encode(self.requests());
    }

    /// Closes a receiver. Answered by [`ConnectionEvent::ReceiverClosed`].
    pub fn close_receiver(&mut self, receiver: ReceiverNumber) {
        CloseReceiver { receiver }.encode(self.requests());
    }

    /// Asks for a mark in a receiver's stream, behind everything that any router has routed before
    /// this request is read, and returns its number. To be used where the router
    /// [has moves](Self::has_moves).
    pub fn ask_mark(&mut self, receiver: ReceiverNumber) -> u64 {
        self.last_mark += 1;
        let mark = self.last_mark;
        Move { receiver, mark, ..Move::default() }.encode(self.requests());
        mark
    }

    /// Acknowledges runs of a receiver, if the router confirms.
    pub fn acknowledge(&mut self, ack: &Ack) {
        if self.confirms() {
            ack.encode(&mut self.output);
        }
    }

    /// Says whether a receiver, as a member of its group, takes no events at the moment.
    pub fn set_busy(&mut self, receiver: ReceiverNumber, busy: bool) {
        if self.groups() {
            Member { receiver, busy }.encode(&mut self.output);
        }
    }

    /// Has a publisher join its set
    /// ([`PublisherSession::standby_request`](super::PublisherSession::standby_request)). Answered
    /// by [`ConnectionEvent::SetState`], or [`ConnectionEvent::Refused`] with the publisher.
    pub fn join_set(&mut self, request: &Standby) {
        request.encode(self.requests());
    }

    fn requests(&mut self) -> &mut Vec<u8> {
        if self.welcomed { &mut self.output } else { &mut self.held }
    }

    fn frame(&mut self, now: Time, frame: ControlFrame) -> Result<(), SessionError> {
        if !self.welcomed && !matches!(frame, ControlFrame::Welcome(_) | ControlFrame::Skipped { .. }) {
            return Err(SessionError::Unexpected { frame: "a frame before its Welcome" });
        }
        if self.forwards
            && let Some(said) = forwarding(&frame)
        {
            return self.push_event(ConnectionEvent::Forwarding(said));
        }
        let event = match frame {
            ControlFrame::Welcome(welcome) => self.welcome(now, welcome)?,
            ControlFrame::Ping(Ping { nonce }) => {
                self.pong_due = Some(nonce);
                return Ok(());
            }
            ControlFrame::Pong(Pong { nonce }) => {
                self.answered = self.answered.max(Some(nonce));
                return Ok(());
            }
            ControlFrame::Skipped { .. } => return Ok(()),
            ControlFrame::Credit(credit) => ConnectionEvent::Credit { bytes: credit.bytes },
            ControlFrame::Received(Received { publisher, next_seq }) if publisher < self.publishers => {
                ConnectionEvent::Received { publisher, next_seq }
            }
            ControlFrame::Outcome(outcome) if self.confirms && outcome.publisher < self.publishers => {
                ConnectionEvent::Outcome(outcome)
            }
            ControlFrame::SetState(state) => ConnectionEvent::SetState { at: now, state },
            ControlFrame::Received(_) => {
                return Err(SessionError::Unexpected {
                    frame: "Received for a publisher that was not defined",
                });
            }
            ControlFrame::Quench(quench) if self.quench => ConnectionEvent::Quench(quench),
            ControlFrame::Unquench(unquench) if self.quench => ConnectionEvent::Unquench(unquench),
            ControlFrame::Subscribed(subscribed) => ConnectionEvent::Subscribed(subscribed),
            ControlFrame::Refused(refused) => ConnectionEvent::Refused(refused),
            ControlFrame::ReceiverClosed(closed) => ConnectionEvent::ReceiverClosed(closed),
            ControlFrame::Goaway(goaway) => ConnectionEvent::Goaway(goaway),
            _ => {
                return Err(SessionError::Unexpected {
                    frame: "a client's frame, or one of a feature that this client does not list",
                });
            }
        };
        self.push_event(event)
    }

    fn push_event(&mut self, event: ConnectionEvent) -> Result<(), SessionError> {
        if self.events.len() == EVENTS_MAX {
            return Err(SessionError::Limit { what: "the events that can wait" });
        }
        self.events.push_back(event);
        Ok(())
    }

    fn welcome(&mut self, now: Time, welcome: Welcome) -> Result<ConnectionEvent, SessionError> {
        if self.welcomed {
            return Err(SessionError::Unexpected { frame: "a second Welcome" });
        }
        if welcome.version != PROTOCOL_VERSION {
            return Err(SessionError::Version { theirs: welcome.version, ours: PROTOCOL_VERSION });
        }
        if !self.share_deliveries && welcome.deliveries != 0 {
            return Err(SessionError::Unexpected { frame: "a Welcome to deliveries that nobody asked for" });
        }
        self.welcomed = true;
        self.share_deliveries = welcome.deliveries == DELIVERIES_SHARED;
        self.groups = welcome.features.contains(feature::GROUPS);
        self.names = welcome.features.contains(feature::NAMES);
        self.sets = welcome.features.contains(feature::STANDBY);
        self.confirms &= welcome.features.contains(feature::CONFIRMS);
        self.history &= welcome.features.contains(feature::HISTORY);
        self.moves &= welcome.features.contains(feature::MOVES);
        self.output.append(&mut self.held);
        self.held = Vec::new();
        self.liveness.opened(now, welcome.silence_us.saturating_mul(1000));
        Ok(ConnectionEvent::Welcomed(Box::new(welcome)))
    }
}
