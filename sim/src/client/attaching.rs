//! How a client comes to a router and leaves it: what its attachment says, done on the simulated
//! network.

use std::time::Duration;

use millrace_attach::{ClientConnection, Event as Said};
use millrace_client::session::attachment::{Attachment, AttachmentConfig, AttemptId, Input, Output, Verdict};
use millrace_client::session::{ConnectionConfig, PublisherSession};
use millrace_engine::transport::{ConnKey, Transport};
use millrace_proto::CloseCode;
use rand::RngExt;

use super::link::Link;
use super::number::Number;
use super::state::{Client, Role};
use super::surroundings::Surroundings;
use crate::event::Event;
use crate::network::{Endpoint, Host, Wire};

/// One client in so many measures round trips, and looks for a nearer router when its own is far.
const MEASURES_ONE_IN: u32 = 4;

impl Client {
    /// Begins to look for a router.
    pub fn dial(&mut self, around: &mut Surroundings<'_>) {
        if let Role::Publisher(publisher) = &mut self.role {
            publisher.begin(false, around.record);
        }
        if self.attachment.is_none() {
            // A client of the simulator waits for its first router as long as it takes.
            let config = AttachmentConfig { patience_ns: u64::MAX, ..AttachmentConfig::default() };
            let routers = (0..u32::try_from(around.routers.len()).unwrap_or(1)).map(Number).collect();
            let seed = around.rng.random();
            self.attachment = Some(Attachment::new(config, routers, seed, around.queue.now()));
        }
        self.flow(around);
    }

    /// Is nowhere, and looks for no router, until it dials again so much later.
    pub(super) fn stay_away(&mut self, away: Duration, around: &mut Surroundings<'_>) {
        if self.attachment.take().is_none() {
            return;
        }
        let mut wire = Wire { network: around.network, queue: around.queue };
        for link in self.dialling.drain(..) {
            wire.close(link.connection.id(), CloseCode::Done.code(), "");
        }
        around.queue.after(away, Event::ClientDial { client: self.index });
    }

    /// Hears connections that are being made, and does what the attachment says.
    pub(super) fn tend(&mut self, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let mut at = 0;
        while let Some(link) = self.dialling.get_mut(at) {
            link.connection.handle_timeout(now);
            let mut wire = Wire { network: around.network, queue: around.queue };
            match link.connection.poll_event(&mut wire, None::<&mut PublisherSession>) {
                Ok(Some(Said::Welcomed(welcome))) => {
                    let attempt = link.attempt;
                    link.welcome = Some(welcome.clone());
                    // The handshake is one round trip, the greeting another.
                    let round_trip_ns = now.nanos_since(link.begun) / 2;
                    if let Some(attachment) = &mut self.attachment {
                        if self.index.is_multiple_of(MEASURES_ONE_IN) {
                            attachment.handle(Input::Measured { attempt, round_trip_ns }, now);
                        }
                        attachment.handle(Input::Welcomed { attempt, welcome: &welcome }, now);
                    }
                }
                Err(failure) => {
                    let conn = link.connection.id();
                    self.gone(conn, Some(failure.close_code()), around);
                    continue;
                }
                Ok(_) => {}
            }
            at += 1;
            // The rest of what it said is for the time when it is attached.
        }
        while let Some(output) = self.attachment.as_mut().and_then(|attachment| attachment.poll_output(now)) {
            match output {
                Output::Dial { attempt, address, .. } => self.begin(attempt, address, around),
                Output::Abandon { attempt } => {
                    if let Some(at) = self.dialling.iter().position(|link| link.attempt == attempt) {
                        let link = self.dialling.swap_remove(at);
                        Wire { network: around.network, queue: around.queue }.close(
                            link.connection.id(),
                            CloseCode::Done.code(),
                            "",
                        );
                    }
                }
                Output::Attached { attempt, .. } => {
                    let at = self.dialling.iter().position(|link| link.attempt == attempt);
                    self.next = at.map(|at| self.dialling.swap_remove(at));
                }
                Output::Leave { latest } => {
                    self.leaving = Some(latest);
                    if let Role::Publisher(publisher) = &mut self.role {
                        publisher.hold();
                    }
                }
                Output::Resolve { .. } | Output::Trouble { .. } | Output::GaveUp { .. } => {}
            }
        }
        let mut wire = Wire { network: around.network, queue: around.queue };
        self.dialling.iter_mut().chain(&mut self.next).for_each(|link| link.connection.flush(&mut wire));
        self.switch(around);
    }

    /// Leaves the old connection for the next one: when its receivers have moved, or with the last
    /// answers of its publisher. Whether the next one took its place.
    pub(super) fn leave(&mut self, around: &mut Surroundings<'_>) -> bool {
        let now = around.queue.now();
        if self.link.is_some() && self.leaving.is_some_and(|latest| now >= latest) {
            self.close_link(around);
        }
        self.switch(around)
    }

    fn switch(&mut self, around: &mut Surroundings<'_>) -> bool {
        self.hear_next(around);
        if self.next.is_none() || !self.have_receivers_moved(around) {
            return false;
        }
        if let Some(link) = &self.link {
            if matches!(&self.role, Role::Publisher(publisher) if publisher.is_waiting(&link.connection)) {
                return false;
            }
            self.close_link(around);
        }
        let Some(mut link) = self.next.take() else { return false };
        self.last_router = Some(link.router);
        if let Some(welcome) = link.welcome.take() {
            match &mut self.role {
                Role::Publisher(publisher) => {
                    publisher.started(&welcome, link.connection.confirms());
                    publisher.join_set(&mut link.connection);
                }
                Role::Receivers(_) if std::mem::take(&mut self.has_moved) => {}
                Role::Receivers(receivers) => receivers.started(&mut link.connection, around),
            }
        }
        self.link = Some(link);
        while let Some(said) = self.later.pop_front() {
            self.event(said, around);
        }
        true
    }

