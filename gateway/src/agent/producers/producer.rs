//! One producer: a spool, the publisher that empties it, and who waits for outcomes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_client::spool::Full;
use millrace_client::{
    ConfirmLevel, EventId, GivenUp, Outcome, PublishError, Publisher, PublisherKey, PublisherStats,
};
use tokio::sync::{Notify, oneshot};

use crate::upstream::{NewEvent, NewEventError};

/// Ranges of what was shed that one telling has; beyond, events are only counted.
const RANGES_MAX: usize = 1000;

/// Why an event is not in the spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The spool is full, and sheds what is new.
    #[error("{0}; the event is given up (spool.on_full = shed-newest)")]
    Shed(Full),
    /// The spool is full.
    #[error("{0}; try again later")]
    Full(Full),
    /// With the tags of the host it is no event.
    #[error(transparent)]
    Event(#[from] NewEventError),
    /// The disk fails.
    #[error("the spool fails: {}; see the agent's log", io::Error::from(*.0))]
    Disk(io::ErrorKind),
    /// The spool cannot be opened.
    #[error("the producer has no spool: {0}")]
    Closed(String),
}

/// What a producer has done since the agent started, and what is in its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStats {
    /// What became of its events.
    pub events: PublisherStats,
    /// Events that were not taken: the spool was full, and sheds what is new.
    pub shed_newest: u64,
    /// Events that were not taken: the spool was full, or failed.
    pub refused: u64,
    /// Tags of the host that it had set, and that the agent has replaced.
    pub replaced_tags: u64,
    /// Bytes of its spool's files.
    pub spool_bytes: u64,
}

/// Events that were shed and not told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sheds {
    /// Their seqs, as far as they had some.
    pub(super) ranges: Vec<Range<u64>>,
    /// How many they are, all of them.
    pub(super) events: u64,
    /// How many of them never got a seq.
    pub(super) unnumbered: u64,
}

impl Sheds {
    fn add(&mut self, seqs: Range<u64>) {
        self.events += seqs.end - seqs.start;
        let has_room = self.ranges.len() < RANGES_MAX;
        match self.ranges.last_mut() {
            Some(last) if last.end == seqs.start => last.end = seqs.end,
            _ if has_room => self.ranges.push(seqs),
            _ => {}
        }
    }

    fn merge(&mut self, later: Self) {
        let numbered = later.events - later.unnumbered;
        let in_ranges: u64 = later.ranges.iter().map(|seqs| seqs.end - seqs.start).sum();
        later.ranges.into_iter().for_each(|seqs| self.add(seqs));
        self.events += (numbered - in_ranges) + later.unnumbered;
        self.unnumbered += later.unnumbered;
    }
}

/// Who waits, by the seq of the event.
type Waiters = BTreeMap<u64, oneshot::Sender<Outcome>>;

/// One producer with one confirm level.
#[derive(Debug)]
pub struct Producer {
    name: Arc<str>,
    index: u64,
    level: ConfirmLevel,
    publisher: Publisher,
    waiters: Mutex<Waiters>,
    sheds: Mutex<Sheds>,
    /// Events of its spool that it has heard were given up, told or not.
    heard_shed: AtomicU64,
    shed_newest: AtomicU64,
    refused: AtomicU64,
    replaced_tags: AtomicU64,
}

