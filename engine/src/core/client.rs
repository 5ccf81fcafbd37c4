//! A client's session: its control stream, its publish stream, its receivers.

mod subscriptions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{
    ControlFrame, Goaway, Grant, Hello, OpenReceiver, OverflowPolicy, Pong, ReceiverClosed, Refused,
    RefusedReason, TableCapacity, Welcome,
};
use millrace_proto::data::GapReason;
use millrace_proto::frame;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::stream::DeliverPreamble;
use millrace_proto::{CloseCode, DecodeError, PROTOCOL_VERSION, ReceiverNumber, control};

pub(super) use self::subscriptions::PendingSubscription;
use super::ahead::Ahead;
use super::metrics::DropReason;
use super::outbound::{Overflow, RunWriter};
use super::publisher::{PublishRead, PublishStream};
use super::receiver::{Receiver, ReceiverSlot};
use super::{CONTROL_PER_CLIENT, Core, RECEIVED_STEP};
use crate::message::Token;
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamKey, Transport};

/// Subscriptions of one client whose selectors are being read, at most: beyond them its control stream is left unread until
/// half of them were answered.
const PENDING_REQUESTS_MAX: u32 = 1024;
/// Bytes of a control stream that are read at once.
pub(super) const CONTROL_READ_BYTES: usize = 16 * 1024;
/// Longest linger that a receiver may ask for.
const LINGER_MAX: Duration = Duration::from_secs(10);

/// One client connection.
#[derive(Debug)]
pub(super) struct ClientSession {
    pub(super) control: Option<StreamKey>,
    /// What was read of the control stream and not handled: frames that wait for their turn, and the start of one. At most
    /// what one read brings, behind the start of a frame: 80 KiB.
    pub(super) input: Vec<u8>,
    /// Control frames that wait for the transport, bounded by `control_out_bytes`.
    pub(super) out: Vec<u8>,
    /// Whether it stands in the core's list of clients with control frames to write.
    pub(super) dirty: bool,
    /// Set by Hello.
    tables: Option<TableCapacity>,
    receivers_max: u32,
    /// How long the publisher can wait for `Received`.
    received_after: Duration,
    pub(super) publish: Option<PublishStream>,
    credit: u64,
    pub(super) receivers: BTreeMap<ReceiverNumber, ReceiverSlot>,
    pub(super) streams: HashMap<StreamKey, ReceiverSlot, ahash::RandomState>,
    /// Receivers whose stream QUIC has not allowed yet.
    pub(super) unopened: Vec<ReceiverSlot>,
    pending_requests: u32,
    /// Its control stream is left unread until more of them were answered.
    waits_for_answers: bool,
    /// Receivers that are closed and have not written everything: fewer than twice those that may be open.
    pub(super) closing: Vec<ReceiverSlot>,
}

impl ClientSession {
    pub(super) fn new() -> Self {
        Self {
            control: None,
            input: Vec::new(),
            out: Vec::new(),
            dirty: false,
            tables: None,
            receivers_max: 0,
            received_after: Duration::ZERO,
            publish: None,
            credit: 0,
            receivers: BTreeMap::new(),
            streams: HashMap::default(),
            unopened: Vec::new(),
            pending_requests: 0,
            waits_for_answers: false,
            closing: Vec::new(),
        }
    }

    pub(super) const fn said_hello(&self) -> bool {
        self.tables.is_some()
    }

    /// Tells the publisher what was received: where a packet leaves anyway, that is for free.
    pub(super) fn report(&mut self) {
        if let Some(publish) = &mut self.publish {
            publish.report(&mut self.out);
        }
    }

    /// Whether its control stream is left unread until more of its subscriptions were answered.
    const fn waits(&mut self) -> bool {
        self.waits_for_answers = self.pending_requests >= PENDING_REQUESTS_MAX;
        self.waits_for_answers
    }