    /// Hears the router that receivers move to.
    fn hear_next(&mut self, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        while let Some(next) = &mut self.next
            && let Role::Receivers(receivers) = &mut self.role
            && receivers.are_moving()
        {
            next.connection.handle_timeout(now);
            let mut wire = Wire { network: around.network, queue: around.queue };
            match next.connection.poll_event(&mut wire, None::<&mut PublisherSession>) {
                Ok(Some(Said::Subscribed(subscribed))) => receivers.subscribed_next(&subscribed),
                Ok(Some(other)) => self.later.push_back(other),
                Ok(None) => return,
                Err(failure) => {
                    let conn = next.connection.id();
                    return self.fail(conn, &failure, around);
                }
            }
        }
    }

    /// Whether the receivers have moved to the next connection, or have nothing to move from.
    fn have_receivers_moved(&mut self, around: &mut Surroundings<'_>) -> bool {
        let now = around.queue.now();
        let (Some(link), Some(next), Role::Receivers(receivers)) =
            (&mut self.link, &mut self.next, &mut self.role)
        else {
            return true;
        };
        let (old, new) = (&mut link.connection, &mut next.connection);
        if !old.has_moves() || !new.has_moves() || old.confirms() != new.confirms() {
            return true;
        }
        if !receivers.are_moving() {
            receivers.begin_moves(new, around.record);
            new.set_attentive(now, true);
        }
        let have_moved = receivers.advance_moves(old, new, now);
        let mut wire = Wire { network: around.network, queue: around.queue };
        old.flush(&mut wire);
        new.flush(&mut wire);
        have_moved
    }

    /// The next connection cannot be used.
    pub(super) fn give_up_next(&mut self, around: &mut Surroundings<'_>) {
        let Some(conn) = self.next.as_ref().map(|next| next.connection.id()) else { return };
        Wire { network: around.network, queue: around.queue }.close(conn, CloseCode::Done.code(), "");
        self.gone(conn, Some(CloseCode::Done), around);
    }

    /// Receivers cannot move to a connection that is lost; they stay, unless some have nothing left
    /// there.
    fn stay(&mut self, around: &mut Surroundings<'_>) {
        self.later.clear();
        let Role::Receivers(receivers) = &mut self.role else { return };
        if std::mem::take(&mut self.has_moved) {
            return receivers.lost(around.queue.now(), around.record);
        }
        let have_left = receivers.have_left_old();
        receivers.stay();
        if have_left {
            self.close_link(around);
        }
    }

    pub(super) fn close_link(&mut self, around: &mut Surroundings<'_>) {
        if let Some(link) = &self.link {
            Wire { network: around.network, queue: around.queue }.close(
                link.connection.id(),
                CloseCode::Done.code(),
                "",
            );
        }
        self.lose(Some(CloseCode::Done), around);
    }

    fn begin(&mut self, attempt: AttemptId, router: u32, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let from = Endpoint { host: Host::Client(self.index), life: 0, core: 0 };
        let shard = around.rng.random_range(0..4096);
        let conn = around.network.connect(around.queue, from, router, false, shard);
        let config = ConnectionConfig { tables: self.tables, ..ConnectionConfig::default() };
        let config = match &self.role {
            Role::Publisher(publisher) => ConnectionConfig {
                received_within_us: publisher.received_within_us(),
                confirms: publisher.is_confirmed(),
                secret: publisher.secret(),
                quench: publisher.skips(),
                ..config
            },
            Role::Receivers(receivers) => ConnectionConfig {
                receivers: receivers.count(),
                // Every other client, so that each seed has both kinds of delivery streams side by
                // side.
                share_deliveries: self.index % 2 == 1,
                confirms: receivers.confirms(),
                moves: true,
                history: receivers.read_past(),
                ..config
            },
        };
        let connection = ClientConnection::new(conn, config, now);
        self.dialling.push(Link::new(attempt, router, connection, now));
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, conn: ConnKey, around: &mut Surroundings<'_>) {
        self.gone(conn, None, around);
        self.flow(around);
    }

    /// A connection is gone; this side closed it if there is a code.
    pub(super) fn gone(&mut self, conn: ConnKey, code: Option<CloseCode>, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        if self.link.as_ref().is_some_and(|link| link.connection.id() == conn) {
            self.lose(code, around);
            return;
        }
        let Some(attachment) = &mut self.attachment else { return };
        let verdict = Verdict::Passing;
        if let Some(link) = self.next.take_if(|link| link.connection.id() == conn) {
            attachment.handle(Input::Lost { attempt: link.attempt, verdict }, now);
            self.stay(around);
        } else if let Some(at) = self.dialling.iter().position(|link| link.connection.id() == conn) {
            let attempt = self.dialling.swap_remove(at).attempt;
            let error = code.unwrap_or(CloseCode::Internal);
            attachment.handle(Input::Failed { attempt, verdict, error }, now);
        }
    }
}
