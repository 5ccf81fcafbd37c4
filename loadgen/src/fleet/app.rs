//! One thread's connections, as the app on top of its QUIC loop.

use std::time::{Duration, Instant};

use millrace_client::session::ConnectionEvent;
use millrace_measure::kernel;
use millrace_proto::CloseCode;
use millrace_proto::control::Stage;
use millrace_quic::{App, CloseReason, ConnId, ConnectedInfo, Io, ReadState, StreamId};

use super::connections::Role;
use super::control::{self, READ_BYTES};
use super::dial::{dial_more, redial};
use super::order::Order;
use super::shared::Report;
use super::state::FleetApp;
use super::watch::checkers;

/// Shortest time between two looks at the schedule, which bounds what waking up costs.
const PUBLISH_GAP: Duration = Duration::from_micros(50);
/// How often sessions' clocks are looked at: far below their timeouts.
const TEND_EVERY: Duration = Duration::from_millis(50);
/// Many sessions are looked at in parts, all of them within this many looks: a second, of timeouts
/// of ten and more.
const TEND_PARTS: usize = 20;
/// So many are looked at each time, at least.
const TENDED_MIN: usize = 1024;

impl FleetApp {
    /// When to publish and write next, by the schedule.
    fn publish_due(&self) -> Option<Instant> {
        self.emitters.next_due(self.clock).map(|due| due.max(self.published_at + PUBLISH_GAP))
    }

    fn mark(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(index);
        }
    }

    fn control_events(&mut self, io: &mut Io<'_>, index: usize) {
        while let Some(event) = self.connections[index].control.session.poll_event() {
            let role = self.connections[index].role;
            match (event, role) {
                (ConnectionEvent::Welcomed(welcome), role) => {
                    self.tally.welcomed.add(1);
                    self.dialling.pending = self.dialling.pending.saturating_sub(1);
                    self.connections[index].is_welcomed = true;
                    if let Role::Publisher(number) = role {
                        self.publishers[number].welcomed(welcome.tables);
                    }
                }
                (ConnectionEvent::Credit { bytes }, Role::Publisher(number)) => {
                    let first = self.publishers[number].credit(bytes);
                    self.tally.credited.add(u64::from(first));
                    let time = self.clock.time(io.now());
                    let conn = self.connections[index].control.id();
                    self.publishers[number].write(io, conn, time, &self.tally);
                }
                (ConnectionEvent::Received { next_seq, .. }, Role::Publisher(number)) => {
                    let session = &mut self.publishers[number].session;
                    let before = session.received();
                    if session.on_received(next_seq).is_err() {
                        io.close(
                            self.connections[index].control.id(),
                            CloseCode::Unexpected.code(),
                            b"received",
                        );
                    }
                    let session = &self.publishers[number].session;
                    self.tally.received.add(session.received() - before);
                }
                (ConnectionEvent::Subscribed(subscribed), _) if subscribed.stage == Stage::Cluster => {
                    self.tally.effective.add(1);
                    self.connections[index].effective += 1;
                }
                (ConnectionEvent::Refused(_), _) => self.tally.refused.add(1),
                (ConnectionEvent::Dead { .. }, _) => {
                    io.close(self.connections[index].control.id(), CloseCode::Timeout.code(), b"silent");
                }
                _ => {}
            }
        }
    }

    fn read_control(&mut self, io: &mut Io<'_>, index: usize, stream: StreamId) {
        let time = self.clock.time(io.now());
        if control::read(&mut self.connections[index].control, io, stream, time) {
            self.control_events(io, index);
            self.mark(index);
        }
    }

    fn read_deliveries(&mut self, io: &mut Io<'_>, index: usize, number: usize, stream: StreamId) {
        let now = io.now();
        let (now_ns, time) = (self.clock.ns(now), self.clock.time(now));
        let control = &mut self.connections[index].control;
        let (id, session) = (control.id(), &mut control.session);
        session.heard(time);
        let receivers = &mut self.receivers[number];
        let (watch, tally) = (&mut self.watch, &self.tally);
        watch.turn_slice(now_ns);
        let mut wrong = None;
        let mut granted = false;
        let outcome = io.read(id, stream, READ_BYTES, &mut |chunk| {
            if wrong.is_some() {
                return;
            }
            let grant = |receiver, bytes| {
                session.grant(receiver, bytes);
                granted = true;
            };
            wrong = receivers.data(stream, chunk, watch, now_ns, tally, grant).err();
        });
        if let Some(error) = wrong {
            io.close(id, error.close_code().code(), error.to_string().as_bytes());
            return;
        }
        if outcome.state == ReadState::More {
            io.wake(id, stream);
        }
        if granted {
            self.mark(index);
        }
    }

    fn obey(&mut self, io: &mut Io<'_>) {
        let Some((number, order)) = self.orders.newer(self.seen) else { return };
        self.seen = number;
        match order {
            Order::Idle => {}
            Order::Publish(stretch) => {
                if stretch.reset {
                    let mine = self.mine;
                    let mine = |receiver| mine.holds(receiver);
                    self.watch.reset(checkers(&self.expected, self.slow_receiver, mine));
                }
                self.watch.begin(&stretch, self.clock.ns(stretch.start));
                if !stretch.stalled {
                    self.release();
                }
                self.emitters.schedule.begin(number, &stretch, self.first);
            }
            Order::Count => {
                // The run has gone away when nobody listens; Finish follows.
                let _ = self.reports.send(Report::Published(self.emitters.schedule.published().collect()));
            }
            Order::Judge(published) => {
                let mut judged = self.watch.judge(&published);
                judged.lag = self.emitters.schedule.lag().clone();
                let _ = self.reports.send(Report::Judged(Box::new(judged)));
            }
            Order::Finish => {
                self.finishing = true;
                for connection in &self.connections {
                    io.close(connection.control.id(), CloseCode::Done.code(), b"");
                }
            }
        }
    }

    /// Receivers that stalled go on.
    fn release(&mut self) {
        for index in 0..self.connections.len() {
            let Role::Receiver(number) = self.connections[index].role else { continue };
            if let Some((receiver, bytes)) = self.receivers[number].release() {
                self.connections[index].control.session.grant(receiver, bytes);
                self.mark(index);
            }
        }
    }

    fn tend(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tended_at) < TEND_EVERY {
            return;
        }
        self.tended_at = now;
        self.tally.cpu_ns.set(kernel::thread_ns());
        self.tally.waited_ns.set(kernel::thread_waited_ns());
        self.tally.faults.set(self.watch.faults());
        self.tally.p99_us.set(self.watch.last_p99_us());
        let time = self.clock.time(now);
        let count = self.connections.len();
        let part = (count / TEND_PARTS).max(TENDED_MIN).min(count);
        for _ in 0..part {
            self.tended = if self.tended + 1 < count { self.tended + 1 } else { 0 };
            let session = &mut self.connections[self.tended].control.session;
            if session.poll_timeout().is_some_and(|due| due <= time) {
                session.handle_timeout(time);
                self.mark(self.tended);
            }
        }
    }
}