    /// Keeps what was not handled of the control stream.
    fn keep(&mut self, mut input: Vec<u8>, handled: usize) {
        input.drain(..handled);
        if input.is_empty() {
            return;
        }
        if input.capacity() > 2 * CONTROL_READ_BYTES {
            input.shrink_to_fit();
        }
        self.input = input;
    }

    /// Grants credit, or more of it.
    pub(super) fn extend_credit(&mut self, window: u64) {
        if !self.said_hello() {
            return;
        }
        match &mut self.publish {
            Some(publish) => self.credit = publish.extend_credit(self.credit, window, &mut self.out),
            None if self.credit == 0 => {
                self.credit = window;
                control::Credit { bytes: window }.encode(&mut self.out);
            }
            None => {}
        }
    }
}

impl Core {
    /// A client opened a stream.
    pub(super) fn client_stream(&mut self, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        let tables = self.config.client_tables;
        let Some(client) = self.client(conn) else { return };
        let wrong = if stream.is_uni() {
            let twice = client.publish.is_some() || !client.said_hello();
            if !twice {
                client.publish = Some(PublishStream::new(stream, tables));
            }
            twice
        } else {
            let twice = client.control.is_some();
            if !twice {
                client.control = Some(stream);
            }
            twice
        };
        if wrong {
            let reason = "one control stream and, after Hello, one publish stream are allowed";
            self.close_connection(transport, conn, CloseCode::Unexpected, reason);
        }
    }

    /// A stream of a client can be read.
    pub(super) fn client_readable(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        stream: StreamKey,
    ) {
        let Some(client) = self.client(conn) else { return };
        if client.control == Some(stream) {
            if !self.client_waits_for_control(conn, stream) {
                self.read_client_control(now, transport, conn, stream);
            }
        } else if client.publish.as_ref().is_some_and(|publish| publish.stream == stream) {
            self.read_publish(now, transport, conn);
        }
    }

    /// Takes control frames, as many as fit what is left of this turn's work on them.
    pub(super) fn read_client_control(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        stream: StreamKey,
    ) {
        let Some(client) = self.client(conn) else { return };
        if client.waits() {
            return;
        }
        let mut input = std::mem::take(&mut client.input);
        // Of a stream whose frames have waited nobody knows whether there is more.
        let mut state = ReadState::More;
        if matches!(frame::split(&input, CONTROL_FRAME_BYTES_MAX), Ok(None)) {
            state = transport.read(conn, stream, CONTROL_READ_BYTES, &mut |chunk| {
                input.extend_from_slice(chunk);
            });
        }
        // Who ends the stream is heard to the end at once: it has no more turns.
        let is_last = matches!(state, ReadState::Finished | ReadState::Lost);
        let rest = self.control_left.saturating_sub(CONTROL_PER_CLIENT);
        let mut handled = 0;
        let end = loop {
            let (kind, body, taken) = match frame::split(&input[handled..], CONTROL_FRAME_BYTES_MAX) {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(broken(&error)),
            };
            let is_over = self.control_left <= rest;
            let Some(client) = self.client(conn) else { return };
            // Each call handles one frame at least.
            if handled > 0 && !is_last {
                let waits = client.waits();
                if waits || is_over {
                    client.keep(input, handled);
                    if !waits {
                        self.put_client_behind(conn, stream);
                    }
                    return;
                }
            }
            handled += taken;
            self.control_left = self.control_left.saturating_sub(1);
            let next = ControlFrame::decode(kind, body).map_err(|error| broken(&error));
            if let Err(wrong) = next.and_then(|next| self.client_frame(now, transport, conn, next)) {
                break Err(wrong);
            }
        };
        if let Err((code, reason)) = end {
            self.close_connection(transport, conn, code, &reason);
            return;
        }
        let Some(client) = self.client(conn) else { return };
        client.keep(input, handled);
        match state {
            ReadState::Drained => {}
            ReadState::More => drop(self.unread.insert((conn, stream))),
            ReadState::Finished | ReadState::Lost => {
                self.close_connection(transport, conn, CloseCode::Done, "the control stream ended");
            }
        }
    }

