//! The session of a client, and its streams.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{self, Refused, TableCapacity};
use millrace_proto::{CloseCode, ReceiverNumber};

use super::filing;
use super::metered::Metered;
use super::publisher::PublishStream;
use super::quenched::Quench;
use crate::core::ids::Proof;
use crate::core::metrics::DropReason;
use crate::core::outlet::Total;
use crate::core::pacing::LOOK_AGAIN;
use crate::core::slot::{DeliverySlot, ReceiverSlot};
use crate::core::timers::Timer;
use crate::core::turn::{Close, Turn};
use crate::ledger::{Ended, Told, outcomes};
use crate::rights::{Caller, Rights};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

/// Most subscriptions of one client whose selectors are being read. Beyond them the core leaves its
/// control stream unread until half of them have their answer.
pub(super) const PENDING_REQUESTS_MAX: u32 = 1024;

/// A client's control stream.
#[derive(Debug, Default)]
pub(in crate::core) struct ControlStream {
    pub(super) stream: Option<StreamKey>,
    /// Bytes that were read and not handled: frames that wait for their turn, and the start of one.
    /// At most 80 KiB: one read, behind the start of a frame.
    pub(in crate::core) input: Vec<u8>,
    /// Frames that wait for the transport, bounded by `control_out_bytes`.
    pub(in crate::core) out: Vec<u8>,
    /// Whether the client stands in the list of those with control frames to write.
    dirty: bool,
    /// Whether the client was asked to move, while this router stays.
    pub(in crate::core) is_asked_to_move: bool,
}

/// Subscriptions of a client whose selectors are being read.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// How many.
    pub(super) pending: u32,
    /// Whether the control stream stays unread until more of them have their answer.
    pub(super) wait_for_answers: bool,
}

/// What Hello asks for, as far as this router does it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Its receivers share one stream.
    pub(super) shares: bool,
    /// It reads how events end, and acknowledges runs.
    pub(super) confirms: bool,
    /// Its receivers may be members of groups.
    pub(super) groups: bool,
    /// It is told the places of runs.
    pub(super) positions: bool,
    /// It reads what is addressed to its receivers, and can reply.
    pub(super) names: bool,
    /// It knows sets of standby publishers.
    pub(super) standby: bool,
}

/// Who a client is, and what it has taken of what it may.
#[derive(Debug)]
pub(super) struct Who {
    /// What it has shown of that.
    pub(super) caller: Caller,
    /// What it may do: set by Hello.
    pub(super) rights: Arc<Rights>,
    /// The secret of its publisher ids: set by Hello, taken by the publish stream.
    pub(super) proof: Option<Proof>,
    /// What its identity's quota says of it, if there is one.
    pub(super) metered: Option<Box<Metered>>,
    /// Its publishers that are members of sets.
    pub(super) sets: Vec<Membership>,
    /// What its subscriptions take that wait for the past.
    pub(super) pasts: Total,
}

/// A publisher of a client that is a member of a set.
#[derive(Debug)]
pub(super) struct Membership {
    /// Its number on the publish stream.
    pub(super) number: u64,
    /// The set.
    pub(super) set: Box<str>,
    /// Whether control was told that the client does not answer.
    pub(super) is_silent: bool,
}

/// When a client was heard, as far as members of groups are concerned.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::core) struct Liveness {
    /// When anything of it was read.
    pub(super) heard: Time,
    pub(super) pinged: Time,
}

/// What the publisher was told.
#[derive(Debug, Default)]
pub(super) struct ToPublisher {
    /// How many bytes of its stream it may write.
    credit: u64,
    /// Tag sets that nobody wants, if it can be told.
    pub(super) quench: Option<Box<Quench>>,
}

/// One client connection.
#[derive(Debug)]
pub(in crate::core) struct ClientSession {
    pub(super) conn: ConnKey,
    pub(super) who: Who,
    pub(in crate::core) control: ControlStream,
    /// Set by Hello.
    pub(super) tables: Option<TableCapacity>,
    pub(super) receivers_max: u32,
    pub(super) asked: Asked,
    pub(super) liveness: Liveness,
    /// The stream that its receivers share, from the first receiver on.
    pub(super) delivery: Option<DeliverySlot>,
    /// How long the publisher can wait for `Received`.
    pub(super) received_after: Duration,
    pub(super) publish: Option<PublishStream>,
    pub(super) to_publisher: ToPublisher,
    pub(super) receivers: BTreeMap<ReceiverNumber, ReceiverSlot>,
    pub(super) streams: HashMap<StreamKey, ReceiverSlot, ahash::RandomState>,
    /// Receivers whose stream QUIC has not allowed yet.
    pub(super) unopened: Vec<ReceiverSlot>,
    pub(super) requests: Requests,
    /// Closed receivers with something left to write: fewer than twice as many as may be open.
    pub(super) closing: Vec<ReceiverSlot>,
}