impl App for FleetApp {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        self.connections[index].control.connected(io);
        self.mark(index);
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        if let Role::Receiver(number) = self.connections[index].role {
            self.receivers[number].stream_opened(stream);
        }
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        if self.connections[index].control.is(stream) {
            self.read_control(io, index, stream);
        } else if let Role::Receiver(number) = self.connections[index].role {
            self.read_deliveries(io, index, number, stream);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        if self.connections[index].control.is(stream) {
            self.mark(index);
        } else if let Role::Publisher(number) = self.connections[index].role {
            let time = self.clock.time(io.now());
            self.publishers[number].write(io, conn, time, &self.tally);
        }
    }

    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}

    fn streams_available(&mut self, _: &mut Io<'_>, conn: ConnId, _: bool) {
        if let Some(&index) = self.by_id.get(&conn) {
            self.mark(index);
        }
    }

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        if self.finishing {
            self.dialling.open = self.dialling.open.saturating_sub(1);
            return;
        }
        let Some(place) = self.by_id.remove(&conn) else { return };
        // Until the first order, connections are being set up, and nothing can be lost with them.
        if self.seen > 0 || !redial(self, place) {
            self.tally.connections_lost.add(1);
        }
        let _ = self.reports.send(Report::Lost(reason.to_string()));
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.obey(io);
        if self.finishing {
            return;
        }
        dial_more(self, io);
        let now = io.now();
        let time = self.clock.time(now);
        if self.publish_due().is_some_and(|due| due <= now) {
            self.published_at = now;
            self.emitters.publish(now, self.clock, &mut self.publishers, &self.tally);
            self.emitters.write(io, &self.publisher_conns, &mut self.publishers, time, &self.tally);
        }
        self.tend(now);
        for index in std::mem::take(&mut self.dirty) {
            self.control_events(io, index);
            let connection = &mut self.connections[index];
            connection.dirty = false;
            connection.control.flush(io);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let tend = self.tended_at + TEND_EVERY;
        Some(self.publish_due().map_or(tend, |due| due.min(tend)))
    }
}