    fn client_frame(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        frame: ControlFrame,
    ) -> Result<(), (CloseCode, String)> {
        let unexpected = |what: &str| Err((CloseCode::Unexpected, what.to_owned()));
        let Some(client) = self.client(conn) else { return Ok(()) };
        match (client.said_hello(), frame) {
            (false, ControlFrame::Hello(hello)) => self.client_hello(conn, &hello),
            (false, _) => unexpected("Hello comes first"),
            (true, ControlFrame::Hello(_)) => unexpected("Hello comes once"),
            (true, ControlFrame::Ping(ping)) => {
                Pong { nonce: ping.nonce }.encode(&mut client.out);
                client.report();
                self.mark_client(conn);
                Ok(())
            }
            (true, ControlFrame::OpenReceiver(open)) => {
                self.open_receiver(transport, conn, &open);
                Ok(())
            }
            (true, ControlFrame::Subscribe(subscribe)) => {
                self.subscribe(conn, subscribe);
                Ok(())
            }
            (true, ControlFrame::Unsubscribe(unsubscribe)) => {
                self.unsubscribe(conn, &unsubscribe);
                Ok(())
            }
            (true, ControlFrame::Grant(grant)) => {
                self.grant(conn, &grant);
                Ok(())
            }
            (true, ControlFrame::CloseReceiver(close)) => {
                self.close_receiver(now, transport, conn, close.receiver);
                Ok(())
            }
            (true, ControlFrame::Pong(_)) => Ok(()),
            (true, ControlFrame::Skipped { .. }) => {
                self.routing.metrics.frames_skipped += 1;
                Ok(())
            }
            (true, _) => unexpected("this frame goes from router to client"),
        }
    }

