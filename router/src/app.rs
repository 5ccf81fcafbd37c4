//! One core's program on its QUIC loop: the engine, its mail, and the lanes that it dials.
//!
//! Nothing here blocks. The program decides two things alone, because only the shell can see them:
//! which protocol a connection speaks, and whether its certificate allows that.
//!
//! A turn handles control's messages, then what all siblings say on the way back, then their
//! batches, then the engine's turn, and sends the outgoing mail last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_engine::core::Core;
use millrace_engine::message::{CoreIndex, CoreOutput, DialId, PrepareOrder, ToControl, ToCore};
use millrace_proto::mesh::PeerHello;
use millrace_proto::{ALPN_CLIENT, ALPN_PEER, CloseCode};
use millrace_quic::{
    App, ClientSettings, CloseReason, ConnId, ConnectedInfo, Dial, ForeignSegment, Io, SocketId, StreamId,
};

use crate::clock::Clock;
use crate::credentials::{Credentials, unproven};
use crate::ending::Ending;
use crate::entrance::{Entrance, lane_address};
use crate::files::FilesPost;
use crate::forward::ForwardPost;
use crate::mail::{BATCHES_MAX, Command, ControlPost, End, Inspection, SelectorsPost, Sibling};
use crate::metrics::ShellMetrics;
use crate::strangers::{Stranger, Strangers};
use crate::tls::{Role, role_of};

/// Batches in a mailbox from which on publishers are left unread: runs that are on their way to the
/// mailbox already, and those that lanes bring, still have to find room.
const PRESSED_ABOVE: u64 = BATCHES_MAX as u64 / 2;
/// Time after which mail that did not fit, or a mailbox above half, is tried again.
const MAIL_RETRY: Duration = Duration::from_micros(200);
/// Messages of control handled in one turn, plus the selectors that come and go by them, so that a
/// storm of subscriptions does not hold up the streams. Well below a millisecond; the last message
/// may exceed it by two subscriptions.
const COMMANDS_PER_TURN: u64 = 256;
/// How long a lane's socket outlives its connection, so that the other side hears the close.
const SOCKET_LINGER: Duration = Duration::from_secs(1);

/// The parts of a core's program.
pub(crate) struct AppParts {
    pub(crate) clock: Clock,
    pub(crate) number: CoreIndex,
    pub(crate) engine: Core,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) control: ControlPost,
    pub(crate) selectors: SelectorsPost,
    pub(crate) forward: ForwardPost,
    pub(crate) files: FilesPost,
    pub(crate) siblings: Vec<Sibling>,
    pub(crate) dialling: Arc<ClientSettings>,
    /// Address of the shared port: lanes are dialled from the same one where it reaches.
    pub(crate) local: SocketAddr,
    pub(crate) require_client_certificate: bool,
}

/// Where a lane that was dialled leads, and the socket that it leaves from.
struct Dialled {
    socket: SocketId,
    remote: SocketAddr,
    host: String,
}

/// One core's program.
pub(crate) struct CoreApp {
    parts: AppParts,
    pub(crate) metrics: ShellMetrics,
    /// Every connection that is not closed, to be closed at the end.
    open: BTreeSet<ConnId>,
    /// Lanes that were dialled.
    dialled: BTreeMap<ConnId, Dialled>,
    strangers: Strangers,
    credentials: Credentials,
    /// Whether a mailbox towards a sibling is above half.
    pressed: bool,
    retired: VecDeque<(Instant, SocketId)>,
    /// When to send mail again that found no room.
    held: Option<Instant>,
    inspections: Vec<Inspection>,
    /// Settings for new connections, until the core's QUIC has them.
    entrance: Option<Arc<Entrance>>,
    end: Option<End>,
}

impl CoreApp {
    pub(crate) fn new(parts: AppParts) -> Self {
        Self {
            parts,
            metrics: ShellMetrics::default(),
            open: BTreeSet::new(),
            dialled: BTreeMap::new(),
            strangers: Strangers::default(),
            credentials: Credentials::default(),
            pressed: false,
            retired: VecDeque::new(),
            held: None,
            inspections: Vec::new(),
            entrance: None,
            end: None,
        }
    }

    pub(crate) fn engine(&mut self) -> &mut Core {
        &mut self.parts.engine
    }

    pub(crate) fn number(&self) -> CoreIndex {
        self.parts.number
    }

    pub(crate) fn clock(&self) -> Clock {
        self.parts.clock
    }

    /// Connects this core with its siblings, before it runs.
    pub(crate) fn set_siblings(&mut self, siblings: Vec<Sibling>) {
        self.parts.siblings = siblings;
    }

    pub(crate) fn take_inspections(&mut self) -> Vec<Inspection> {
        std::mem::take(&mut self.inspections)
    }

