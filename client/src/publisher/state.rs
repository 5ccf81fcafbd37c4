//! What a feed's task and the publisher's callers share: a session under a short lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_proto::{PublisherKey, Shard};
use tokio::sync::{Notify, oneshot};

use super::stats::{Lost, REPORTS_MAX, Unconfirmed};
use crate::clock::Clock;
use crate::session::{ConfirmLevel, Ended, Outcome, PublishError, PublisherConfig, PublisherSession, Tags};
use crate::time::Time;

/// What the task and the publisher's callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    /// Tells the task that there is something to do.
    pub(super) work: Arc<Notify>,
    /// Tells those who wait that the queue has room, or that events were received or lost. One for
    /// all of a publisher's feeds.
    pub(super) progress: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) session: PublisherSession,
    flush_bytes: usize,
    /// What chooses the core: a shard that was asked for, else that of the first event.
    pub(super) shard: Option<Shard>,
    /// The task was told since it last looked.
    pub(super) woken: bool,
    pub(super) ending: Ending,
    pub(super) lost: VecDeque<Lost>,
    pub(super) unknown: u64,
    pub(super) level: ConfirmLevel,
    /// Highest seq below which a router has received everything, whatever is sent again.
    pub(super) received: u64,
    pub(super) confirmed: u64,
    pub(super) partial: u64,
    pub(super) dropped: u64,
    pub(super) unconfirmed: VecDeque<Unconfirmed>,
    /// Who waits for the outcome of an event, by its seq; as many as the window holds, at most.
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    pub(super) connections: u64,
    /// Some task moves its events.
    pub(super) served: bool,
}

/// When a feed's task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not at all.
    Open,
    /// When everything is received.
    WhenFlushed,
    /// At once.
    Now,
}

impl Shared {
    /// A publisher's share of a connection that `shard` chooses; `progress` is one for all of them.
    pub(super) fn new(
        config: PublisherConfig,
        shard: Option<Shard>,
        clock: Clock,
        progress: Arc<Notify>,
    ) -> Self {
        let state = State {
            flush_bytes: config.flush_bytes,
            level: config.level,
            received: config.first_seq,
            confirmed: 0,
            partial: 0,
            dropped: 0,
            unconfirmed: VecDeque::new(),
            waiting: BTreeMap::new(),
            session: PublisherSession::new(config),
            shard,
            woken: false,
            ending: Ending::Open,
            lost: VecDeque::new(),
            unknown: 0,
            connections: 0,
            served: true,
        };
        Self { state: Mutex::new(state), clock, work: Arc::default(), progress }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the publisher needs no connection any more.
    pub(super) fn is_done(&self) -> bool {
        let state = self.lock();
        match state.ending {
            Ending::Open => false,
            Ending::WhenFlushed => state.session.is_flushed(),
            Ending::Now => true,
        }
    }

    /// Queues an event, and tells the task when that makes a difference.
    pub(super) fn publish(&self, tags: Tags<'_>, time_ns: u64, payload: &[u8]) -> Result<u64, PublishError> {
        self.publish_then(tags, time_ns, payload, |_, _| {})
    }

    /// Queues an event whose outcome is wanted.
    pub(super) fn publish_confirmed(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<(u64, oneshot::Receiver<Outcome>), PublishError> {
        let (sender, receiver) = oneshot::channel();
        let wait = |state: &mut State, seq| drop(state.waiting.insert(seq, sender));
        Ok((self.publish_then(tags, time_ns, payload, wait)?, receiver))
    }

    fn publish_then(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        then: impl FnOnce(&mut State, u64),
    ) -> Result<u64, PublishError> {
        let mut state = self.lock();
        let was_empty = state.session.queued_bytes() == 0;
        // Only the oldest queued event's time counts, so the clock is read once per batch.
        let now = if was_empty { self.clock.now() } else { Time::ZERO };
        let seq = match state.session.publish(now, tags, time_ns, payload) {
            Ok(seq) => seq,
            Err(error) => {
                let asked = state.ask_for_room(error);
                drop(state);
                if asked {
                    self.work.notify_one();
                }
                return Err(error);
            }
        };
        then(&mut state, seq);
        if state.shard.is_none() {
            state.shard = Some(tags.shard());
        }
        let wake = !state.woken && (was_empty || state.session.queued_bytes() >= state.flush_bytes);
        state.woken |= wake;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(seq)
    }
}

impl State {
    /// Tells those who wait, counts, and reports what has ended.
    pub(super) fn settle(&mut self, key: PublisherKey) {
        self.received = self.received.max(self.session.received());
        while let Some(Ended { seqs, outcome }) = self.session.poll_ended() {
            let events = seqs.end - seqs.start;
            match outcome {
                Outcome::Confirmed { .. } => self.confirmed += events,
                Outcome::Partial { .. } => self.partial += events,
                Outcome::Dropped { .. } => self.dropped += events,
                Outcome::Unknown => self.unknown += events,
            }
            while let Some((&seq, _)) = self.waiting.range(seqs.clone()).next() {
                if let Some(waiting) = self.waiting.remove(&seq) {
                    // Nobody waits any more otherwise.
                    let _ = waiting.send(outcome.clone());
                }
            }
            if !outcome.is_confirmed() {
                if self.unconfirmed.len() == REPORTS_MAX {
                    self.unconfirmed.pop_front();
                }
                self.unconfirmed.push_back(Unconfirmed { key, seqs, outcome });
            }
        }
    }

    /// A publisher that holds events until they are received has room again as soon as the router
    /// says so: the session asks it. Whether it is to be asked.
    fn ask_for_room(&mut self, error: PublishError) -> bool {
        let asks = error == PublishError::WouldBlock && self.session.resends();
        if asks {
            self.session.flush();
            self.session.report();
        }
        asks
    }
}
