//! A session's place in its identity's quota: taken at Hello, changed by a new roll, and when its
//! publish stream is read again.

use std::sync::Arc;

use millrace_proto::control::OpenReceiver;

use super::metered::Metered;
use super::session::ClientSession;
use crate::core::timers::Timer;
use crate::core::turn::Turn;
use crate::rights::{Scarce, Seat};
use crate::time::Time;

impl ClientSession {
    /// Counts the client by its identity's quota from here on, or by none.
    pub(super) fn set_seat(&mut self, turn: &mut Turn<'_>, seat: Option<Seat>) {
        if let Some(until) = self.who.metered.as_ref().and_then(|metered| metered.until()) {
            turn.timers.cancel(until, Timer::Quota(self.conn));
            self.read_on(turn);
        }
        let seat = seat.map(Arc::new);
        self.move_scarce(turn, seat.as_deref());
        turn.path.clients.accounts.set_seat(self.conn, seat.clone());
        self.who.metered = seat.map(|seat| Box::new(Metered::new(seat)));
    }

    /// Counts what the client has of groups, sets and names by another quota, or by none.
    fn move_scarce(&self, turn: &Turn<'_>, seat: Option<&Seat>) {
        let path = &*turn.path;
        let before = path.clients.accounts.seat(self.conn);
        if before.is_none() && seat.is_none() {
            return;
        }
        let move_one = |scarce, name: &str| {
            if let Some(seat) = seat {
                seat.add_scarce(scarce, name);
            }
            if let Some(before) = before {
                before.give_scarce(scarce, name);
            }
        };
        for &slot in self.receivers.values().chain(&self.closing) {
            let Some(receiver) = path.receivers.get(slot) else { continue };
            if let Some(member) = &receiver.member {
                move_one(Scarce::Group, &member.membership().group);
            }
            if let Some(claim) = &receiver.address.name {
                move_one(Scarce::Name, &claim.name);
            }
        }
        for membership in &self.who.sets {
            move_one(Scarce::Set, &membership.set);
        }
    }

    /// Counts the group or name of a receiver that is to be opened; it has one of them at most.
    ///
    /// # Errors
    /// Its identity has as many as it may have: in words.
    pub(super) fn take_scarce(&self, turn: &Turn<'_>, open: &OpenReceiver) -> Result<(), String> {
        let accounts = &turn.path.clients.accounts;
        if !open.group.is_empty() {
            accounts.take_scarce(self.conn, Scarce::Group, &open.group)
        } else if !open.name.is_empty() {
            accounts.take_scarce(self.conn, Scarce::Name, &open.name)
        } else {
            Ok(())
        }
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
