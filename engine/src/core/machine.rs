//! The core as the shell sees it: its inputs, and the outputs that the shell takes.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::{CloseCode, DecodeError};

use super::agenda::Agenda;
use super::client::ClientSession;
use super::config::{CoreConfig, CoreLimits};
use super::connection::Connection;
use super::lane::{Acceptance, Accepted, LaneSession};
use super::mail::Mail;
use super::metrics::{CoreMetrics, Queued};
use super::path::{CURSORS_EVERY, Path, RunReader};
use super::receiver::Receiver;
use super::sibling;
use super::standing::{Ending, Standing};
use super::timers::{Timer, Timers};
use crate::message::{CoreIndex, CoreOutput, ToCore, ToSibling};
use crate::rights::{Caller, Roll};
use crate::rules::{RulePicture, RuleSet};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey, Transport};

/// One core of a router. See the [module's description](super).
#[derive(Debug)]
pub struct Core {
    pub(super) config: CoreConfig,
    pub(super) standing: Standing,
    pub(super) path: Path,
    pub(super) mail: Mail,
    pub(super) timers: Timers,
    pub(super) agenda: Agenda,
    pub(super) connections: HashMap<ConnKey, Connection, ahash::RandomState>,
    /// Connections that are lanes.
    pub(super) lanes: Vec<ConnKey>,
    /// When lanes are pinged next.
    pub(super) lanes_due: Time,
    /// When the core looks at the oldest run whose end is to be told; none while there is no such
    /// run.
    pub(super) confirms_due: Option<Time>,
    pub(super) ending: Ending,
    /// Readers of siblings' batches, by core.
    siblings: Vec<RunReader>,
    /// Whether this core left a sibling's next batch waiting when it was last asked, by core.
    batches_wait: Vec<bool>,
    /// The error in a batch whose end was read in a later turn.
    batch_error: Option<DecodeError>,
}

impl Core {
    /// A core without connections.
    #[must_use]
    pub fn new(config: CoreConfig, now: Time) -> Self {
        let mut timers = Timers::default();
        if config.limits.kept.history.bytes > 0 {
            timers.set(now + CURSORS_EVERY, Timer::Positions);
        }
        Self {
            standing: Standing::default(),
            path: Path::new(&config),
            mail: Mail::default(),
            timers,
            agenda: Agenda::new(),
            connections: HashMap::default(),
            lanes: Vec::new(),
            lanes_due: now,
            confirms_due: None,
            ending: Ending::NotBegun,
            batches_wait: vec![false; usize::from(config.cores)],
            batch_error: None,
            siblings: (0..config.cores).map(|_| RunReader::new(config.lane_tables, false)).collect(),
            config,
        }
    }

    /// Sets the limits from here on. Open receivers and lanes keep the bounds of their queues.
    pub fn set_limits(&mut self, limits: CoreLimits) {
        self.path.scans.set_limits(limits.scans);
        self.path.clients.queue_budget_bytes = limits.queues.budget_bytes;
        self.path.pacing.holds.set_pace_max(limits.pace_max);
        self.path.pacing.stalls.set_limit(limits.queues.stalled_copies_per_second);
        self.path.ledger.set_limits(limits.ledger);
        self.path.positions.ring.set_limits(limits.kept.history);
        self.path.groups.set_limits(limits.kept.groups);
        self.config.limits = limits;
        self.path.positions.review_steps();
        self.path.clients.demand.review();
    }

    /// This core with these tag rules, before it has clients. Without, no tags are added.
    #[must_use]
    pub fn with_rules(mut self, rules: Arc<RuleSet>) -> Self {
        self.set_rules(rules);
        self
    }

