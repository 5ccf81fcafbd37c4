//! A session's place in its identity's quota: taken at Hello, changed by a new roll, and when its
//! publish stream is read again.

use std::sync::Arc;

use super::metered::Metered;
use super::session::ClientSession;
use crate::core::timers::Timer;
use crate::core::turn::Turn;
use crate::rights::Seat;
use crate::time::Time;

impl ClientSession {
    /// Counts the client by its identity's quota from here on, or by none.
    pub(super) fn set_seat(&mut self, turn: &mut Turn<'_>, seat: Option<Seat>) {
        if let Some(until) = self.who.metered.as_ref().and_then(|metered| metered.until()) {
            turn.timers.cancel(until, Timer::Quota(self.conn));
            self.read_on(turn);
        }
        let seat = seat.map(Arc::new);
        turn.path.clients.accounts.set_seat(self.conn, seat.clone());
        self.who.metered = seat.map(|seat| Box::new(Metered::new(seat)));
    }

    /// Has the core come back when the run that waits may be taken, if one does.
    pub(super) fn await_quota(&mut self, turn: &mut Turn<'_>) {
        if let Some(until) = self.who.metered.as_ref().and_then(|metered| metered.until()) {
            turn.timers.set(until, Timer::Quota(self.conn));
        }
    }

    /// The time has come to read the publish stream again, if the timer still holds.
    pub(in crate::core) fn quota_due(&mut self, turn: &mut Turn<'_>, due: Time) {
        if self.who.metered.as_ref().is_some_and(|metered| metered.until() == Some(due)) {
            self.read_on(turn);
        }
    }

    /// Reads the publish stream in the next turn.
    fn read_on(&self, turn: &mut Turn<'_>) {
        if let Some(publish) = &self.publish {
            turn.agenda.unread.insert((self.conn, publish.stream));
        }
    }
}