    /// Takes new settings for connections, if there are any.
    pub(crate) fn take_entrance(&mut self) -> Option<Arc<Entrance>> {
        self.entrance.take()
    }

    /// Whether this core is to end.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.clone()
    }

    /// Whether a sibling has sent something that was not taken. Messages of control that are left
    /// over keep the core awake by [`App::deadline`].
    pub(crate) fn has_mail(&self) -> bool {
        let waits = |sibling: &Sibling| {
            !sibling.words_in.is_empty() || !sibling.batches_in.is_empty() || !sibling.segments_in.is_empty()
        };
        self.parts.siblings.iter().any(waits)
    }

    /// Entries in the mailboxes towards siblings.
    pub(crate) fn mailbox_depth(&self) -> u64 {
        self.parts.siblings.iter().map(|sibling| sibling.batches_out.depth() as u64).sum()
    }

    /// Entries in the fullest mailbox towards a sibling.
    fn fullest_mailbox(&self) -> u64 {
        self.parts.siblings.iter().map(|sibling| sibling.batches_out.depth() as u64).max().unwrap_or(0)
    }

    /// Begins the end: the engine says goodbye to clients.
    pub(crate) fn close_clients(&mut self, io: &mut Io<'_>) {
        let now = self.parts.clock.at(io.now());
        self.parts.engine.close_clients(now, io);
    }

    /// Reads the last batches of all cores, which have sent them, and finishes the lanes behind
    /// them.
    pub(crate) fn finish_lanes(&mut self, io: &mut Io<'_>) {
        self.take_mail(io);
        self.parts.engine.finish_lanes(io);
    }

    /// The longest round trip of the open connections.
    pub(crate) fn longest_rtt(&self, io: &Io<'_>) -> Duration {
        self.open.iter().map(|&conn| io.rtt(conn)).max().unwrap_or_default()
    }

    pub(crate) fn close_all(&mut self, io: &mut Io<'_>) {
        for &conn in &self.open {
            io.close(conn, CloseCode::GoingAway.code(), b"this router is going away");
        }
    }

    fn take_commands(&mut self, io: &mut Io<'_>) {
        let mut taken = 0;
        while taken < COMMANDS_PER_TURN {
            let Ok(command) = self.parts.commands.try_recv() else { return };
            taken += 1;
            match command {
                Command::Engine(message) => {
                    if let ToCore::Prepared { result, .. } = &message {
                        self.metrics.selectors_read += 1;
                        self.metrics.selectors_bad += u64::from(result.is_err());
                    }
                    let now = self.parts.clock.at(io.now());
                    let before = self.parts.engine.selectors_moved();
                    self.parts.engine.handle_message(now, io, message);
                    taken += self.parts.engine.selectors_moved() - before;
                }
                Command::Dial { dial, remote, server_name, shard, hello } => {
                    self.dial(io, dial, remote, server_name, shard, hello);
                }
                Command::Enter(entrance) => {
                    self.parts.dialling = entrance.dialling.clone();
                    self.parts.require_client_certificate = entrance.require_client_certificate;
                    self.parts.engine.set_roll(self.parts.clock.at(io.now()), io, entrance.roll.clone());
                    self.parts.engine.set_rules(entrance.rules.clone());
                    self.entrance = Some(entrance);
                }
                Command::Ask(question) => question(&self.parts.engine, io),
                Command::Inspect(inspection) => self.inspections.push(inspection),
                Command::ShutDown { flush, busy } => self.end = Some(End::ShutDown { flush, busy }),
                Command::Kill => self.end = Some(End::Kill),
            }
        }
        self.held = Some(io.now());
    }

    fn dial(
        &mut self,
        io: &mut Io<'_>,
        dial: DialId,
        remote: SocketAddr,
        server_name: String,
        shard: u16,
        hello: PeerHello,
    ) {
        let begun = io.add_socket(lane_address(self.parts.local, remote)).ok().and_then(|via| {
            let client = self.parts.dialling.clone();
            let server_name = server_name.clone();
            let begun = io.connect(&Dial { remote, server_name, client, via, shard: Some(shard) });
            if begun.is_err() {
                io.remove_socket(via);
            }
            begun.ok().map(|conn| (conn, via))
        });
        let Some((conn, socket)) = begun else {
            self.metrics.dials_refused += 1;
            // When control's mailbox is full, its own time limit for dials ends the attempt.
            if self.parts.control.has_room() {
                self.parts.control.put(ToControl::DialFailed { dial });
            }
            return;
        };
        self.dialled.insert(conn, Dialled { socket, remote, host: server_name });
        self.open.insert(conn);
        let now = self.parts.clock.at(io.now());
        let message = ToCore::LaneDialled { dial, conn, hello };
        self.parts.engine.handle_message(now, io, message);
    }

    fn stranger_answered(&mut self, now: Instant, dialled: &Dialled, stranger: Stranger) {
        self.metrics.strangers += 1;
        if let Some(answers) = self.strangers.met(now, dialled.remote) {
            let (host, remote) = (&dialled.host, dialled.remote);
            tracing::warn!(%host, %remote, answers, "what answers here cannot join: {}", stranger.advice());
        }
    }

    /// Sends a turn's messages to control, in few batches, and those to the reader of selectors, as
    /// one. Returns whether some are left.
    fn send_to_control(&mut self, io: &mut Io<'_>) -> bool {
        let held = self.gather_for_control(io);
        self.parts.selectors.post();
        !self.parts.control.post(self.parts.number) || held
    }

    /// Gathers messages for control. Returns whether some are left.
    fn gather_for_control(&mut self, io: &mut Io<'_>) -> bool {
        loop {
            if self.parts.control.is_gathered() && !self.parts.control.post(self.parts.number) {
                return true;
            }
            if !self.parts.control.has_room() {
                return true;
            }
            let PrepareOrder { token, client, selectors, allowed } = match self.parts.engine.poll_output() {
                None => return false,
                Some(CoreOutput::ToControl(message)) => {
                    self.put_for_control(io, message);
                    continue;
                }
                Some(CoreOutput::Prepare(order)) => order,
            };
            if self.parts.selectors.order(self.parts.number, client, token, selectors, allowed).is_err() {
                self.metrics.selectors_overload += 1;
                let result = Err("too many selectors wait to be read; subscribe again later".to_owned());
                let (now, refusal) = (self.parts.clock.at(io.now()), ToCore::Prepared { token, result });
                self.parts.engine.handle_message(now, io, refusal);
                // The refusal is written by the next turn.
                self.held = Some(io.now());
            }
        }
    }

    /// Passes a message to control, with whether a peer has proven its id.
    fn put_for_control(&mut self, io: &mut Io<'_>, message: ToControl) {
        let message = match message {
            ToControl::LaneHello { conn, dial, hello }
                if !self.credentials.proves(io.now(), conn, &hello) =>
            {
                self.metrics.unproven_peers += 1;
                ToControl::UnprovenHello { conn, dial, hello }
            }
            message => message,
        };
        self.parts.control.put(message);
    }

    fn take_mail(&mut self, io: &mut Io<'_>) {
        let now = self.parts.clock.at(io.now());
        for sibling in &mut self.parts.siblings {
            // Bounded by the segments that are there, so that a fast writer does not hold this core
            // in the loop.
            for _ in 0..sibling.segments_in.count() {
                let Some(segment) = sibling.segments_in.pop() else { break };
                io.inject(segment);
            }
            for _ in 0..sibling.words_in.count() {
                let Some(word) = sibling.words_in.pop() else { break };
                self.parts.engine.sibling_told(now, sibling.core, word);
            }
        }
        for sibling in &mut self.parts.siblings {
            for _ in 0..sibling.batches_in.count() {
                // The rest of the batch before comes first, in the next turn.
                if !self.parts.engine.takes_batches(sibling.core) {
                    break;
                }
                let Some(batch) = sibling.batches_in.pop() else { break };
                self.metrics.batches_in += 1;
                let read = self.parts.engine.batch(now, sibling.core, &batch);
                self.metrics.batches_malformed += u64::from(read.is_err());
            }
        }
    }

    fn send_mail(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        let mut held = self.send_to_control(io);
        let mut pressed = false;
        for sibling in &mut self.parts.siblings {
            // Messages that find no room are merged with later ones.
            while sibling.words_out.has_room()
                && let Some(word) = self.parts.engine.next_to_sibling(sibling.core)
            {
                // There is room: nobody else writes.
                let _ = sibling.words_out.push(word);
            }
            while sibling.batches_out.has_room() {
                let Some(batch) = self.parts.engine.next_batch(sibling.core) else { break };
                self.metrics.batches_out += 1;
                // There is room: nobody else writes.
                let _ = sibling.batches_out.push(batch);
            }
            let depth = sibling.batches_out.depth() as u64;
            self.metrics.mailbox_depth_max = self.metrics.mailbox_depth_max.max(depth);
            held |= !sibling.batches_out.has_room();
            pressed |= depth > PRESSED_ABOVE;
            sibling.words_out.ring();
            sibling.batches_out.ring();
            sibling.segments_out.ring();
        }
        held |= self.parts.forward.take_from(&mut self.parts.engine);
        self.parts.files.take_from(&mut self.parts.engine, self.parts.number);
        self.set_pressed(pressed);
        self.metrics.mail_held += u64::from(held);
        if held || pressed {
            self.held = Some(now + MAIL_RETRY);
        }
    }

    fn set_pressed(&mut self, pressed: bool) {
        self.pressed = pressed;
        self.parts.engine.set_pressed(pressed);
    }

    /// The first reason why a new connection may not stay.
    fn objection(&self, info: &ConnectedInfo) -> Option<(CloseCode, &'static str)> {
        let role = || info.peer_certificates.first().map_or(Role::None, role_of);
        match info.alpn.as_deref() {
            Some(ALPN_PEER) if !matches!(role(), Role::Router(_)) => {
                Some((CloseCode::Forbidden, "peers need a certificate with the role of a router"))
            }
            Some(ALPN_CLIENT) if self.parts.require_client_certificate && role() == Role::None => {
                Some((CloseCode::Forbidden, unproven(!info.peer_certificates.is_empty())))
            }
            Some(ALPN_PEER | ALPN_CLIENT) => None,
            _ => Some((CloseCode::Version, "no common protocol")),
        }
    }
}

