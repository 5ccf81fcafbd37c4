//! A publisher as the application uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use millrace_proto::data::optional::Addressed;
use millrace_proto::id::EventId;
use millrace_proto::{PublisherKey, TagSet};
use tokio::sync::Notify;

use super::address;
use super::confirmation::{Confirmation, Hears, Waiter};
use super::feed::Feed;
use super::quench::OnWanted;
use super::stats::{Lost, PublisherStats, Settled, Unconfirmed};
use crate::clock::wall_time_ns;
use crate::event::ReplyTo;
use crate::session::publisher::{Full, HandlesExhausted, Numbered, RecipientFate, StandbyState};
use crate::session::{ConfirmLevel, PublishError, TagHandle, Tags};
use crate::spool::Opened;

/// Bytes of a reply's address, at most.
const REPLY_ADDRESS_BYTES: usize = 32;
/// Replies have no tags.
static NO_TAGS: LazyLock<TagSet> =
    LazyLock::new(|| TagSet::from_texts::<&str>([]).expect("a set without tags is one"));

/// Publishes events. All methods take `&self`: share it in an [`Arc`] among tasks.
///
/// Dropping a publisher discards what is queued; [`Publisher::close`] does not.
#[derive(Debug)]
pub struct Publisher {
    /// One per connection; an event belongs to the one at its shard modulo their number.
    feeds: Vec<Feed>,
    progress: Arc<Notify>,
    /// What the start of its spool found, where it has one.
    opened: Option<Opened>,
}

impl Publisher {
    pub(super) const fn new(feeds: Vec<Feed>, progress: Arc<Notify>) -> Self {
        Self { feeds, progress, opened: None }
    }

    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn spooled(feed: Feed, opened: Opened, progress: Arc<Notify>) -> Self {
        Self { feeds: vec![feed], progress, opened: Some(opened) }
    }

    /// Who publishes: the constant part of its events' ids. The first of [`Publisher::keys`]. With
    /// a spool and a certificate it is known once a router was reached, because the id follows from
    /// what that takes the client for.
    #[must_use]
    pub fn key(&self) -> PublisherKey {
        self.feeds[0].key()
    }

    /// What it is told about its events.
    #[must_use]
    pub fn level(&self) -> ConfirmLevel {
        self.feeds[0].shared.lock().level
    }

    /// Who publishes, one for each connection: seqs are gapless for each of them.
    pub fn keys(&self) -> impl Iterator<Item = PublisherKey> {
        self.feeds.iter().map(Feed::key)
    }

    /// Gives a tag set a handle: publishing with it is cheaper than by value.
    ///
    /// # Errors
    /// [`HandlesExhausted`].
    pub fn register(&self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        self.feed(Tags::Set(tags)).shared.lock().ways.register(tags)
    }

