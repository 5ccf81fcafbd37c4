//! What a client does: it reads its connections, lets its program act, and comes back when
//! something is due.

use std::time::Duration;

use millrace_attach::{Event as Said, Failure};
use millrace_client::session::attachment::{Attachment, Input, Verdict};
use millrace_client::session::receiver::Session as Side;
use millrace_engine::transport::{ConnKey, ReadState, StreamKey};
use millrace_proto::CloseCode;
use millrace_proto::control::RefusedReason;
use rand::RngExt;

use super::programs::Programs;
use super::publisher::Attempt;
use super::state::{Client, Role};
use super::surroundings::Surroundings;
use crate::event::Event;
use crate::network::{Notice, Wire};

/// Bytes that a client reads from a stream at a time.
const READ_BYTES: usize = 16 * 1024;
/// How often a program that has no process looks whether it has one again.
const PROCESS_PAUSE: Duration = Duration::from_millis(20);

impl Client {
    /// Learns something of one of its connections.
    pub fn notice(&mut self, conn: ConnKey, notice: Notice, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        if matches!(notice, Notice::Closed(_)) {
            self.closed(conn, around);
            return;
        }
        let links = self.link.iter_mut().chain(&mut self.next).chain(&mut self.dialling);
        let Some(link) = links.into_iter().find(|link| link.connection.id() == conn) else { return };
        match notice {
            Notice::Connected { .. } => {
                let mut wire = Wire { network: around.network, queue: around.queue };
                link.connection.connected(&mut wire);
                link.heard = now;
            }
            Notice::StreamOpened(stream) => link.connection.stream_opened(stream),
            Notice::Readable(stream) => {
                link.heard = now;
                self.read(conn, stream, around);
            }
            Notice::Closed(_)
            | Notice::Writable(_)
            | Notice::Acknowledged
            | Notice::StreamsAvailable
            | Notice::Stopped(_) => {}
        }
        self.flow(around);
    }

    /// Its timer is due.
    pub fn timer(&mut self, around: &mut Surroundings<'_>) {
        if self.timer.is_none_or(|timer| timer > around.queue.now()) {
            return;
        }
        self.timer = None;
        self.flow(around);
    }

    /// Its program publishes.
    pub fn publish(&mut self, around: &mut Surroundings<'_>) {
        let Role::Publisher(publisher) = &mut self.role else { return };
        if !publisher.is_alive() {
            around.queue.after(PROCESS_PAUSE, Event::Publish { client: self.index });
            return;
        }
        let offset = self.last_router.and_then(|router| around.clock_offsets.get(&router)).copied();
        let router = self.last_router.map(|router| around.routers[router as usize]);
        if publisher.publish(router, offset.unwrap_or(0), around) == Attempt::Goes {
            let pause = Duration::from_micros(around.rng.random_range(1_000..30_000));
            around.queue.after(pause, Event::Publish { client: self.index });
        }
        if self.ends(around) {
            return;
        }
        self.flow(around);
    }

    /// Its program changes a subscription.
    pub fn churn(&mut self, around: &mut Surroundings<'_>) {
        if let (Role::Receivers(receivers), Some(link)) = (&mut self.role, &mut self.link) {
            receivers.churn(&mut link.connection, around);
        }
        self.flow(around);
    }

    /// Its program leaves its router and goes on at the next one. With `away` it ends, too, and
    /// begins again so much later with the cursors that it has saved.
    pub fn hop(&mut self, away: Option<Duration>, around: &mut Surroundings<'_>) {
        // A move to the next router goes on.
        if self.next.is_none()
            && let Role::Receivers(receivers) = &mut self.role
        {
            if away.is_some() {
                receivers.restart(around.record);
            }
            self.close_link(around);
            if let Some(away) = away.filter(|away| !away.is_zero()) {
                self.stay_away(away, around);
            }
        }
        self.flow(around);
    }

