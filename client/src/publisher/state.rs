//! What a feed's task and the publisher's callers share: a session under a short lock.

use std::collections::{BTreeMap, VecDeque};
#[cfg(all(unix, feature = "spool"))]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use millrace_proto::Shard;
use millrace_proto::id::EventId;
use tokio::sync::{Notify, oneshot};

use super::holding::Holding;
use super::options::PublisherOptions;
use super::quench::Listener;
#[cfg(all(unix, feature = "spool"))]
use super::standing;
use super::standing::{StandbyOptions, Told};
use super::stats::{Lost, REPORTS_MAX, SETTLED_MAX, Settled, Unconfirmed};
use crate::clock::{Clock, nanos, wall_time_ns};
#[cfg(all(unix, feature = "spool"))]
use crate::session::publisher::MemoryStore;
use crate::session::publisher::{Full, GivenUp, Numbered, Recipient, RecipientFate, StandbyState, Store};
use crate::session::{ConfirmLevel, Ended, Outcome, PublishError, PublisherConfig, PublisherSession, Tags};
#[cfg(all(unix, feature = "spool"))]
use crate::spool::{DiskStorage, SpoolStore, SyncPolicy};
use crate::time::Time;

/// Recipients whose events are counted for each of them: one that names more knows them itself.
const RECIPIENTS_COUNTED_MAX: usize = 1024;

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
    /// Tells who looks after the spool that something is to be synced, that somebody waits for
    /// room, or that the publisher ends.
    pub(super) upkeep: Arc<Notify>,
    /// Is told how the publisher stands in its set.
    on_standby: OnceLock<Told>,
    /// The folder of its spool, and its set.
    #[cfg(all(unix, feature = "spool"))]
    generation_of: OnceLock<(PathBuf, String)>,
    /// Who is told whether tag sets are wanted.
    pub(super) on_wanted: Listener,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) session: PublisherSession<Holding>,
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
    /// Events by recipient and by what became of them there.
    pub(super) at_recipients: BTreeMap<String, BTreeMap<RecipientFate, u64>>,
    pub(super) shed: u64,
    pub(super) expired: u64,
    pub(super) unreadable: u64,
    pub(super) fenced: u64,
    /// Whether events are skipped that nobody wants.
    may_skip: bool,
    pub(super) skipped: u64,
    /// The first seq of this process.
    pub(super) first_seq: u64,
    /// Events that the spool held when it was opened.
    pub(super) found: u64,
    /// How long events may wait.
    pub(super) ttl: Option<Duration>,
    /// Who looks after the spool was told since it last looked.
    #[cfg(all(unix, feature = "spool"))]
    upkeep_told: bool,
    /// Somebody waits for a sync.
    pub(super) wants_sync_now: bool,
    /// An event found no room in the spool, and none has since.
    waits_for_room: bool,
    pub(super) unconfirmed: VecDeque<Unconfirmed>,
    /// All ends, where they are asked for.
    pub(super) settled: Option<VecDeque<Settled>>,
    /// Who waits for the outcome of an event, by its seq; as many as the window holds, at most.
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    pub(super) connections: u64,
    /// The present router, or the last one, knows recipients, requests and replies.
    pub(super) knows_names: bool,
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
    /// A publisher's share of a connection that `shard` chooses, whose events `holding` holds;
    /// `progress` is one for all of them.
    pub(super) fn new(
        config: PublisherConfig,
        holding: Holding,
        ttl: Option<Duration>,
        shard: Option<Shard>,
        clock: Clock,
        progress: Arc<Notify>,
    ) -> Self {
        let state = State {
            flush_bytes: config.flush_bytes,
            level: config.level,
            received: holding.seqs().start,
            confirmed: 0,
            partial: 0,
            dropped: 0,
            at_recipients: BTreeMap::new(),
            shed: 0,
            expired: 0,
            unreadable: 0,
            fenced: 0,
            may_skip: false,
            skipped: 0,
            first_seq: holding.seqs().end,
            found: pending(&holding),
            ttl,
            #[cfg(all(unix, feature = "spool"))]
            upkeep_told: false,
            wants_sync_now: false,
            waits_for_room: false,
            unconfirmed: VecDeque::new(),
            settled: None,
            waiting: BTreeMap::new(),
            session: PublisherSession::with_store(config, holding),
            shard,
            woken: false,
            ending: Ending::Open,
            lost: VecDeque::new(),
            unknown: 0,
            connections: 0,
            knows_names: true,
            served: true,
        };
        Self {
            state: Mutex::new(state),
            clock,
            work: Arc::default(),
            progress,
            upkeep: Arc::default(),
            on_standby: OnceLock::new(),
            #[cfg(all(unix, feature = "spool"))]
            generation_of: OnceLock::new(),
            on_wanted: Listener::default(),
        }
    }

    /// Has the task of a connection that others use, too, be told by `work`.
    pub(super) fn served_on(self, work: Arc<Notify>) -> Self {
        Self { work, ..self }
    }

    /// What of its events is told and skipped, as far as a session has no word for it.
    pub(super) fn set_options(&self, options: &PublisherOptions) {
        let mut state = self.lock();
        state.settled = options.report_settled.then(VecDeque::new);
        state.may_skip = options.quench.skips(options.level, options.min_receivers);
    }

    /// Has the spool in a folder remember in which generation its publisher holds its set.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn remember_generation(&self, folder: PathBuf, set: String) {
        // It is set once, before anything happens.
        let _ = self.generation_of.set((folder, set));
    }

    /// Sets who is told how the publisher stands in its set.
    pub(super) fn report_standby(&self, standby: Option<&StandbyOptions>) {
        if let Some(told) = standby.and_then(StandbyOptions::told) {
            // It is set once, before anything happens.
            let _ = self.on_standby.set(told);
        }
    }

    /// Tells how the publisher stands in its set.
    pub(super) fn tell_standby(&self, state: StandbyState) {
        // The file is written before anything is sent in this generation: a few microseconds.
        #[cfg(all(unix, feature = "spool"))]
        if let (Some((folder, set)), StandbyState::Active { generation }) = (self.generation_of.get(), state)
            && let Err(error) = standing::remember(folder, set, generation)
        {
            tracing::warn!("a spool cannot note the generation of its set: {error}");
        }
        if let Some(told) = self.on_standby.get() {
            told.tell(state);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the spool out, of a publisher that nobody uses any more.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn take_spool(&self) -> Option<SpoolStore<DiskStorage>> {
        let mut state = self.lock();
        let nothing = Holding::Memory(MemoryStore::new(state.session.next_seq(), 0, 0));
        match std::mem::replace(state.session.store_mut(), nothing) {
            Holding::Spool(store) => Some(*store),
            Holding::Memory(_) => None,
        }
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
    pub(super) fn publish(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<EventId, PublishError> {
        self.publish_then(tags, time_ns, payload, &[], |_, _| {})
    }

    /// Gives up the oldest segment of its spool.
    pub(super) fn shed_oldest(&self) -> Result<bool, PublishError> {
        #[cfg(all(unix, feature = "spool"))]
        {
            let mut state = self.lock();
            let Some(store) = state.session.store_mut().spool_mut() else { return Ok(false) };
            let made = store.make_room().map_err(|error| PublishError::Store { kind: error.kind })?;
            state.settle();
            drop(state);
            self.progress.notify_waiters();
            Ok(made)
        }
        #[cfg(not(all(unix, feature = "spool")))]
        Ok(false)
    }

    /// Queues an event whose outcome is wanted.
    pub(super) fn publish_confirmed(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
    ) -> Result<(EventId, oneshot::Receiver<Outcome>), PublishError> {
        let (sender, receiver) = oneshot::channel();
        let wait = |state: &mut State, seq| match seq {
            Some(seq) => drop(state.waiting.insert(seq, sender)),
            // Sending fails only if the application has dropped the future.
            None => drop(sender.send(Outcome::Confirmed { receivers: 0 })),
        };
        Ok((self.publish_then(tags, time_ns, payload, address, wait)?, receiver))
    }

    /// Queues or keeps an event with its number in the source.
    pub(super) fn publish_numbered(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        source_seq: u64,
    ) -> Result<Numbered, PublishError> {
        let mut state = self.lock();
        let numbered = state.session.publish_numbered(self.clock.now(), tags, time_ns, payload, source_seq);
        if matches!(numbered, Err(PublishError::WouldBlock)) {
            state.ask_for_room(PublishError::WouldBlock);
        }
        let wake = !state.woken && !matches!(numbered, Ok(Numbered::Kept | Numbered::PassedOver));
        state.woken |= wake;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        numbered
    }

    fn publish_then(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
        then: impl FnOnce(&mut State, Option<u64>),
    ) -> Result<EventId, PublishError> {
        let mut state = self.lock();
        if state.may_skip && address.is_empty() && state.session.skips(|| self.clock.now(), tags) {
            state.skipped += 1;
            then(&mut state, None);
            return Ok(EventId { publisher: state.session.key(), seq: state.session.next_seq() });
        }
        let was_empty = state.session.queued_bytes() == 0;
        // Only the oldest queued event's time counts, so the clock is read once per batch.
        let now = if was_empty { self.clock.now() } else { Time::ZERO };
        let seq = match state.session.publish_addressed(now, tags, time_ns, payload, address) {
            Ok(seq) => seq,
            Err(error) => {
                let asked = state.ask_for_room(error);
                let is_news = asked && !std::mem::replace(&mut state.waits_for_room, asked);
                drop(state);
                if asked {
                    self.work.notify_one();
                }
                if is_news {
                    self.upkeep.notify_one();
                }
                return Err(error);
            }
        };
        then(&mut state, Some(seq));
        if state.session.store().is_spacious() {
            // A spool may have given an event up for this one, or this one.
            state.settle();
            state.waits_for_room = false;
            if state.wants_upkeep() {
                self.upkeep.notify_one();
            }
        }
        if state.shard.is_none() {
            state.shard = Some(tags.shard());
        }
        let publisher = state.session.key();
        let wake = !state.woken && (was_empty || state.session.queued_bytes() >= state.flush_bytes);
        state.woken |= wake;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(EventId { publisher, seq })
    }
}

/// Events that a store holds from an earlier process.
pub(super) fn pending(holding: &Holding) -> u64 {
    holding.pending_in(holding.seqs()).iter().map(|part| part.end - part.start).sum()
}

impl State {
    /// Tells those who wait, counts, and reports what has ended.
    pub(super) fn settle(&mut self) {
        let key = self.session.key();
        self.received = self.received.max(self.session.received());
        while let Some(Ended { seqs, outcome }) = self.session.poll_ended() {
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
                    // Sending fails only if the application has dropped the future.
                    let _ = waiting.send(outcome.clone());
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

    /// Gives up what has waited longer than it may.
    pub(super) fn expire(&mut self) {
        if let Some(ttl) = self.ttl {
            let now_ns = wall_time_ns(SystemTime::now());
            self.session.expire_before(now_ns.saturating_sub(nanos(ttl)));
        }
    }

    /// Whether who looks after the spool is to be told that something waits for a sync.
    pub(super) fn wants_upkeep(&mut self) -> bool {
        #[cfg(all(unix, feature = "spool"))]
        if self.session.store().spool().is_some_and(|store| store.spool().wants_sync()) {
            return !std::mem::replace(&mut self.upkeep_told, true);
        }
        false
    }

    /// The seq below which its spool is on disk; without one, or without syncs, the highest.
    pub(super) fn synced(&self) -> u64 {
        #[cfg(all(unix, feature = "spool"))]
        if let Some(store) = self.session.store().spool()
            && store.spool().sync_policy() != SyncPolicy::Never
        {
            return store.spool().synced();
        }
        u64::MAX
    }

    /// Bytes of its spool's files.
    pub(super) fn spool_bytes(&self) -> u64 {
        #[cfg(all(unix, feature = "spool"))]
        return self.session.store().spool().map_or(0, |store| store.spool().bytes());
        #[cfg(not(all(unix, feature = "spool")))]
        0
    }

    /// What keeps events out of its spool.
    pub(super) fn spool_full(&self) -> Option<Full> {
        #[cfg(all(unix, feature = "spool"))]
        return self.session.store().spool().and_then(SpoolStore::full);
        #[cfg(not(all(unix, feature = "spool")))]
        None
    }

    /// Who looks after the spool looks now.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) const fn begin_upkeep(&mut self) {
        self.upkeep_told = false;
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
