//! How a core leaves: it tells clients to move, tells publishers what was received, and finishes
//! the streams to peers last. And how some of its clients move while it stays, because another
//! router has fewer.

use millrace_proto::CloseCode;
use millrace_proto::control::Goaway;

use super::backlog::Backlog;
use super::machine::Core;
use super::standing::Ending;
use super::turn::Close;
use super::writing;
use crate::time::Time;
use crate::transport::Transport;

/// Time that a client has to find its new router, once its turn to move has come, microseconds.
const MOVE_GRACE_US: u64 = 30_000_000;

impl Core {
    /// Begins the end in order: the core reads nothing more from clients, tells them what was
    /// received, and closes them with `going_away` by the second turn from here, because a
    /// connection never sends what it is told in the turn that closes it. Events that they
    /// published may still be on their way to their owner. The router's end goes on when no core
    /// [has batches](Core::has_batches) and every core has read its siblings' batches: then the
    /// shell calls [`Core::finish_lanes`] on each.
    pub fn close_clients(&mut self, now: Time, transport: &mut dyn Transport) {
        self.turn(now, transport);
        self.ending = Ending::Told;
        self.agenda.clients = Backlog::new();
        for conn in self.clients() {
            self.drive_client(now, transport, conn, |client, turn| {
                client.report();
                client.write_control(turn)
            });
        }
    }

    pub(super) fn end_clients(&mut self, now: Time, transport: &mut dyn Transport) {
        for conn in self.clients() {
            self.close(now, transport, conn, &Close::new(CloseCode::GoingAway, "this router is going away"));
        }
    }

    /// Whether runs wait for a sibling's mailbox.
    #[must_use]
    pub fn has_batches(&self) -> bool {
        self.path.locations.has_batches()
    }

    /// Whether everything for peers was handed to the transport.
    #[must_use]
    pub fn has_written_lanes(&self) -> bool {
        self.path.locations.has_written_peers()
    }

    /// Finishes the streams to peers behind the runs that are queued for them; the core routes
    /// nothing more. Call [`Core::turn`] until the transport has sent everything.
    pub fn finish_lanes(&mut self, transport: &mut dyn Transport) {
        self.standing.are_lanes_over = true;
        for lane in self.path.locations.peers_mut() {
            lane.finished = true;
        }
        writing::write_peers(&mut self.path, transport);
    }

    /// Tells clients to move, each after its own part of the grace.
    pub(super) fn drain(&mut self, now: Time, transport: &mut dyn Transport, grace_us: u64) {
        let grace_us = grace_us.min(millrace_proto::varint::MAX);
        self.standing.draining = Some(grace_us);
        self.path.groups.drain();
        let count = self.path.metrics.clients;
        let mut index = 0;
        self.drive_clients(now, transport, |client, turn| {
            let delay_us = (grace_us / 2).saturating_mul(index) / count.max(1);
            index += 1;
            // A client that has not said Hello is told behind its Welcome.
            if client.said_hello() {
                client.report();
                turn.standing.goaway(delay_us, grace_us).encode(&mut client.control.out);
                client.mark(turn);
            }
        });
    }

    /// Asks as many clients to move to another router, one after the other within this time. The
    /// clients with the lowest keys are asked first, and nobody twice.
    pub(super) fn move_clients(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        count: u64,
        within_us: u64,
        to: &str,
    ) {
        let within_us = within_us.min(millrace_proto::varint::MAX - MOVE_GRACE_US);
        let mut asked = 0;
        self.drive_clients(now, transport, |client, turn| {
            if asked == count || !client.may_be_moved() {
                return;
            }
            let goaway = Goaway {
                delay_us: within_us / count * asked,
                alternates: vec![to.to_owned()],
                reason: "another router has fewer clients".into(),
                grace_us: within_us + MOVE_GRACE_US,
                ..Goaway::default()
            };
            asked += 1;
            client.control.is_asked_to_move = true;
            goaway.encode(&mut client.control.out);
            client.mark(turn);
        });
        self.path.metrics.clients_asked_to_move += asked;
    }
}
