//! What a feed's task and the publisher's callers share: a session under a short lock.

use std::collections::{BTreeMap, VecDeque};
#[cfg(all(unix, feature = "spool"))]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use millrace_proto::Shard;
use millrace_proto::id::EventId;
use tokio::sync::Notify;

use super::confirmation::Waiter;
use super::holding::{Holding, ways};
use super::options::PublisherOptions;
use super::quench::Listener;
#[cfg(all(unix, feature = "spool"))]
use super::standing;
use super::standing::{StandbyOptions, Told};
use super::stats::{Lost, Settled, Unconfirmed};
use crate::clock::{Clock, nanos, wall_time_ns};
#[cfg(all(unix, feature = "spool"))]
use crate::session::publisher::MemoryStore;
use crate::session::publisher::{Full, Numbered, RecipientFate, StandbyState, Store, Ways};
use crate::session::{ConfirmLevel, Outcome, PublishError, PublisherConfig, Side, Tags};
#[cfg(all(unix, feature = "spool"))]
use crate::spool::{DiskStorage, SpoolStore, SyncPolicy};
use crate::time::Time;

/// What the task and the publisher's callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    /// Tells the task that there is something to do.
    work: Arc<Notify>,
    /// Tells that of the second way, where there is one.
    second_work: Option<Arc<Notify>>,
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
    pub(super) ways: Ways<Holding>,
    flush_bytes: usize,
    /// What chooses the core: a shard that was asked for, else that of the first event.
    pub(super) shard: Option<Shard>,
    /// The task of each way was told since it last looked.
    pub(super) woken: [bool; 2],
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
    pub(super) waiting: BTreeMap<u64, Waiter>,
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
        let is_redundant = config.redundant;
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
            ways: ways(config, holding),
            shard,
            woken: [false; 2],
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
            second_work: is_redundant.then(Arc::default),
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
        state.may_skip = options.skips();
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

    /// Tells the tasks that there is something to do.
    pub(super) fn wake(&self) {
        self.work.notify_one();
        if let Some(work) = &self.second_work {
            work.notify_one();
        }
    }

    /// What tells the task of a way.
    pub(super) fn work_of(&self, side: Side) -> Arc<Notify> {
        match (side, &self.second_work) {
            (Side::Second, Some(work)) => work.clone(),
            _ => self.work.clone(),
        }
    }

    /// Takes the spool out, of a publisher that nobody uses any more.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn take_spool(&self) -> Option<SpoolStore<DiskStorage>> {
        let mut state = self.lock();
        let nothing = Holding::Memory(MemoryStore::new(state.ways.next_seq(), 0, 0));
        match std::mem::replace(state.ways.first_mut().store_mut(), nothing) {
            Holding::Spool(store) => Some(*store),
            Holding::Memory(_) => None,
        }
    }

    /// Whether the publisher needs no connection any more.
    pub(super) fn is_done(&self) -> bool {
        let state = self.lock();
        match state.ending {
            Ending::Open => false,
            Ending::WhenFlushed => state.ways.is_flushed(),
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
            let Some(store) = state.ways.first_mut().store_mut().spool_mut() else { return Ok(false) };
            let made = store.make_room().map_err(|error| PublishError::Store { kind: error.kind })?;
            state.settle();
            drop(state);
            self.progress.notify_waiters();
            Ok(made)
        }
        #[cfg(not(all(unix, feature = "spool")))]
        Ok(false)
    }

    /// Queues an event whose outcome `waiter` wants.
    pub(super) fn publish_confirmed(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
        waiter: Waiter,
    ) -> Result<EventId, PublishError> {
        let wait = |state: &mut State, seq| match seq {
            Some(seq) => drop(state.waiting.insert(seq, waiter)),
            None => waiter.tell(&Outcome::Confirmed { receivers: 0 }),
        };
        self.publish_then(tags, time_ns, payload, address, wait)
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
        let session = state.ways.first_mut();
        let numbered = session.publish_numbered(self.clock.now(), tags, time_ns, payload, source_seq);
        if matches!(numbered, Err(PublishError::WouldBlock)) {
            state.ask_for_room(PublishError::WouldBlock);
        }
        let wake = !state.woken[0] && !matches!(numbered, Ok(Numbered::Kept | Numbered::PassedOver));
        state.woken[0] |= wake;
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
        if state.may_skip && address.is_empty() && state.ways.first_mut().skips(|| self.clock.now(), tags) {
            state.skipped += 1;
            then(&mut state, None);
            return Ok(EventId { publisher: state.ways.first().key(), seq: state.ways.next_seq() });
        }
        let were_empty = state.ways.are_empty();
        // Only the oldest queued event's time counts, so the clock is read once per batch.
        let now = if were_empty[0] || were_empty[1] { self.clock.now() } else { Time::ZERO };
        let seq = match state.ways.publish_addressed(now, tags, time_ns, payload, address) {
            Ok(seq) => seq,
            Err(error) => {
                let asked = state.ask_for_room(error);
                let is_news = asked && !std::mem::replace(&mut state.waits_for_room, asked);
                drop(state);
                if asked {
                    self.wake();
                }
                if is_news {
                    self.upkeep.notify_one();
                }
                return Err(error);
            }
        };
        then(&mut state, Some(seq));
        if state.ways.first().store().is_spacious() {
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
        let publisher = state.ways.first().key();
        let wake = state.tasks_to_wake(were_empty);
        drop(state);
        if wake[0] {
            self.work.notify_one();
        }
        if wake[1]
            && let Some(work) = &self.second_work
        {
            work.notify_one();
        }
        Ok(EventId { publisher, seq })
    }
}

