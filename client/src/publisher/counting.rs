//! A feed's account of its events.

use super::state::{State, pending};
use super::stats::PublisherStats;
use crate::session::ConfirmLevel;
use crate::session::publisher::Store;

impl State {
    /// What has been done so far.
    pub(super) fn stats(&self) -> PublisherStats {
        let published = self.session.next_seq() - self.first_seq;
        let given_up = self.shed + self.expired + self.unreadable + self.fenced;
        let is_spooled = self.session.store().is_spacious();
        let pending = if is_spooled { pending(self.session.store()) } else { 0 };
        let received = match self.level {
            _ if is_spooled => (self.found + published).saturating_sub(pending + given_up),
            ConfirmLevel::None => self.session.settled().saturating_sub(self.unknown + given_up),
            // An outcome tells it, too.
            _ => self.received.max(self.session.settled()),
        };
        PublisherStats {
            published,
            found: self.found,
            received,
            unknown: self.unknown,
            confirmed: self.confirmed,
            partial: self.partial,
            dropped: self.dropped,
            shed: self.shed,
            expired: self.expired,
            unreadable: self.unreadable,
            fenced: self.fenced,
            kept: self.session.kept().0,
            passed_over: self.session.kept().1,
            pending,
            skipped: self.skipped,
            connections: self.connections,
        }
    }
}