impl App for CoreApp {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, info: &ConnectedInfo) {
        if let Some((code, reason)) = self.objection(info) {
            match code {
                CloseCode::Forbidden => self.metrics.forbidden += 1,
                _ => self.metrics.no_protocol += 1,
            }
            io.close(conn, code.code(), reason.as_bytes());
            return;
        }
        self.open.insert(conn);
        let now = self.parts.clock.at(io.now());
        if info.alpn.as_deref() == Some(ALPN_PEER) {
            if let Some(Role::Router(name)) = info.peer_certificates.first().map(role_of) {
                self.credentials.admit(conn, name);
            }
            self.parts.engine.peer_connected(now, io, conn);
        } else {
            let role = info.peer_certificates.first().map_or(Role::None, role_of);
            let is_router = matches!(role, Role::Router(_));
            match role.identity() {
                Some(name) if is_router => self.parts.engine.router_client_connected(now, conn, name),
                certified => self.parts.engine.certified_client_connected(now, conn, certified),
            }
        }
    }

    fn stream_opened(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let now = self.parts.clock.at(io.now());
        self.parts.engine.stream_opened(now, io, conn, stream);
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let now = self.parts.clock.at(io.now());
        self.parts.engine.readable(now, io, conn, stream);
    }

    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let now = self.parts.clock.at(io.now());
        self.parts.engine.writable(now, io, conn, stream);
    }

    fn stream_stopped(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId, _code: u64) {
        let now = self.parts.clock.at(io.now());
        self.parts.engine.stopped(now, io, conn, stream);
    }

    fn streams_available(&mut self, io: &mut Io<'_>, conn: ConnId, _uni: bool) {
        let now = self.parts.clock.at(io.now());
        self.parts.engine.streams_available(now, io, conn);
    }

    fn closed(&mut self, io: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        let code = match reason {
            CloseReason::Application { code, .. } => CloseCode::from_code(*code),
            _ => None,
        };
        self.metrics.ended[Ending::of(reason) as usize] += 1;
        self.open.remove(&conn);
        self.credentials.forget(conn);
        let now = self.parts.clock.at(io.now());
        self.parts.engine.closed(now, io, conn, code);
        if let Some(dialled) = self.dialled.remove(&conn) {
            if let Some(stranger) = Stranger::of(reason) {
                self.stranger_answered(io.now(), &dialled, stranger);
            }
            self.retired.push_back((io.now() + SOCKET_LINGER, dialled.socket));
        }
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.held = None;
        self.take_commands(io);
        self.take_mail(io);
        if self.pressed {
            self.set_pressed(self.fullest_mailbox() > PRESSED_ABOVE);
        }
        let now = io.now();
        self.parts.engine.turn(self.parts.clock.at(now), io);
        self.send_mail(io);
        while self.retired.front().is_some_and(|&(due, _)| due <= now) {
            if let Some((_, socket)) = self.retired.pop_front() {
                io.remove_socket(socket);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let engine = self.parts.engine.poll_timeout().map(|time| self.parts.clock.instant(time));
        let retired = self.retired.front().map(|&(due, _)| due);
        [engine, self.held, retired].into_iter().flatten().min()
    }

    fn foreign(&mut self, io: &mut Io<'_>, core: u16, segment: ForeignSegment) {
        let sibling = self.parts.siblings.iter_mut().find(|sibling| sibling.core == core);
        let taken = sibling.is_some_and(|sibling| sibling.segments_out.push(segment).is_ok());
        if !taken {
            io.drop_foreign();
        }
    }
}

impl fmt::Debug for CoreApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreApp").field("core", &self.parts.number).finish_non_exhaustive()
    }
}