/// Events that a store holds from an earlier process.
pub(super) fn pending(holding: &Holding) -> u64 {
    holding.pending_in(holding.seqs()).iter().map(|part| part.end - part.start).sum()
}

impl State {
    /// Which tasks are to be told of an event that was just queued, where `were_empty` queues had
    /// none before.
    #[inline]
    fn tasks_to_wake(&mut self, were_empty: [bool; 2]) -> [bool; 2] {
        let wakes = |side: Side| {
            let is_due = were_empty[side as usize] || self.ways.way(side).queued_bytes() >= self.flush_bytes;
            is_due && !self.woken[side as usize]
        };
        let wake = [wakes(Side::First), self.ways.is_redundant() && wakes(Side::Second)];
        self.woken[0] |= wake[0];
        self.woken[1] |= wake[1];
        wake
    }

    /// Gives up what has waited longer than it may.
    pub(super) fn expire(&mut self) {
        if let Some(ttl) = self.ttl {
            let now_ns = wall_time_ns(SystemTime::now());
            self.ways.expire_before(now_ns.saturating_sub(nanos(ttl)));
        }
    }

    /// Whether who looks after the spool is to be told that something waits for a sync.
    pub(super) fn wants_upkeep(&mut self) -> bool {
        #[cfg(all(unix, feature = "spool"))]
        if self.ways.first().store().spool().is_some_and(|store| store.spool().wants_sync()) {
            return !std::mem::replace(&mut self.upkeep_told, true);
        }
        false
    }

    /// The seq below which its spool is on disk; without one, or without syncs, the highest.
    pub(super) fn synced(&self) -> u64 {
        #[cfg(all(unix, feature = "spool"))]
        if let Some(store) = self.ways.first().store().spool()
            && store.spool().sync_policy() != SyncPolicy::Never
        {
            return store.spool().synced();
        }
        u64::MAX
    }

    /// Bytes of its spool's files.
    pub(super) fn spool_bytes(&self) -> u64 {
        #[cfg(all(unix, feature = "spool"))]
        return self.ways.first().store().spool().map_or(0, |store| store.spool().bytes());
        #[cfg(not(all(unix, feature = "spool")))]
        0
    }

    /// What keeps events out of its spool.
    pub(super) fn spool_full(&self) -> Option<Full> {
        #[cfg(all(unix, feature = "spool"))]
        return self.ways.first().store().spool().and_then(SpoolStore::full);
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
        let asks = error == PublishError::WouldBlock && self.ways.first().resends();
        if asks {
            self.ways.flush();
            self.ways.report();
        }
        asks
    }
}
