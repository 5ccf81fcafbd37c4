//! A client moves a receiver to another router: it asks for marks here and there.

use millrace_proto::control::{Move, Refused, RefusedReason};

use super::session::ClientSession;
use crate::core::barrier::Asker;
use crate::core::turn::Turn;

impl ClientSession {
    /// The client asks for a mark in a receiver's stream.
    pub(super) fn mark_asked(&mut self, turn: &mut Turn<'_>, request: &Move) {
        let &Move { receiver, mark, .. } = request;
        // Of one that is not open, the request has crossed the end.
        let Some(slot) = self.receivers.get(&receiver).copied() else { return };
        if mark == 0 {
            let reason = RefusedReason::Unsupported;
            let message = "this router moves receivers by marks: field 4".to_owned();
            return self.refuse(turn, &Refused { reason, receiver, message, ..Refused::default() });
        }
        turn.path.clients.barriers.ask(slot, Asker { conn: self.conn, receiver, number: mark });
    }
}