    /// Replaces the tag rules. What was routed before keeps the tags that it was given.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.path.positions.ruling.ruler.set(rules);
        self.path.positions.review_steps();
        self.path.clients.demand.review();
    }

    /// The tag rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Arc<RuleSet> {
        self.path.positions.ruling.ruler.rules()
    }

    /// What this core has counted of each rule.
    #[must_use]
    pub fn rule_pictures(&self) -> &[RulePicture] {
        self.path.positions.ruling.ruler.pictures()
    }

    /// This core with these rights, before it has clients. Without, everybody may do everything.
    #[must_use]
    pub fn with_roll(mut self, roll: Arc<Roll>) -> Self {
        self.path.clients.roll = roll;
        self
    }

    /// Replaces everybody's rights. Sessions go on with what they still may do; who has lost a
    /// right that it uses is closed with the reason.
    pub fn set_roll(&mut self, now: Time, transport: &mut dyn Transport, roll: Arc<Roll>) {
        if *roll == *self.path.clients.roll {
            return;
        }
        self.path.clients.roll = roll;
        for conn in self.clients() {
            self.drive_client(now, transport, conn, ClientSession::review);
        }
    }

    /// A client has connected that has shown no certificate.
    pub fn client_connected(&mut self, now: Time, conn: ConnKey) {
        self.certified_client_connected(now, conn, None);
    }

    /// A client's connection is there, with the identity in its certificate.
    pub fn certified_client_connected(&mut self, now: Time, conn: ConnKey, certified: Option<String>) {
        self.client_called(now, conn, Caller { certified, ..Caller::default() });
        self.path.metrics.clients += 1;
    }

    /// A client's connection is there that has shown a router's certificate, of this identity: a
    /// router's own session, which counts as no client and is never asked to move.
    pub fn router_client_connected(&mut self, now: Time, conn: ConnKey, identity: String) {
        self.client_called(
            now,
            conn,
            Caller { certified: Some(identity), is_router: true, ..Caller::default() },
        );
        self.path.clients.accounts.add_router(conn);
    }

    /// Grants clients credit from here on, or no more of it.
    fn set_synced(&mut self, now: Time, transport: &mut dyn Transport, is_synced: bool) {
        self.standing.is_synced = is_synced;
        if is_synced {
            self.drive_clients(now, transport, |client, turn| {
                client.extend_credit(turn.config.limits.credit_bytes);
                client.mark(turn);
            });
        }
    }

    fn client_called(&mut self, now: Time, conn: ConnKey, caller: Caller) {
        self.connections.insert(conn, Connection::Client(Box::new(ClientSession::new(conn, caller))));
        self.timers.set(now + self.config.limits.hello_timeout, Timer::Hello(conn));
    }

    /// A peer has connected: on a connection that this side dialled ([`ToCore::LaneDialled`]), or
    /// on an incoming one.
    pub fn peer_connected(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey) {
        if self.connections.contains_key(&conn) {
            self.drive_lane(now, transport, conn, LaneSession::connected);
        } else {
            self.add_lane(now, conn, LaneSession::new(now, conn, None));
        }
    }

    /// The other side opened a stream.
    pub fn stream_opened(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        stream: StreamKey,
    ) {
        self.hear(now, transport, conn, |session, turn| session.stream_opened(turn, stream));
    }

    /// A stream has something to read, or has ended.
    pub fn readable(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        self.hear(now, transport, conn, |session, turn| session.readable(turn, stream));
    }

    /// A stream that took less than it was offered has room again.
    pub fn writable(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        self.drive(now, transport, conn, |session, turn| session.writable(turn, stream));
    }

    /// The other side allows more streams.
    pub fn streams_available(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey) {
        self.drive(now, transport, conn, |session, turn| {
            session.streams_available(turn);
            Ok(())
        });
    }

    /// The reader of a stream asks for no more of it.
    pub fn stopped(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        self.drive(now, transport, conn, |session, turn| session.stopped(turn, stream));
    }

    /// A connection has ended. `code` is the other side's, if that side closed it.
    pub fn closed(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        code: Option<CloseCode>,
    ) {
        let Some(session) = self.connections.remove(&conn) else { return };
        if let Connection::Lane(_) = session {
            self.lanes.retain(|&other| other != conn);
            if self.lanes.is_empty() {
                self.timers.cancel(self.lanes_due, Timer::LanePing);
            }
        }
        let (_, mut turn) = self.lend(now, transport);
        match session {
            Connection::Client(client) => client.closed(&mut turn, code),
            Connection::Lane(mut lane) => lane.closed(&mut turn, code),
        }
    }

    /// Reads a batch of a sibling core.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] means a defect of this program: the batch is lost, and so are later ones
    /// that use its numbers.
    pub fn batch(&mut self, now: Time, from: CoreIndex, batch: &[u8]) -> Result<(), DecodeError> {
        self.set_now(now);
        let Some(reader) = self.siblings.get_mut(usize::from(from)) else { return Ok(()) };
        sibling::read_batch(reader, batch, from, self.config.router, &mut self.path)?;
        self.batch_error.take().map_or(Ok(()), Err)
    }

    /// Whether the core reads a sibling's next batch: no part of the one before is left for the
    /// next turn.
    #[must_use]
    pub fn takes_batches(&mut self, from: CoreIndex) -> bool {
        let from = usize::from(from);
        let has_left = self.siblings.get(from).is_some_and(RunReader::has_left);
        if let Some(waits) = self.batches_wait.get_mut(from) {
            *waits = has_left;
        }
        !has_left
    }

    /// Reads on in batches of which a part was left.
    pub(super) fn read_batches_left(&mut self) {
        for (from, reader) in (0..).zip(&mut self.siblings).filter(|(_, reader)| reader.has_left()) {
            if let Err(error) = sibling::go_on(reader, from, self.config.router, &mut self.path) {
                self.batch_error = Some(error);
            }
        }
    }

    /// Takes a sibling's message about runs that this core has handed to it. The caller hands it in
    /// before that sibling's batches.
    pub fn sibling_told(&mut self, now: Time, from: CoreIndex, message: ToSibling) {
        match message {
            ToSibling::Missed { events } => self.path.metrics.events_missed_by_siblings += events,
            ToSibling::Crowded { publisher, receiver, blocks } => {
                self.path.pacing.holds.crowded(publisher, receiver, blocks, now);
            }
            ToSibling::Relieved { receiver } => self.path.pacing.holds.relieved(receiver),
            ToSibling::Ended(answers) => self.path.sibling_answered(from, &answers),
            ToSibling::Tickets(answers) => self.path.sibling_answered_tickets(now, &answers),
            ToSibling::History(word) => self.path.history_word(from, *word),
            ToSibling::Barrier { round } => self.path.clients.barriers.asked_by(from, round),
        }
    }

    /// A message from control.
    pub fn handle_message(&mut self, now: Time, transport: &mut dyn Transport, message: ToCore) {
        let Some(message) = self.path.clients.demand.pass(message) else { return };
        match message {
            ToCore::Prepared { token, result } => {
                let Some(&pending) = self.mail.pending.get(&token) else { return };
                let is_there = self.drive_client(now, transport, pending.conn, |client, turn| {
                    client.prepared(turn, token, &pending, result);
                    Ok(())
                });
                if !is_there {
                    self.mail.pending.remove(&token);
                }
            }
            ToCore::Effective(effective) => {
                let Some(pending) = self.mail.reached(effective.token, effective.stage) else { return };
                self.drive_client(now, transport, pending.conn, |client, turn| {
                    client.effective(turn, &pending, effective);
                    Ok(())
                });
            }
            ToCore::Directory { version, index, prefilter, joined } => {
                self.path.directory = index;
                self.path.sift.set(prefilter);
                self.directory_changed(version, &joined);
            }
            ToCore::Members(news) => self.members_changed(now, news),
            ToCore::Names(news) => self.names_changed(now, transport, news),
            ToCore::Sets(news) => self.path.clients.fences.hear(&news),
            ToCore::SetMember { conn, word } => self.tell_set_member(now, transport, conn, word),
            ToCore::Synced(is_synced) => self.set_synced(now, transport, is_synced),
            ToCore::LaneDialled { dial, conn, hello } => {
                self.add_lane(now, conn, LaneSession::new(now, conn, Some((dial, hello))));
            }
            ToCore::AcceptLane {
                conn,
                peer,
                router,
                proven: is_proven,
                lane: _,
                epoch,
                outgoing,
                incoming,
                missed,
                lost,
                hello,
                tables,
            } => {
                let accepted = Accepted { peer, router, is_proven, outgoing, incoming, epoch };
                let acceptance = Acceptance { accepted, hello, tables, missed, lost };
                self.drive_lane(now, transport, conn, |lane, turn| lane.accept(turn, acceptance));
            }
            ToCore::CloseLane { conn, hello, code } => {
                self.drive_lane(now, transport, conn, |lane, turn| lane.end(turn, hello, code));
            }
            ToCore::LinkFrame { conn, frame } => {
                self.drive_lane(now, transport, conn, |lane, turn| lane.say(turn, |out| frame.encode(out)));
            }
            ToCore::KnowsAllInterest(knows) => self.standing.knows_all_interest = knows,
            ToCore::FarOwners(owners) => self.path.far_told(owners),
            ToCore::Files(word) => self.path.files_told(*word),
            ToCore::Demand(demand) => self.demand_changed(now, transport, demand),
            ToCore::Alternates(alternates) => self.standing.alternates = alternates,
            ToCore::Drain { grace_us } => self.drain(now, transport, grace_us),
            ToCore::MoveClients { count, within_us, to } => {
                self.move_clients(now, transport, count, within_us, &to);
            }
        }
    }

    /// Takes the next message for control, or for the reader of selectors. Call it after each call
    /// into the core, until there is none.
    pub fn poll_output(&mut self) -> Option<CoreOutput> {
        self.mail.pop()
    }

    /// Takes the next batch for a sibling's mailbox. Call it only when the mailbox has room: what
    /// is not taken waits here, bounded, and presses back on publishers.
    pub fn next_batch(&mut self, to: CoreIndex) -> Option<Vec<u8>> {
        self.path.locations.take_batch(to)
    }

    /// Takes the next message to a sibling about runs that it has handed over. It goes into a small
    /// ring of its own, which the sibling reads before batches. Call it only when the ring has
    /// room; messages that are not taken are merged with later ones.
    pub fn next_to_sibling(&mut self, to: CoreIndex) -> Option<ToSibling> {
        let answers = self.path.answers.take(to).map(ToSibling::Ended);
        let missed = || self.path.missed.take(to).map(|events| ToSibling::Missed { events });
        let tickets = || self.path.clients.members.take_answers_to(to).map(ToSibling::Tickets);
        let word = answers.or_else(missed).or_else(tickets);
        let word = word.or_else(|| self.path.pacing.holds.next_word(to));
        let mut history = || self.path.positions.replays.next_word(to);
        let word = word.or_else(|| history().map(|word| ToSibling::History(Box::new(word))));
        word.or_else(|| self.path.clients.barriers.next_word(to).map(|round| ToSibling::Barrier { round }))
    }

    /// Says whether a mailbox towards a sibling is above half. While one is, the core leaves
    /// publish streams unread, but no lanes, mail or control streams. The core does not watch
    /// mailboxes: call this, and [`Core::turn`], when that changes.
    pub const fn set_pressed(&mut self, pressed: bool) {
        self.agenda.pressed = pressed;
    }

    /// Selectors that were filed or taken out since the start. The caller of
    /// [`Core::handle_message`] sees by it what a message has cost, and when to begin the next
    /// turn.
    #[must_use]
    pub const fn selectors_moved(&self) -> u64 {
        self.path.clients.selectors_moved
    }

    /// The time at which [`Core::turn`] is due at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if (self.agenda.has_backlog() && self.mail.has_room())
            || (self.is_ending() && self.path.metrics.clients > 0)
            || !self.agenda.unread.is_empty()
            || self.siblings.iter().any(RunReader::has_left)
            || self.batches_wait.contains(&true)
            || !self.agenda.dirty_clients.is_empty()
            || self.path.receivers.has_dirty()
            || self.path.scans.is_waiting()
            || self.path.ledger.has_ended()
            || self.path.has_group_work()
            || self.path.clients.barriers.has_work()
        {
            return Some(Time::ZERO);
        }
        let past = self.path.positions.replays.due();
        let late = (!self.agenda.late.is_empty()).then(|| self.path.pacing.new_tag_sets.ready_at());
        [self.timers.first(), past, late].into_iter().flatten().min()
    }

    /// What this core has counted.
    #[must_use]
    pub fn metrics(&self) -> CoreMetrics {
        let mut metrics = self.path.metrics.clone();
        metrics.queued_bytes = 0;
        metrics.queue_budget_bytes = self.path.clients.queue_budget_bytes;
        let total = self.path.clients.accounts.total();
        metrics.selector_bytes = total.bytes as u64;
        metrics.loose_selectors = total.loose as u64;
        metrics.open_confirms = self.path.ledger.len() as u64;
        (metrics.confirms_timed_out, metrics.confirms_refused) = self.path.ledger.troubles();
        metrics.pattern_wait_bytes = self.path.scans.wait_bytes() as u64;
        self.path.count_history(&mut metrics);
        metrics.replay_held = self.path.receivers.held.bytes();
        metrics.replay_read = self.path.positions.replays.read_bytes();
        metrics
    }

    /// Sums up what waits for receivers. Visits every receiver.
    #[must_use]
    pub fn queued(&self) -> Queued {
        let mut total = Queued::default();
        for receiver in self.path.receivers.iter() {
            let bytes = receiver.queue.bytes();
            total.bytes += bytes;
            total.receivers += u64::from(bytes > 0);
            total.replays += u64::from(receiver.joins.as_ref().is_some_and(|joins| joins.are_reading()));
            total.dropped_most = total.dropped_most.max(receiver.dropped());
        }
        let own = self.path.receivers.iter().filter_map(Receiver::own);
        let shared = self.path.receivers.deliveries.iter().map(|delivery| &delivery.stream);
        for stream in own.chain(shared) {
            let ahead = stream.ahead_bytes() as u64;
            total.ahead_bytes += ahead;
            total.ahead_bytes_most = total.ahead_bytes_most.max(ahead);
        }
        total
    }

    /// Memory that the queues of receivers have reserved: what their budget counts.
    #[must_use]
    pub fn queue_room(&self) -> u64 {
        self.path.receivers.queued().bytes()
    }

    /// The route cache, for its metrics.
    #[must_use]
    pub const fn routes(&self) -> &crate::routes::RouteCache {
        &self.path.routes
    }

    /// Position of the next run of this core's shards.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.path.position()
    }

    pub(super) const fn is_ending(&self) -> bool {
        !matches!(self.ending, Ending::NotBegun)
    }

    fn add_lane(&mut self, now: Time, conn: ConnKey, lane: LaneSession) {
        self.connections.insert(conn, Connection::Lane(Box::new(lane)));
        if self.lanes.is_empty() {
            self.timers.set(self.lanes_due, Timer::LanePing);
        }
        self.lanes.push(conn);
        self.timers.set(now + self.config.limits.hello_timeout, Timer::Hello(conn));
    }
}