impl Producer {
    pub(super) fn new(name: Arc<str>, index: u64, publisher: Publisher) -> Self {
        Self {
            name,
            index,
            level: publisher.level(),
            publisher,
            waiters: Mutex::default(),
            sheds: Mutex::default(),
            heard_shed: AtomicU64::new(0),
            shed_newest: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            replaced_tags: AtomicU64::new(0),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number on this host.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// What its events wait for before they are final.
    #[must_use]
    pub const fn level(&self) -> ConfirmLevel {
        self.level
    }

    /// The constant part of its events' ids.
    #[must_use]
    pub fn key(&self) -> PublisherKey {
        self.publisher.key()
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        ProducerStats {
            events: self.publisher.stats(),
            shed_newest: self.shed_newest.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            replaced_tags: self.replaced_tags.load(Ordering::Relaxed),
            spool_bytes: self.publisher.spool_bytes(),
        }
    }

    /// Counts tags of the host that it had set.
    pub(crate) fn note_replaced(&self, tags: u64) {
        self.replaced_tags.fetch_add(tags, Ordering::Relaxed);
    }

    /// Waits until what it has published is safe from a power loss. While the disk fails it waits
    /// on.
    pub async fn synced(&self) {
        self.publisher.synced().await;
    }

    /// Puts an event into its spool.
    pub(super) fn append(&self, event: &NewEvent) -> Result<EventId, PublishError> {
        self.publisher.try_publish_at(&event.tags, event.time, &event.payload)
    }

    /// Has `append` put an event into its spool, for somebody who waits for the outcome.
    pub(crate) fn append_waiting(
        self: &Arc<Self>,
        append: impl FnOnce(&Self) -> Result<EventId, NotTaken>,
    ) -> Result<(EventId, Waiting), NotTaken> {
        // The outcome of an event that is taken under the lock is told behind it.
        let mut waiters = self.lock_waiters();
        let id = append(self)?;
        let (sender, outcome) = oneshot::channel();
        waiters.insert(id.seq, sender);
        drop(waiters);
        Ok((id, Waiting { producer: self.clone(), seq: id.seq, outcome }))
    }

    fn lock_waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_sheds(&self) -> MutexGuard<'_, Sheds> {
        self.sheds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event that was not taken.
    pub(super) fn note_refused(&self, is_shed: bool) {
        if is_shed {
            self.shed_newest.fetch_add(1, Ordering::Relaxed);
            let mut sheds = self.lock_sheds();
            sheds.events += 1;
            sheds.unnumbered += 1;
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it has heard of all that its spool gave up.
    pub(super) fn has_heard_sheds(&self) -> bool {
        self.heard_shed.load(Ordering::Relaxed) >= self.publisher.stats().shed
    }

    /// Takes what was shed and not told; `None` when nothing was.
    pub(super) fn take_sheds(&self) -> Option<Sheds> {
        let sheds = std::mem::take(&mut *self.lock_sheds());
        (sheds.events > 0).then_some(sheds)
    }

    /// Gives back what could not be told.
    pub(super) fn put_back(&self, untold: Sheds) {
        let mut sheds = self.lock_sheds();
        let later = std::mem::replace(&mut *sheds, untold);
        sheds.merge(later);
    }

    /// Bytes of its spool.
    pub(super) fn spool_bytes(&self) -> u64 {
        self.publisher.spool_bytes()
    }

    /// Gives up its oldest events for those of another producer.
    pub(super) fn shed_oldest(&self) -> bool {
        self.publisher.shed_oldest().unwrap_or_else(|error| {
            tracing::error!(producer = &*self.name, %error, "the oldest events cannot be given up");
            false
        })
    }

    /// Hears what becomes of its events for as long as it lives; `has_shed` is told of what is
    /// shed.
    pub(super) async fn follow(self: Arc<Self>, has_shed: Arc<Notify>) {
        loop {
            let settled = self.publisher.settled().await;
            if settled.outcome == (Outcome::GivenUp { why: GivenUp::Shed }) {
                self.lock_sheds().add(settled.seqs.clone());
                self.heard_shed.fetch_add(settled.seqs.end - settled.seqs.start, Ordering::Relaxed);
                has_shed.notify_one();
            }
            let mut waiters = self.lock_waiters();
            while let Some((&seq, _)) = waiters.range(settled.seqs.clone()).next() {
                if let Some(waiter) = waiters.remove(&seq) {
                    // Who waited may have gone.
                    let _ = waiter.send(settled.outcome.clone());
                }
            }
        }
    }

    /// Waits until nothing is pending.
    pub(super) async fn flushed(&self) {
        self.publisher.flush().await;
    }

    /// Closes its connection and its spool in order.
    pub(super) async fn close(self) -> PublisherStats {
        self.publisher.stop().await
    }
}

/// Waits for what becomes of one event.
#[derive(Debug)]
pub struct Waiting {
    producer: Arc<Producer>,
    seq: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Waiting {
    /// The outcome; `None` when the agent ends before. May be dropped at any time.
    pub async fn outcome(&mut self) -> Option<Outcome> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.producer.lock_waiters().remove(&self.seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_told_stands_before_what_came_later() {
        let mut sheds = Sheds::default();
        sheds.add(0..10);
        sheds.add(10..20);
        let mut later = Sheds::default();
        later.add(20..25);
        later.events += 2;
        later.unnumbered += 2;
        sheds.merge(later);
        assert_eq!((sheds.ranges.len(), sheds.ranges.first()), (1, Some(&(0..25))));
        assert_eq!((sheds.events, sheds.unnumbered), (27, 2));
    }

    #[test]
    fn beyond_the_bound_events_are_only_counted() {
        let mut sheds = Sheds::default();
        (0..2 * RANGES_MAX as u64).for_each(|number| sheds.add(number * 2..number * 2 + 1));
        assert_eq!((sheds.ranges.len(), sheds.events), (RANGES_MAX, 2 * RANGES_MAX as u64));
        let mut first = Sheds::default();
        first.merge(sheds);
        assert_eq!((first.ranges.len(), first.events), (RANGES_MAX, 2 * RANGES_MAX as u64));
    }
}
