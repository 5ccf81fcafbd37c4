//! What a client may do: asked for at its Hello, and again when the roll is replaced.

use std::sync::Arc;

use millrace_proto::CloseCode;
use millrace_proto::control::Hello;

use super::session::ClientSession;
use crate::core::turn::{Close, Turn};
use crate::rights::Rights;

impl ClientSession {
    /// Looks up what the client may do that has said this hello.
    pub(super) fn admit(&mut self, turn: &mut Turn<'_>, hello: &Hello) -> Result<(), Close> {
        let token = &hello.token;
        self.who.caller.token = (!token.0.is_empty()).then(|| token.hash());
        self.who.caller.from = hello.cluster;
        let rights = self.look_up(turn)?;
        let seat = turn.path.clients.roll.meters.seat(&rights, turn.now);
        let seat = seat.map_err(|reason| Close::new(CloseCode::Limit, reason))?;
        self.set_seat(turn, seat);
        self.who.rights = Arc::new(rights);
        Ok(())
    }

    /// Applies a new roll to the session: it goes on with what it still may do. What it may do
    /// besides counts for what it asks for from here on.
    ///
    /// # Errors
    /// It has lost a right that it uses.
    pub(in crate::core) fn review(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        if !self.said_hello() {
            return Ok(());
        }
        let rights = self.look_up(turn)?;
        if rights == *self.who.rights {
            return Ok(());
        }
        if rights.identity != self.who.rights.identity {
            let reason = "the router takes this client for another identity than before: connect again";
            return Err(Close::new(CloseCode::Replaced, reason));
        }
        let rights = Arc::new(rights);
        if let Some(publish) = &mut self.publish {
            publish.set_rights(Arc::clone(&rights))?;
        }
        if let Some(allowed) = &rights.grant.subscribe {
            let open = self.receivers.values().filter_map(|&slot| turn.path.receivers.get(slot));
            let lost =
                open.flat_map(|receiver| receiver.selectors.filed()).find(|&filed| !allowed.covers(filed));
            if let Some(lost) = lost {
                let message = not_allowed(&rights);
                let reason = format!(
                    "a right was withdrawn, of which the subscription \"{lost}\" made use: {message}"
                );
                return Err(Close::new(CloseCode::Forbidden, reason));
            }
        }
        let seat = turn.path.clients.roll.meters.take(&rights, turn.now);
        self.set_seat(turn, seat);
        self.who.rights = rights;
        if let Some(demand) = turn.standing.demand.clone() {
            self.tell_demand(turn, &demand);
        }
        Ok(())
    }

    fn look_up(&self, turn: &Turn<'_>) -> Result<Rights, Close> {
        let roll = &turn.path.clients.roll;
        roll.admit(&self.who.caller).map_err(|reason| Close::new(CloseCode::Forbidden, reason))
    }
}

/// What a client is told whose subscription is outside of what it may receive.
pub(super) fn not_allowed(rights: &Rights) -> String {
    let Rights { identity, grant, .. } = rights;
    let allowed = grant.subscribe.as_ref().map_or_else(String::new, |allowed| allowed.shown());
    format!(
        "identity \"{identity}\" may not receive this: its {} entry \"{}\" allows {allowed}",
        rights.entry(),
        grant.pattern
    )
}