    /// Whether somebody in the cluster may want events of these tags. Wrong for as long as news
    /// takes: with `false`, a subscription may be on its way.
    #[must_use]
    pub fn wanted<'t>(&self, tags: impl Into<Tags<'t>>) -> bool {
        let tags = tags.into();
        self.feed(tags).shared.lock().ways.first().is_wanted(tags)
    }

    /// Has `on_wanted` called when nobody wants a tag set any more (`false`), and when somebody may
    /// (`true`): before the subscription that wants it is effective in the cluster. It replaces the
    /// one before, is called on the task of a connection, and must not wait.
    pub fn on_wanted(&self, on_wanted: impl Fn(&TagSet, bool) + Send + Sync + 'static) {
        let on_wanted: Arc<OnWanted> = Arc::new(on_wanted);
        self.feeds.iter().for_each(|feed| feed.shared.on_wanted.set(on_wanted.clone()));
    }

    /// Publishes an event that happens now; waits while the queue is full. Returns its id; an event
    /// that is skipped because nobody wants it ([`Quench`](super::Quench)) leaves its id to the
    /// next one.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        self.publish_at(tags, SystemTime::now(), payload).await
    }

    /// Publishes an event that happened at `time` (before 1970: in 1970); waits while the queue is
    /// full.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish_at<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        time: SystemTime,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        let (tags, time_ns, payload) = (tags.into(), wall_time_ns(time), payload.as_ref());
        let feed = self.feed(tags);
        self.when_it_fits(|| feed.publish(tags, time_ns, payload)).await
    }

    /// Publishes an event that happens now, for a publisher with a confirm level
    /// ([`PublisherOptions::level`](super::PublisherOptions::level)); waits while the queue is
    /// full, and returns a future of what becomes of the event. Publish many, then wait for
    /// them: each takes a round trip at least.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish_confirmed<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        payload: impl AsRef<[u8]>,
    ) -> Result<Confirmation, PublishError> {
        let (tags, payload) = (tags.into(), payload.as_ref());
        let (feed, time_ns) = (self.feed(tags), wall_time_ns(SystemTime::now()));
        self.when_it_fits(|| feed.publish_confirmed(tags, time_ns, payload, &[])).await
    }

    /// Publishes an event for the receivers of these names, 1 to 16 of them, and for nobody else;
    /// waits while the queue is full, and returns a future of what becomes of it at each
    /// ([`Outcome::AtRecipients`](crate::Outcome::AtRecipients)). Its tags say what it is about,
    /// and choose nobody. It takes a confirm level: *routed* for the recipients' queues,
    /// *delivered* for their applications.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish_to<'t, S: AsRef<str>>(
        &self,
        tags: impl Into<Tags<'t>>,
        recipients: impl IntoIterator<Item = S>,
        payload: impl AsRef<[u8]>,
    ) -> Result<Confirmation, PublishError> {
        let recipients: Vec<S> = recipients.into_iter().collect();
        let to = address::names(&recipients)?;
        let mut address = Vec::new();
        Addressed { to, ..Addressed::default() }.put(&mut address);
        self.publish_addressed(tags.into(), payload.as_ref(), &address).await
    }

    /// Replies to a request, with an event without tags; waits while the queue is full, and returns
    /// a future of whether the reply has reached who asked:
    /// [`Outcome::is_requester_gone`](crate::Outcome::is_requester_gone) says that nobody waits for
    /// it. It takes a confirm level, of which *routed* is enough.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn reply(
        &self,
        request: &ReplyTo,
        payload: impl AsRef<[u8]>,
    ) -> Result<Confirmation, PublishError> {
        let (answers, mut address) = (Some(request.token), Vec::with_capacity(REPLY_ADDRESS_BYTES));
        Addressed { answers, ..Addressed::default() }.put(&mut address);
        self.publish_addressed(Tags::Set(&NO_TAGS), payload.as_ref(), &address).await
    }

    /// Publishes an event with an address, encoded as a hop field.
    pub(crate) async fn publish_addressed(
        &self,
        tags: Tags<'_>,
        payload: &[u8],
        address: &[u8],
    ) -> Result<Confirmation, PublishError> {
        let (feed, time_ns) = (self.feed(tags), wall_time_ns(SystemTime::now()));
        self.when_it_fits(|| feed.publish_confirmed(tags, time_ns, payload, address)).await
    }

    /// As [`Publisher::publish_addressed`], and `hearer` hears the outcome.
    pub(crate) async fn publish_heard(
        &self,
        tags: Tags<'_>,
        payload: &[u8],
        address: &[u8],
        hearer: &Arc<impl Hears + 'static>,
    ) -> Result<EventId, PublishError> {
        let (feed, time_ns) = (self.feed(tags), wall_time_ns(SystemTime::now()));
        let publish = || feed.publish_heard(tags, time_ns, payload, address, Waiter::Hearer(hearer.clone()));
        self.when_it_fits(publish).await
    }

    /// Publishes an event that happens now, with its number in the source, for a member of a
    /// standby set ([`PublisherOptions::standby`](super::PublisherOptions::standby)); waits while
    /// the queue is full, and while this member is ahead of the one that publishes by all that it
    /// may keep. All members number the events of their source alike, and numbers rise.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish_numbered<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        source_seq: u64,
        payload: impl AsRef<[u8]>,
    ) -> Result<Numbered, PublishError> {
        let (tags, payload, time_ns) = (tags.into(), payload.as_ref(), wall_time_ns(SystemTime::now()));
        let shared = &self.feed(tags).shared;
        self.when_it_fits(|| shared.publish_numbered(tags, time_ns, payload, source_seq)).await
    }

    /// How it stands in its standby set; none for a publisher without one.
    #[must_use]
    pub fn standby(&self) -> Option<StandbyState> {
        self.feeds[0].shared.lock().ways.first().standby()
    }

    /// Whether an event of the first connection has no outcome yet.
    pub(crate) fn is_pending(&self, seq: u64) -> bool {
        self.feeds[0].shared.lock().ways.is_pending(seq)
    }

    /// How many events ended how at each recipient that they named, as far as it is known; the
    /// first 1,024 recipients are counted.
    #[must_use]
    pub fn at_recipients(&self) -> BTreeMap<String, BTreeMap<RecipientFate, u64>> {
        let mut sum: BTreeMap<String, BTreeMap<RecipientFate, u64>> = BTreeMap::new();
        for feed in &self.feeds {
            for (name, fates) in &feed.shared.lock().at_recipients {
                let counts = sum.entry(name.clone()).or_default();
                fates.iter().for_each(|(&fate, events)| *counts.entry(fate).or_default() += events);
            }
        }
        sum
    }

    /// Publishes an event that happened at `time` (before 1970: in 1970), if the queue has room,
    /// and returns a future of what becomes of it, as [`Publisher::publish_confirmed`].
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    pub fn try_publish_confirmed_at<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        time: SystemTime,
        payload: impl AsRef<[u8]>,
    ) -> Result<Confirmation, PublishError> {
        let tags = tags.into();
        self.feed(tags).publish_confirmed(tags, wall_time_ns(time), payload.as_ref(), &[])
    }

    /// Publishes an event that happens now, if the queue has room.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    pub fn try_publish<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        self.try_publish_at(tags, SystemTime::now(), payload)
    }

    /// Publishes an event that happened at `time` (before 1970: in 1970), if the queue has room.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    pub fn try_publish_at<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        time: SystemTime,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        let tags = tags.into();
        self.feed(tags).publish(tags, wall_time_ns(time), payload.as_ref())
    }

    /// Sends what is queued and waits until every event published so far has its outcome or,
    /// without a confirm level, until a router has received it, or the loss of those on their
    /// way was reported. Waits through reconnects, for as long as no router can be reached: bound
    /// it with a timeout if that is too long.
    pub async fn flush(&self) {
        let ends: Vec<(&Feed, u64)> = self.feeds.iter().map(|feed| (feed, feed.flush())).collect();
        let received = |(feed, end): &(&Feed, u64)| {
            let ways = &feed.shared.lock().ways;
            ways.settled() >= *end && !ways.first().is_about_to_publish()
        };
        self.wait(|| ends.iter().all(received).then_some(())).await;
    }

    /// What its spool found when it was opened: what is lost, and what is in doubt. `None` without
    /// a spool.
    #[must_use]
    pub const fn spool_opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// What keeps events out of its spool now, while it waits for room.
    #[must_use]
    pub fn spool_full(&self) -> Option<Full> {
        self.feeds.iter().find_map(|feed| feed.shared.lock().spool_full())
    }

    /// Waits until everything published so far is safe from a power loss, as far as the disk keeps
    /// its word; at once without a spool, or with one that is never synced. While the disk fails it
    /// waits on: bound it with a timeout.
    pub async fn synced(&self) {
        let ends: Vec<(&Feed, u64)> = self.feeds.iter().map(|feed| (feed, feed.want_sync())).collect();
        let is_synced = |(feed, end): &(&Feed, u64)| feed.shared.lock().synced() >= *end;
        self.wait(|| ends.iter().all(is_synced).then_some(())).await;
    }

    /// Bytes of its spool's files; 0 without a spool.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.feeds.iter().map(|feed| feed.shared.lock().spool_bytes()).sum()
    }

    /// Gives up the oldest segment of its spool, for what shares its
    /// [`Quota`](crate::spool::Quota). False when there is none. Blocks for a sync.
    ///
    /// # Errors
    /// [`PublishError::Store`]: the disk fails.
    pub fn shed_oldest(&self) -> Result<bool, PublishError> {
        self.feeds[0].shared.shed_oldest()
    }

    /// Closes the connection now, in order. What is pending stays in the spool, and is counted in
    /// [`PublisherStats::pending`]; without a spool it is discarded.
    pub async fn stop(mut self) -> PublisherStats {
        self.feeds.iter().for_each(Feed::end_now);
        self.end().await
    }

    /// Flushes, then closes the connections in order. With a spool, too, it waits for a router that
    /// takes what is pending: [`Publisher::stop`] does not.
    pub async fn close(mut self) -> PublisherStats {
        self.flush().await;
        self.feeds.iter().for_each(Feed::end);
        self.end().await
    }

    async fn end(&mut self) -> PublisherStats {
        for feed in &mut self.feeds {
            feed.ended().await;
        }
        let stats = self.stats();
        for feed in &mut self.feeds {
            feed.close_spool().await;
        }
        stats
    }

    /// The next report of events whose fate is unknown. May be dropped at any time.
    pub async fn lost(&self) -> Lost {
        self.wait(|| self.try_lost()).await
    }

    /// The next report of events whose fate is unknown, if there is one.
    #[must_use]
    pub fn try_lost(&self) -> Option<Lost> {
        self.feeds.iter().find_map(|feed| feed.shared.lock().lost.pop_front())
    }

    /// The next report of events that have ended and are not confirmed. May be dropped at any time.
    pub async fn unconfirmed(&self) -> Unconfirmed {
        self.wait(|| self.try_unconfirmed()).await
    }

    /// The next report of events that have ended and are not confirmed, if there is one.
    #[must_use]
    pub fn try_unconfirmed(&self) -> Option<Unconfirmed> {
        self.feeds.iter().find_map(|feed| feed.shared.lock().unconfirmed.pop_front())
    }

    /// The next report of events that have ended, confirmed or not, if there is one
    /// ([`PublisherOptions::report_settled`](field@super::PublisherOptions::report_settled)).
    #[must_use]
    pub fn try_settled(&self) -> Option<Settled> {
        self.feeds.iter().find_map(|feed| feed.shared.lock().settled.as_mut()?.pop_front())
    }

    /// As [`Publisher::try_settled`], and waits for one: for ever, where they are not asked for.
    /// May be dropped at any time.
    pub async fn settled(&self) -> Settled {
        self.wait(|| self.try_settled()).await
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        self.feeds.iter().map(Feed::stats).fold(PublisherStats::default(), |sum, one| PublisherStats {
            published: sum.published + one.published,
            found: sum.found + one.found,
            received: sum.received + one.received,
            unknown: sum.unknown + one.unknown,
            confirmed: sum.confirmed + one.confirmed,
            partial: sum.partial + one.partial,
            dropped: sum.dropped + one.dropped,
            shed: sum.shed + one.shed,
            expired: sum.expired + one.expired,
            unreadable: sum.unreadable + one.unreadable,
            fenced: sum.fenced + one.fenced,
            kept: sum.kept + one.kept,
            passed_over: sum.passed_over + one.passed_over,
            pending: sum.pending + one.pending,
            skipped: sum.skipped + one.skipped,
            by_one: sum.by_one + one.by_one,
            connections: sum.connections + one.connections,
        })
    }

    /// The feed of an event.
    #[inline]
    fn feed(&self, tags: Tags<'_>) -> &Feed {
        match &self.feeds[..] {
            [only] => only,
            feeds => &feeds[usize::from(tags.shard().number()) % feeds.len()],
        }
    }

    /// Publishes, and tries again whenever the queue may have room.
    async fn when_it_fits<T>(
        &self,
        mut publish: impl FnMut() -> Result<T, PublishError>,
    ) -> Result<T, PublishError> {
        match publish() {
            Err(PublishError::WouldBlock) => {
                self.wait(|| match publish() {
                    Err(PublishError::WouldBlock) => None,
                    outcome => Some(outcome),
                })
                .await
            }
            outcome => outcome,
        }
    }

    /// Waits until `ready` gives something.
    async fn wait<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if let Some(value) = ready() {
                return value;
            }
            progress.await;
        }
    }
}
