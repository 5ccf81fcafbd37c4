//! A feed's account of its events.

use super::state::{State, pending};
use super::stats::{PublisherStats, REPORTS_MAX, SETTLED_MAX, Settled, Unconfirmed};
use crate::session::publisher::{GivenUp, Recipient, RecipientFate, Store};
use crate::session::{ConfirmLevel, Ended, Outcome};

/// Recipients whose events are counted for each of them: one that names more knows them itself.
const RECIPIENTS_COUNTED_MAX: usize = 1024;

impl State {
    /// What has been done so far.
    pub(super) fn stats(&self) -> PublisherStats {
        let session = self.ways.first();
        let published = self.ways.next_seq() - self.first_seq;
        let given_up = self.shed + self.expired + self.unreadable + self.fenced;
        let is_spooled = session.store().is_spacious();
        let pending = if is_spooled { pending(session.store()) } else { 0 };
        let received = match self.level {
            _ if is_spooled => (self.found + published).saturating_sub(pending + given_up),
            ConfirmLevel::None => self.ways.settled().saturating_sub(self.unknown + given_up),
            // An outcome tells it, too.
            _ => self.received.max(self.ways.settled()),
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
            kept: session.kept().0,
            passed_over: session.kept().1,
            pending,
            skipped: self.skipped,
            by_one: self.ways.by_one(),
            connections: self.connections,
        }
    }

    /// Tells those who wait, counts, and reports what has ended. Whether something has.
    pub(super) fn settle(&mut self) -> bool {
        let key = self.ways.first().key();
        let mut is_news = false;
        self.received = self.received.max(self.ways.received());
        while let Some(Ended { seqs, outcome }) = self.ways.poll_ended() {
            is_news = true;
            let events = seqs.end - seqs.start;
            match outcome {
                Outcome::Confirmed { .. } => self.confirmed += events,
                Outcome::Partial { .. } => self.partial += events,
                Outcome::Dropped { .. } => self.dropped += events,
                Outcome::AtRecipients { ref recipients } => self.count_recipients(recipients, events),
                Outcome::Unknown => self.unknown += events,
                Outcome::GivenUp { why } => match why {
                    GivenUp::Shed => self.shed += events,
                    GivenUp::Expired => self.expired += events,
                    GivenUp::Unreadable => self.unreadable += events,
                    GivenUp::Fenced => self.fenced += events,
                },
            }
            while let Some((&seq, _)) = self.waiting.range(seqs.clone()).next() {
                if let Some(waiting) = self.waiting.remove(&seq) {
                    waiting.tell(&outcome);
                }
            }
            if let Some(settled) = &mut self.settled {
                if settled.len() == SETTLED_MAX {
                    settled.pop_front();
                }
                settled.push_back(Settled { key, seqs: seqs.clone(), outcome: outcome.clone() });
            }
            if !outcome.is_confirmed() {
                if self.unconfirmed.len() == REPORTS_MAX {
                    self.unconfirmed.pop_front();
                }
                self.unconfirmed.push_back(Unconfirmed { key, seqs, outcome });
            }
        }
        is_news
    }

    /// Counts events that name recipients, and what became of them at each.
    fn count_recipients(&mut self, recipients: &[Recipient], events: u64) {
        let delivered = recipients.iter().filter(|one| one.fate == RecipientFate::Delivered).count();
        *match delivered {
            0 => &mut self.dropped,
            some if some == recipients.len() => &mut self.confirmed,
            _ => &mut self.partial,
        } += events;
        for Recipient { name, fate } in recipients {
            if !self.at_recipients.contains_key(name) && self.at_recipients.len() == RECIPIENTS_COUNTED_MAX {
                continue;
            }
            *self.at_recipients.entry(name.clone()).or_default().entry(*fate).or_default() += events;
        }
    }
}
