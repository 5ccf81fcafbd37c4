//! The links that a router has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_engine::forward::{Link, LinkNumber, LinkStatus};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::ForwardEntry;

/// One link, shared by the thread's tasks and whoever asks how it is.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) number: LinkNumber,
    /// As the configuration has it.
    pub(super) entry: ForwardEntry,
    link: Mutex<Link>,
    /// There is something to pass on.
    pub(super) work: Notify,
}

impl Seat {
    pub(super) fn new(number: LinkNumber, entry: ForwardEntry, link: Link) -> Self {
        Self { number, entry, link: Mutex::new(link), work: Notify::new() }
    }

    /// The link; each change leaves it whole.
    pub(super) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Book {
    seats: Mutex<BTreeMap<LinkNumber, Arc<Seat>>>,
    /// The interest of some link has changed.
    pub(super) news: Notify,
}

impl Book {
    pub(super) fn seats(&self) -> MutexGuard<'_, BTreeMap<LinkNumber, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seats as they are at this moment.
    pub(super) fn all(&self) -> Vec<Arc<Seat>> {
        self.seats().values().cloned().collect()
    }

    /// Each link with where it leads.
    pub(crate) fn status(&self, clock: Clock) -> Vec<(String, LinkStatus)> {
        let now = clock.now();
        let status = |seat: &Arc<Seat>| (seat.entry.to.clone(), seat.link().status(now));
        self.all().iter().map(status).collect()
    }
}
