//! A client moves a receiver to another router: it asks for marks here and there.

use millrace_proto::control::{Move, Refused, RefusedReason};

use super::session::ClientSession;
use crate::core::barrier::Asker;
use crate::core::turn::Turn;

impl ClientSession {
    /// The client asks for a mark in a receiver's stream.
    pub(super) fn mark_asked(&mut self, turn: &mut Turn<'_>, request: &Move) {
        let &Move { receiver, mark, .. } = request;
        let slot = self.receivers.get(&receiver).copied();
        let (Some(slot), 1..) = (slot, mark) else {
            let (reason, message) = match slot {
                None => (RefusedReason::Receiver, "the receiver is not open"),
                Some(_) => (RefusedReason::Unsupported, "this router moves receivers by marks: field 4"),
            };
            let message = message.to_owned();
            return self.refuse(turn, &Refused { reason, receiver, message, ..Refused::default() });
        };
        turn.path.clients.barriers.ask(slot, Asker { conn: self.conn, receiver, number: mark });
    }
}