impl ClientSession {
    pub(in crate::core) fn new(conn: ConnKey, caller: Caller) -> Self {
        Self {
            conn,
            who: Who {
                caller,
                rights: Arc::new(Rights::everything()),
                proof: None,
                metered: None,
                sets: Vec::new(),
                pasts: Total::default(),
            },
            control: ControlStream::default(),
            tables: None,
            receivers_max: 0,
            asked: Asked::default(),
            liveness: Liveness::default(),
            delivery: None,
            received_after: Duration::ZERO,
            publish: None,
            to_publisher: ToPublisher::default(),
            receivers: BTreeMap::new(),
            streams: HashMap::default(),
            unopened: Vec::new(),
            requests: Requests::default(),
            closing: Vec::new(),
        }
    }

    pub(in crate::core) const fn said_hello(&self) -> bool {
        self.tables.is_some()
    }

    /// Whether the client can be asked to move, and was not yet.
    pub(in crate::core) const fn may_be_moved(&self) -> bool {
        self.said_hello() && !self.control.is_asked_to_move && !self.is_router()
    }

    /// Whether it is a router's own session.
    pub(in crate::core) const fn is_router(&self) -> bool {
        self.who.caller.is_router
    }

    /// The client opened a stream.
    pub(in crate::core) fn stream_opened(
        &mut self,
        turn: &mut Turn<'_>,
        stream: StreamKey,
    ) -> Result<(), Close> {
        let is_free = if stream.is_uni() { self.who.proof.is_some() } else { self.control.stream.is_none() };
        if !is_free {
            let reason = "one control stream and, after Hello, one publish stream are allowed";
            return Err(Close::new(CloseCode::Unexpected, reason));
        }
        if stream.is_uni() {
            let proof = self.who.proof.take();
            let (tables, confirms) = (turn.config.client_tables, self.asked.confirms);
            let rights = || Arc::clone(&self.who.rights);
            self.publish = proof.map(|proof| PublishStream::new(stream, tables, proof, rights(), confirms));
        } else {
            self.control.stream = Some(stream);
        }
        Ok(())
    }

    /// A stream can be read.
    pub(in crate::core) fn readable(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        self.liveness.heard = turn.now;
        if self.control.stream == Some(stream) {
            let waits = turn.agenda.frame_budget == 0 || !turn.mail.has_room() || turn.agenda.has_backlog();
            if waits {
                turn.put_client_behind(self.conn, stream);
                return Ok(());
            }
            self.read_control(turn, stream)
        } else if self.publish.as_ref().is_some_and(|publish| publish.stream == stream) {
            self.read_publish(turn)
        } else {
            Ok(())
        }
    }

    /// A stream takes more.
    pub(in crate::core) fn writable(&mut self, turn: &mut Turn<'_>, stream: StreamKey) {
        match self.streams.get(&stream) {
            _ if self.is_shared(turn, stream) => self.mark_delivery(turn),
            Some(&slot) => turn.path.receivers.mark(slot),
            None => self.mark(turn),
        }
    }

    /// The reader of a stream does not want more of it.
    pub(in crate::core) fn stopped(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        if self.control.stream == Some(stream) {
            return Err(Close::new(CloseCode::Done, "the control stream was stopped"));
        }
        if self.is_shared(turn, stream) {
            return Err(Close::new(CloseCode::Done, "the stream of its receivers was stopped"));
        }
        self.receiver_stopped(turn, stream);
        Ok(())
    }

    /// The connection is gone.
    pub(in crate::core) fn closed(mut self, turn: &mut Turn<'_>, code: Option<CloseCode>) {
        self.set_seat(turn, None);
        self.leave_sets(turn, code == Some(CloseCode::Done));
        self.end_quench(turn);
        turn.path.metrics.clients -= u64::from(!self.is_router());
        turn.path.ledger.forget(self.conn);
        turn.path.clients.requests.forget(self.conn);
        if let Some(publish) = &self.publish {
            let is_cut = !publish.finished && publish.is_cut();
            turn.path.metrics.drop(DropReason::StreamLost, u64::from(is_cut));
            if let Some(due) = publish.due {
                turn.timers.cancel(due, Timer::Received(self.conn));
            }
            if let Some(until) = turn.agenda.paced.remove(self.conn, publish.stream) {
                turn.timers.cancel(until, Timer::Paced(self.conn));
            }
        }
        for slot in self.receivers.into_values().chain(self.closing) {
            filing::remove_receiver(turn, slot);
        }
        if let Some(slot) = self.delivery
            && let Some(delivery) = turn.path.receivers.deliveries.remove(slot)
            && let Some(due) = delivery.due
        {
            turn.timers.cancel(due, Timer::Gathered(slot));
        }
        turn.path.clients.accounts.forget(self.conn);
    }

    /// Marks the client as having control frames to write at the end of the turn.
    pub(in crate::core) fn mark(&mut self, turn: &mut Turn<'_>) {
        if !self.control.dirty && !self.control.out.is_empty() {
            self.control.dirty = true;
            turn.agenda.dirty_clients.push(self.conn);
        }
    }

