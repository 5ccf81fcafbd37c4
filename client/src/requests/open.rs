//! The requests of one requester that wait for replies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_proto::TagSet;
use millrace_proto::data::optional::Addressed;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::Event;

/// Requests of one requester that are open, at most.
const OPEN_MAX: usize = 131_072;

/// A request that waits for replies, with what it takes to ask again.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) tags: TagSet,
    pub(super) payload: Box<[u8]>,
    pub(super) to: Vec<String>,
    pub(super) deadline: Instant,
    /// The event that asks now, by its seq.
    pub(super) seq: u64,
    pub(super) replies: mpsc::Sender<Event>,
}

impl Asking {
    /// Its address, for an event of this number.
    pub(super) fn addressed(&self, number: u32) -> Addressed<'_> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Addressed {
            to: self.to.iter().map(String::as_str).collect(),
            request: Some(number.into()),
            // A request without time left would have the default.
            deadline_us: u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(1),
            ..Addressed::default()
        }
    }
}

/// Open requests, by number.
#[derive(Debug, Default)]
struct Table {
    asking: BTreeMap<u32, Arc<Mutex<Asking>>>,
    next: u32,
}

/// The requests that wait for replies.
#[derive(Debug, Default)]
pub(super) struct Open(Mutex<Table>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; its number. None when too many are open.
    pub(super) fn add(&self, asking: Asking) -> Option<(u32, Arc<Mutex<Asking>>)> {
        let mut table = self.lock();
        if table.asking.len() >= OPEN_MAX {
            return None;
        }
        while table.asking.contains_key(&table.next) {
            table.next = table.next.wrapping_add(1);
        }
        let (number, asking) = (table.next, Arc::new(Mutex::new(asking)));
        table.next = number.wrapping_add(1);
        table.asking.insert(number, asking.clone());
        Some((number, asking))
    }

    /// A request waits for no more replies.
    pub(super) fn remove(&self, number: u32) {
        self.lock().asking.remove(&number);
    }

    /// Passes a reply on. One that nobody waits for, or for which its waiter has no room, is
    /// dropped.
    pub(super) fn reply(&self, number: u64, event: Event) {
        let asking = u32::try_from(number).ok().and_then(|number| self.lock().asking.get(&number).cloned());
        if let Some(asking) = asking {
            let _ = locked(&asking).replies.try_send(event);
        }
    }

    /// All requests that are open.
    pub(super) fn all(&self) -> Vec<(u32, Arc<Mutex<Asking>>)> {
        self.lock().asking.iter().map(|(&number, asking)| (number, asking.clone())).collect()
    }
}

/// A request, to be looked at or changed.
pub(super) fn locked(asking: &Mutex<Asking>) -> MutexGuard<'_, Asking> {
    asking.lock().unwrap_or_else(PoisonError::into_inner)
}