    fn client_hello(&mut self, conn: ConnKey, hello: &Hello) -> Result<(), (CloseCode, String)> {
        if hello.version != PROTOCOL_VERSION {
            let reason = format!("protocol version {} is not {PROTOCOL_VERSION}", hello.version);
            return Err((CloseCode::Version, reason));
        }
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            router: self.config.router,
            incarnation: self.config.incarnation,
            cores: self.config.cores,
            core: self.config.core,
            tables: self.config.client_tables,
            receivers_max: self.config.receivers_per_connection_max,
            alternates: self.alternates.clone(),
            silence_us: micros(self.config.client_silence),
            software: self.config.software.clone(),
            ..Welcome::default()
        };
        let (synced, window) = (self.synced, self.config.credit_bytes);
        let receivers_max = self.config.receivers_per_connection_max;
        let tables_max = self.config.receiver_tables;
        let received_after = match hello.received_within_us {
            0 => self.config.received_after,
            wished => Duration::from_micros(wished).min(self.config.received_after_max),
        };
        let goaway = self.draining.map(|grace_us| Goaway {
            delay_us: 0,
            alternates: self.alternates.clone(),
            reason: "this router is going away".into(),
            grace_us,
            ..Goaway::default()
        });
        let Some(client) = self.client(conn) else { return Ok(()) };
        client.tables = Some(at_most(hello.tables, tables_max));
        client.receivers_max = hello.receivers.min(receivers_max);
        client.received_after = received_after;
        welcome.encode(&mut client.out);
        if let Some(goaway) = goaway {
            goaway.encode(&mut client.out);
        }
        if synced {
            client.extend_credit(window);
        }
        self.mark_client(conn);
        Ok(())
    }

    /// Reads a publish stream, unless a sibling core cannot keep up.
    pub(super) fn read_publish(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey) {
        let (limit, window) = (self.config.read_bytes, self.config.credit_bytes);
        let pressed = self.is_pressed();
        let Some(super::Connection::Client(client)) = self.connections.get_mut(&conn) else { return };
        let Some(publish) = client.publish.as_mut().filter(|publish| !publish.finished) else { return };
        let stream = publish.stream;
        if pressed {
            self.paused.insert((conn, stream));
            return;
        }
        let read = publish.read(conn, transport, &mut self.routing, client.credit, limit);
        match read {
            PublishRead::Wrong(code, reason) => {
                self.close_connection(transport, conn, code, &reason);
                return;
            }
            PublishRead::More => drop(self.unread.insert((conn, stream))),
            PublishRead::Drained | PublishRead::Ended => {}
        }
        let at_once = read == PublishRead::Ended || publish.is_pressing(self.config.received_bytes);
        if at_once {
            publish.report(&mut client.out);
        } else if publish.due.is_none() && publish.unreported() {
            let due = (now + client.received_after).rounded_up(RECEIVED_STEP);
            publish.due = Some(due);
            self.unreported.insert((due, conn));
        }
        client.extend_credit(window);
        self.mark_client(conn);
    }

    fn refuse(&mut self, conn: ConnKey, refused: &Refused) {
        self.routing.metrics.refused += 1;
        if let Some(client) = self.client(conn) {
            refused.encode(&mut client.out);
            self.mark_client(conn);
        }
    }

    fn open_receiver(&mut self, transport: &mut dyn Transport, conn: ConnKey, open: &OpenReceiver) {
        let full = self.routing.receivers.count() >= self.config.receivers_max;
        let (queue_default, queue_max) = (self.config.queue_bytes_default, self.config.queue_bytes_max);
        let out_bytes = self.config.out_bytes;
        let ahead = Ahead::new(self.config.stream_ahead_min, out_bytes, Arc::clone(&self.wakes));
        let Some(client) = self.client(conn) else { return };
        let unread = client.closing.len() >= client.receivers_max as usize;
        let refusal = if open.receiver.0 >= client.receivers_max || full || unread {
            Some((RefusedReason::Limit, "no more receivers: close one, or use another connection".to_owned()))
        } else if client.receivers.contains_key(&open.receiver) {
            Some((RefusedReason::Receiver, format!("receiver {} is open already", open.receiver.0)))
        } else if !matches!(
            open.policy,
            OverflowPolicy::DropOldest | OverflowPolicy::DropNewest | OverflowPolicy::Disconnect
        ) {
            let message = match open.policy {
                OverflowPolicy::Block => "policy block needs publishers with confirm level routed",
                _ => "this router does not know the policy",
            };
            let message = format!("{message}; use drop-oldest, drop-newest or disconnect");
            Some((RefusedReason::Unsupported, message))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            self.refuse(conn, &Refused { reason, receiver: open.receiver, message, ..Refused::default() });
            return;
        }
        let overflow = match open.policy {
            OverflowPolicy::DropNewest => Overflow::DropNewest,
            OverflowPolicy::Disconnect => Overflow::Refuse,
            _ => Overflow::DropOldest,
        };
        let queue_bytes = if open.queue_bytes == 0 { queue_default } else { open.queue_bytes.min(queue_max) };
        let tables = client.tables.unwrap_or_default();
        let mut writer =
            RunWriter::new(tables, queue_bytes, out_bytes, open.grant, overflow, GapReason::Overflow)
                .within(ahead);
        let mut preamble = Vec::new();
        DeliverPreamble { receiver: open.receiver }.encode(&mut preamble);
        writer.preamble(&preamble);
        let slot = self.routing.receivers.insert(Receiver {
            conn,
            number: open.receiver,
            stream: None,
            writer,
            policy: open.policy,
            linger: Duration::from_micros(open.linger_us).min(LINGER_MAX),
            due: None,
            dirty: false,
            subscriptions: BTreeMap::new(),
            ended: BTreeMap::new(),
            patterns: Vec::new(),
            free_selectors: Vec::new(),
            next_selector: 0,
            overflowed: false,
            opened: Token(self.last_token),
            pending_selectors: 0,
            closing: false,
        });
        self.routing.metrics.receivers += 1;
        if let Some(client) = self.client(conn) {
            client.receivers.insert(open.receiver, slot);
            client.unopened.push(slot);
        }
        self.open_streams(transport, conn);
    }

    /// Opens the streams of receivers that have none, as far as QUIC allows.
    pub(super) fn open_streams(&mut self, transport: &mut dyn Transport, conn: ConnKey) {
        let Some(super::Connection::Client(client)) = self.connections.get_mut(&conn) else { return };
        while let Some(&slot) = client.unopened.last() {
            let Some(stream) = transport.open_uni(conn) else { return };
            client.unopened.pop();
            client.streams.insert(stream, slot);
            if let Some(receiver) = self.routing.receivers.get_mut(slot) {
                receiver.stream = Some(stream);
                self.routing.receivers.mark(slot);
            }
        }
    }

    fn grant(&mut self, conn: ConnKey, grant: &Grant) {
        let Some(client) = self.client(conn) else { return };
        let Some(&slot) = client.receivers.get(&grant.receiver) else { return };
        if let Some(receiver) = self.routing.receivers.get_mut(slot) {
            receiver.writer.grant(grant.bytes);
            self.routing.receivers.mark(slot);
        }
    }

    fn close_receiver(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        number: ReceiverNumber,
    ) {
        let Some(client) = self.client(conn) else { return };
        let Some(slot) = client.receivers.remove(&number) else { return };
        client.unopened.retain(|&unopened| unopened != slot);
        ReceiverClosed { receiver: number, reason: "closed by the client".into() }.encode(&mut client.out);
        self.mark_client(conn);
        self.unsubscribe_all(slot);
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        receiver.closing = true;
        let dropped = receiver.writer.drop_queue();
        self.routing.metrics.drop(DropReason::ReceiverGone, dropped);
        if let Some(client) = self.client(conn) {
            client.closing.push(slot);
        }
        self.write_receiver(now, transport, slot);
    }

    /// Finishes the stream of a receiver that was closed, once it has taken everything that was written.
    pub(super) fn finish_closed(&mut self, transport: &mut dyn Transport, slot: ReceiverSlot) {
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        if !receiver.closing || (receiver.stream.is_some() && !receiver.writer.is_empty()) {
            return;
        }
        let (conn, stream) = (receiver.conn, receiver.stream);
        self.remove_receiver(slot);
        let Some(client) = self.client(conn) else { return };
        client.closing.retain(|&closing| closing != slot);
        if let Some(stream) = stream {
            client.streams.remove(&stream);
            transport.finish(conn, stream);
        }
    }

    /// Takes a receiver and its subscriptions away; what was queued for it is counted.
    pub(super) fn remove_receiver(&mut self, slot: ReceiverSlot) -> Option<Receiver> {
        self.unsubscribe_all(slot);
        let receiver = self.routing.receivers.remove(slot)?;
        if let Some(due) = receiver.due {
            self.lingering.remove(&(due, slot));
        }
        self.routing.metrics.receivers -= 1;
        self.routing.metrics.drop(DropReason::ReceiverGone, receiver.writer.queued_events());
        Some(receiver)
    }
}

/// How a client is closed whose control stream cannot be read.
fn broken(error: &DecodeError) -> (CloseCode, String) {
    (error.close_code(), format!("control stream: {error}"))
}

/// What a peer announced that it holds, as far as this router is willing to keep track of it.
pub(super) fn at_most(announced: TableCapacity, most: TableCapacity) -> TableCapacity {
    TableCapacity {
        tag_sets: announced.tag_sets.min(most.tag_sets),
        tag_bytes: announced.tag_bytes.min(most.tag_bytes),
        publishers: announced.publishers.min(most.publishers),
    }
}

/// Whole microseconds of a duration.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(millrace_proto::varint::MAX)
}