    /// Lets the application of a receiver stand still, or go on.
    pub fn set_slow(&mut self, receiver: u32, slow: bool, around: &mut Surroundings<'_>) {
        if let Role::Receivers(receivers) = &mut self.role {
            let connection = self.link.as_mut().map(|link| &mut link.connection);
            receivers.set_slow(receiver, slow, connection, (around.queue.now(), around.record));
        }
        self.flow(around);
    }

    fn read(&mut self, conn: ConnKey, stream: StreamKey, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let mut wire = Wire { network: around.network, queue: around.queue };
        let is_next = self.next.as_ref().is_some_and(|next| next.connection.id() == conn);
        let Some(link) = (match is_next {
            true => self.next.as_mut(),
            false => self.link.iter_mut().chain(&mut self.dialling).find(|link| link.connection.id() == conn),
        }) else {
            return;
        };
        let mut programs = match &mut self.role {
            Role::Publisher(_) => Programs::none(now),
            Role::Receivers(receivers) => {
                let side = if is_next { Side::New } else { Side::Old };
                Programs::of((&mut receivers.receivers, around.record, around.rng), side, now)
            }
        };
        loop {
            match link.connection.readable(&mut wire, now, stream, READ_BYTES, &mut programs) {
                Ok(ReadState::More) => {}
                Ok(_) => break,
                Err(failure) => {
                    self.fail(conn, &failure, around);
                    return;
                }
            }
        }
        let ended = programs.into_ended();
        if is_next && !ended.is_empty() {
            return self.give_up_next(around);
        }
        match &mut self.role {
            Role::Receivers(receivers) => receivers.ended(&ended, &mut link.connection, around),
            Role::Publisher(publisher)
                if self.link.as_ref().is_some_and(|link| link.connection.id() == conn) =>
            {
                let router = self.link.as_ref().map(|link| around.routers[link.router as usize]);
                router.into_iter().for_each(|router| publisher.heard(router, now, around.record));
            }
            Role::Publisher(_) => {}
        }
    }

    /// A connection cannot go on, and is closed. That a router breaks the protocol is a finding.
    pub(super) fn fail(&mut self, conn: ConnKey, failure: &Failure, around: &mut Surroundings<'_>) {
        if let Failure::Protocol(error) = failure {
            let index = self.index;
            around.record.findings.add("session", || format!("client {index}: {error}"));
        }
        self.gone(conn, Some(failure.close_code()), around);
    }

    /// Takes what the sessions have to say and passes it on.
    pub(super) fn flow(&mut self, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        match &mut self.role {
            Role::Publisher(publisher) if !publisher.is_alive() => return,
            Role::Publisher(publisher) => publisher.tend_disk(now, around.record),
            Role::Receivers(receivers) => {
                if let Some(link) = &mut self.link {
                    receivers.acknowledge(&mut link.connection, now, around.record);
                }
            }
        }
        if self.ends(around) {
            return;
        }
        self.tend(around);
        self.flow_link(around);
        if self.leave(around) {
            self.flow_link(around);
        }
        if !self.ends(around) {
            self.set_timer(around);
        }
    }

    fn flow_link(&mut self, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let Some(link) = &mut self.link else { return };
        link.connection.handle_timeout(now);
        while let Some(link) = &mut self.link {
            let publisher = match &mut self.role {
                Role::Publisher(publisher) => publisher.session(),
                Role::Receivers(_) => None,
            };
            let mut wire = Wire { network: around.network, queue: around.queue };
            let said = link.connection.poll_event(&mut wire, publisher);
            let router = around.routers[link.router as usize];
            if let Role::Publisher(publisher) = &mut self.role {
                publisher.take_ended(router, now, around.record);
            }
            if self.ends(around) {
                return;
            }
            match said {
                Ok(Some(event)) => self.event(event, around),
                Ok(None) => break,
                Err(failure) => {
                    if let Some(conn) = self.link.as_ref().map(|link| link.connection.id()) {
                        self.fail(conn, &failure, around);
                    }
                }
            }
        }
        let Some(link) = &mut self.link else { return };
        let mut wire = Wire { network: around.network, queue: around.queue };
        let attentive = match &mut self.role {
            Role::Publisher(publisher) => {
                let router = around.routers[link.router as usize];
                publisher.write(now, router, &mut link.connection, &mut wire, around.record);
                publisher.expects_answer(now)
            }
            Role::Receivers(_) => true,
        };
        link.connection.set_attentive(now, attentive);
        link.connection.flush(&mut wire);
    }

