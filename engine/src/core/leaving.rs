//! How a core leaves: clients are told to move, then what was received, then the streams to peers end.

use millrace_proto::CloseCode;

use super::Core;
use super::behind::Behind;
use crate::time::Time;
use crate::transport::Transport;

/// How far the end in order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    NotBegun,
    /// Clients are not listened to. They were told what was received, which leaves with this turn.
    Told,
    /// Clients are closed.
    Over,
}

impl Core {
    /// Begins the end in order: nothing is read from clients any more, they are told what was received, and closed with
    /// `going_away` by the second turn from here: what a connection is told in the turn that closes it never leaves. What
    /// they published may still be on its way to its owner. The end of a router goes on when no core [has
    /// batches](Core::has_batches) and all batches were taken in: then [`Core::finish_lanes`] on each.
    pub fn close_clients(&mut self, now: Time, transport: &mut dyn Transport) {
        self.turn(now, transport);
        self.ending = Ending::Told;
        self.clients_behind = Behind::new();
        for conn in self.clients() {
            if let Some(client) = self.client(conn) {
                client.report();
            }
            self.write_client(transport, conn);
        }
    }

    pub(super) fn end_clients(&mut self, transport: &mut dyn Transport) {
        for conn in self.clients() {
            self.close_connection(transport, conn, CloseCode::GoingAway, "this router is going away");
        }
    }

    /// Whether runs wait for a sibling's mailbox.
    #[must_use]
    pub fn has_batches(&self) -> bool {
        self.routing.has_batches()
    }

    /// Whether everything for peers was handed to the transport.
    #[must_use]
    pub fn has_written_lanes(&self) -> bool {
        self.routing.peers.iter().flatten().all(|lane| lane.writer.is_empty())
    }

    /// Finishes the streams to peers behind what is queued for them: nothing more is routed. Call [`Core::turn`] until
    /// the transport has sent it.
    pub fn finish_lanes(&mut self, transport: &mut dyn Transport) {
        self.lanes_over = true;
        for lane in self.routing.peers.iter_mut().flatten() {
            lane.finished = true;
        }
        self.write_peers(transport);
    }

    /// Tells clients to move, each after its own part of the grace.
    pub(super) fn drain(&mut self, grace_us: u64) {
        let grace_us = grace_us.min(millrace_proto::varint::MAX);
        self.draining = Some(grace_us);
        let clients = self.clients();
        let count = clients.len() as u64;
        for (index, conn) in clients.into_iter().enumerate() {
            let goaway = millrace_proto::control::Goaway {
                delay_us: (grace_us / 2).saturating_mul(index as u64) / count.max(1),
                alternates: self.alternates.clone(),
                reason: "this router is going away".into(),
                grace_us,
                ..Default::default()
            };
            // Who has not said Hello yet is told behind its Welcome.
            if let Some(client) = self.client(conn).filter(|client| client.said_hello()) {
                client.report();
                goaway.encode(&mut client.out);
                self.mark_client(conn);
            }
        }
    }
}
