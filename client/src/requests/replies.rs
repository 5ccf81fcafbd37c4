//! The replies to one request.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use millrace_proto::PublisherKey;

use super::asking::{Asking, News, locked};
use super::open::Open;
use super::options::Wanted;
use crate::event::{Event, GapReason};
use crate::session::publisher::{Recipient, RecipientFate};
use crate::session::{Outcome, publisher::OutcomeReason};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEnd {
    /// As many replies came as were wanted, or as there are receivers.
    Complete,
    /// Its time was over before.
    Deadline,
    /// Nobody has the request: no receiver matches, or none has the name.
    NoReceiver,
    /// It reached nobody, for this reason.
    Failed(OutcomeReason),
    /// Its time is over, and a reply may have been lost on its way to this requester, for this
    /// reason.
    Unknown(GapReason),
    /// The requester has ended before: it was dropped, or a router refused it.
    Ended,
}

impl RequestEnd {
    /// Its name in what people and programs read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Deadline => "deadline",
            Self::NoReceiver => "no_receiver",
            Self::Failed(reason) => reason.name(),
            Self::Unknown(_) => "unknown",
            Self::Ended => "requester_ended",
        }
    }
}

/// The replies to one request, as they come. Dropping it ends the request: later replies are
/// dropped.
#[derive(Debug)]
pub struct Replies {
    pub(super) open: Arc<Open>,
    pub(super) number: u32,
    pub(super) asking: Arc<Mutex<Asking>>,
    pub(super) wanted: Wanted,
    pub(super) receivers: Option<u64>,
    pub(super) recipients: Vec<Recipient>,
    /// Who has replied first, and all others that have.
    pub(super) from: Option<PublisherKey>,
    pub(super) from_others: BTreeSet<PublisherKey>,
    pub(super) replies: u64,
    pub(super) end: Option<RequestEnd>,
}

impl Replies {
    /// The next reply; `None` when no more come: [`Replies::end`] says why. May be dropped at any
    /// time.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if self.end.is_none() && self.is_complete() {
                self.end = Some(RequestEnd::Complete);
                let outcome = locked(&self.asking).replies.take_outcome();
                if let Some(outcome) = outcome {
                    self.routed_so(outcome);
                }
            }
            if self.end.is_some() {
                return None;
            }
            let asking = &self.asking;
            let (outcome, news) = poll_fn(|context| locked(asking).replies.poll(context)).await;
            // A reply that is here comes before an end.
            if matches!(news, News::Reply(_)) {
                self.replies += 1;
            }
            if let Some(outcome) = outcome {
                self.routed_so(outcome);
            }
            match news {
                News::Reply(event) => {
                    self.came_from(event.id.publisher);
                    return Some(event);
                }
                News::Outcome => {}
                News::Ended => self.end = Some(RequestEnd::Ended),
                News::Overdue => {
                    let missed = locked(&self.asking).missed;
                    self.end = Some(missed.map_or(RequestEnd::Deadline, RequestEnd::Unknown));
                }
            }
        }
    }

    fn came_from(&mut self, publisher: PublisherKey) {
        match self.from {
            None => self.from = Some(publisher),
            Some(first) if first == publisher => {}
            Some(_) => drop(self.from_others.insert(publisher)),
        }
    }

    /// Why no more replies come; `None` while some may.
    #[must_use]
    pub const fn end(&self) -> Option<RequestEnd> {
        self.end
    }

    /// How many receivers have the request; `None` while that is not known.
    #[must_use]
    pub fn receivers(&self) -> Option<u64> {
        self.receivers.or_else(|| locked(&self.asking).replies.receivers())
    }

    /// What became of the request at each receiver that it names.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// How many publishers have replied.
    #[must_use]
    pub fn responders(&self) -> usize {
        usize::from(self.from.is_some()) + self.from_others.len()
    }

    /// The number of replies that were given.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.replies
    }

    /// Whether as many replies came as are wanted, or can come.
    fn is_complete(&self) -> bool {
        let all = self.receivers.is_some_and(|receivers| self.replies >= receivers);
        match self.wanted {
            Wanted::First => self.replies >= 1,
            Wanted::Count(count) => self.replies >= count || all,
            Wanted::All => all,
        }
    }

    /// A router says who has the request.
    fn routed_so(&mut self, outcome: Outcome) {
        let (receivers, nobody) = match outcome {
            Outcome::Confirmed { receivers } => (receivers, RequestEnd::NoReceiver),
            Outcome::Partial { receivers, reasons, .. } => {
                (receivers, RequestEnd::Failed(reasons.first().copied().unwrap_or_default()))
            }
            Outcome::AtRecipients { recipients } => {
                let count = |fate| recipients.iter().filter(|one| one.fate == fate).count();
                let (delivered, unknown) =
                    (count(RecipientFate::Delivered), count(RecipientFate::NoReceiver));
                let nobody = match recipients.first() {
                    Some(Recipient { fate: RecipientFate::Busy, .. }) if unknown == 0 => {
                        RequestEnd::Failed(OutcomeReason::Busy)
                    }
                    _ => RequestEnd::NoReceiver,
                };
                self.recipients = recipients;
                (delivered as u64, nobody)
            }
            Outcome::Dropped { reason } => (0, RequestEnd::Failed(reason)),
            // Nobody can tell: replies are waited for as long as there is time.
            _ => return,
        };
        self.receivers = Some(receivers);
        if receivers == 0 && self.replies == 0 {
            self.end = Some(nobody);
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.open.remove(self.number);
    }
}