    fn set_timer(&mut self, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let role = match &self.role {
            Role::Publisher(publisher) => {
                let link = self.link.as_ref();
                let output = link.and_then(|link| publisher.poll_timeout(now, &link.connection));
                output.into_iter().chain(publisher.disk_due()).min()
            }
            Role::Receivers(receivers) => {
                let acks = receivers.acks_due().filter(|_| self.link.is_some());
                acks.into_iter().chain(receivers.moves_due()).min()
            }
        };
        let attachment = self.attachment.as_ref().and_then(Attachment::poll_timeout);
        let links = self.link.iter().chain(&self.next).chain(&self.dialling);
        let sessions = links.filter_map(|link| link.connection.poll_timeout());
        let due = sessions.chain(role).chain(attachment).chain(self.leaving).min();
        if let Some(due) = due.map(|due| due.max(now + Duration::from_micros(10)))
            && self.timer.is_none_or(|timer| timer > due)
        {
            self.timer = Some(due);
            around.queue.at(due, Event::ClientTimer { client: self.index });
        }
    }

    /// Takes what the router of the moment said.
    pub(super) fn event(&mut self, event: Said, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let Some(link) = &mut self.link else { return };
        let (attempt, router) = (link.attempt, around.routers[link.router as usize]);
        match (event, &mut self.role) {
            (Said::Credit { .. }, _) => {}
            (Said::Received { seqs }, Role::Publisher(publisher)) => {
                publisher.received(seqs, router, now, around.record);
            }
            (Said::Subscribed(subscribed), Role::Receivers(receivers)) => {
                receivers.subscribed(&subscribed, now, around.record);
            }
            // It has crossed the end of its receiver, and is asked for again when that is opened
            // anew: who is refused it for another reason waits for it to the end.
            (Said::Refused(refused), Role::Receivers(_))
                if refused.reason == RefusedReason::Receiver && refused.subscription.is_some() => {}
            (Said::Refused(refused), _) => {
                let index = self.index;
                around.record.findings.add("session", || format!("client {index} was refused: {refused:?}"));
            }
            (Said::Goaway(goaway), _) => {
                // Some stay until they are sent away.
                if let Some(attachment) = &mut self.attachment
                    && around.rng.random_range(0..3) > 0
                {
                    attachment.handle(Input::Goaway { attempt, goaway: &goaway }, now);
                }
            }
            (other, _) => {
                let index = self.index;
                around.record.findings.add("session", || format!("client {index} did not expect {other:?}"));
            }
        }
    }

    /// The connection of the moment is gone.
    pub(super) fn lose(&mut self, code: Option<CloseCode>, around: &mut Surroundings<'_>) {
        let Some(link) = self.link.take() else { return };
        self.losses += 1;
        self.leaving = None;
        match &mut self.role {
            Role::Publisher(publisher) => publisher.lost(),
            Role::Receivers(receivers) => match &mut self.next {
                Some(next) if receivers.are_moving() => {
                    let (heard, now) = (link.heard, around.queue.now());
                    receivers.end_moves(heard, &mut next.connection, now, (around.record, around.rng));
                    self.has_moved = true;
                }
                _ => receivers.lost(link.heard, around.record),
            },
        }
        if let Some(attachment) = &mut self.attachment {
            let verdict = Verdict::of_close(code);
            attachment.handle(Input::Lost { attempt: link.attempt, verdict }, around.queue.now());
        }
    }
}