    /// Writes control frames.
    pub(in crate::core) fn write_control(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        self.control.dirty = false;
        let Some(stream) = self.control.stream else { return Ok(()) };
        turn.write_out(self.conn, stream, &mut self.control.out);
        if self.control.out.len() > turn.config.limits.control_out_bytes {
            return Err(Close::new(CloseCode::Busy, "control frames are not read"));
        }
        Ok(())
    }

    /// Refuses what the client has asked for.
    pub(super) fn refuse(&mut self, turn: &mut Turn<'_>, refused: &Refused) {
        turn.path.metrics.refused += 1;
        refused.encode(&mut self.control.out);
        self.mark(turn);
    }

    /// Tells the publisher what was received, when a packet to it leaves anyway.
    pub(in crate::core) fn report(&mut self) {
        if let Some(publish) = &mut self.publish {
            publish.report(&mut self.control.out);
        }
    }

    /// Tells the publisher what was received, if the timer still holds.
    pub(in crate::core) fn report_due(&mut self, turn: &mut Turn<'_>, due: Time) {
        if let Some(publish) = self.publish.as_mut().filter(|publish| publish.due == Some(due)) {
            publish.due = None;
            publish.report(&mut self.control.out);
            self.mark(turn);
        }
    }

    /// Tells its publishers how events ended.
    pub(in crate::core) fn tell_ended(&mut self, turn: &mut Turn<'_>, ended: &[Ended]) {
        self.tell(turn, &outcomes(ended));
    }

    /// Tells its publishers what became of events.
    pub(in crate::core) fn tell(&mut self, turn: &mut Turn<'_>, told: &[Told]) {
        if let Some(publish) = &mut self.publish {
            publish.tell_ended(told, &mut self.control.out, &mut turn.path.metrics);
            self.mark(turn);
        }
    }

    /// Grants credit, or more of it.
    pub(in crate::core) fn extend_credit(&mut self, window: u64) {
        if !self.said_hello() {
            return;
        }
        match &mut self.publish {
            Some(publish) => {
                self.to_publisher.credit =
                    publish.extend_credit(self.to_publisher.credit, window, &mut self.control.out);
            }
            None if self.to_publisher.credit == 0 => {
                self.to_publisher.credit = window;
                control::Credit { bytes: window }.encode(&mut self.control.out);
            }
            None => {}
        }
    }

    /// Reads the publish stream, unless it has to wait.
    fn read_publish(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        let metered = self.who.metered.as_deref_mut();
        if metered.is_some_and(|metered| !metered.begin_read(turn.now)) {
            return Ok(());
        }
        let Some(publish) = self.publish.as_mut().filter(|publish| !publish.finished) else { return Ok(()) };
        let stream = publish.stream;
        if turn.is_pressed() {
            turn.agenda.paused.insert((self.conn, stream));
            return Ok(());
        }
        if turn.agenda.paced.has(self.conn, stream) || turn.agenda.is_late(self.conn, stream) {
            return Ok(());
        }
        let limits = &turn.config.limits;
        turn.path.pacing.crowd.clear();
        turn.path.new_tag_sets_begin();
        let has_more = publish.read(
            self.conn,
            turn.transport,
            turn.path,
            &mut self.control.out,
            (self.to_publisher.credit, limits.read_bytes),
            self.who.metered.as_deref_mut(),
        )?;
        turn.path.new_tag_sets_end();
        let waits = self.who.metered.as_deref().is_some_and(|metered| metered.until().is_some());
        let is_put_off = publish.is_put_off() && !waits;
        let is_late = is_put_off && turn.path.pacing.new_tag_sets.is_used_up();
        if is_put_off {
            turn.path.metrics.lookups_put_off += 1;
            turn.agenda.put_off.get_or_insert((self.conn, stream));
        }
        if let Some((receiver, blocks)) = turn.path.pacing.crowd.take() {
            let until = turn.now + if blocks { LOOK_AGAIN } else { limits.pace_max };
            turn.agenda.paced.insert(self.conn, stream, (receiver, blocks), until);
            turn.timers.set(until, Timer::Paced(self.conn));
            turn.path.metrics.publishers_paced += 1;
        } else if is_late {
            turn.agenda.late.insert((self.conn, stream));
        } else if has_more {
            turn.agenda.unread.insert((self.conn, stream));
        }
        if publish.finished || publish.is_pressing(limits.received.bytes) {
            publish.report(&mut self.control.out);
        } else if publish.due.is_none() && publish.unreported() {
            let due = publish.set_due(turn.now + self.received_after);
            turn.timers.set(due, Timer::Received(self.conn));
        }
        self.extend_credit(limits.credit_bytes);
        if self.to_publisher.quench.is_some() {
            self.plan_look(turn);
        }
        self.mark(turn);
        if waits {
            self.await_quota(turn);
        }
        Ok(())
    }
}
