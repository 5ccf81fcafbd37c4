//! Finds or opens the feed of a list of selectors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_client::{Bundle, Config, ReceiverOptions, Selector, SelectorError};
use millrace_proto::limits::SELECTORS_PER_RECEIVER_MAX;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::feed::{Feed, FeedEnded, FeedKey, Group, Stage};
use super::following::Following;
use super::mailbox::Mailbox;
use super::member::Member;
use super::place::Place;
use super::receivers::{Receivers, stand_by};

/// Why a subscription is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// A selector cannot be read.
    #[error("selector {text:?}, {source}")]
    Selector {
        /// The selector.
        text: String,
        /// What is wrong with it.
        source: SelectorError,
    },
    /// There is none.
    #[error("there is no selector: give at least one, `*` for everything")]
    None,
    /// There are too many.
    #[error("{count} selectors: a subscription has at most {SELECTORS_PER_RECEIVER_MAX}")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// Receivers of clients that have come back are as many as may be.
    #[error("{FOLLOWING_MAX} clients have come back and are replayed what they missed: try again later")]
    Busy,
}

/// Clients at a time that have a receiver of their own, because they have come back.
pub const FOLLOWING_MAX: usize = 4096;

/// All feeds of a program. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feeds {
    receivers: Receivers,
    open: Arc<Mutex<Open>>,
    /// Places for clients that come back.
    following: Arc<Semaphore>,
}

/// Feeds that are open, by what they are for.
type Open = HashMap<FeedKey, Arc<Feed>>;

impl Feeds {
    /// Feeds of these routers, none of which is open.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::of(Receivers::new(config))
    }

    /// As [`Feeds::new`], on the connection of a bundle of publishers, as long as that has room.
    #[must_use]
    pub fn beside(bundle: Arc<Bundle>, config: Config) -> Self {
        Self::of(Receivers::beside(bundle, config))
    }

    /// Has a connection before anybody joins, for as long as the task is not aborted.
    pub(super) fn stand_by(&self) -> JoinHandle<()> {
        tokio::spawn(stand_by(self.receivers.clone()))
    }

    fn of(receivers: Receivers) -> Self {
        Self { receivers, open: Arc::default(), following: Arc::new(Semaphore::new(FOLLOWING_MAX)) }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds that are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// From here on a mailbox gets the events that match any of the selectors, each once, under
    /// `subscription`, the client's own number. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`JoinError`] names the selector.
    pub fn join<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        subscription: u64,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Membership, JoinError> {
        let selectors = canonical(selectors)?;
        self.join_feed(FeedKey { selectors, group: None, has_places: false }, subscription, mailbox)
    }

    /// As [`Feeds::join`], for a client that may come back: where routers keep history, events have
    /// their [place](super::Arrival::place).
    ///
    /// # Errors
    /// [`JoinError`] names the selector.
    pub fn join_with_places<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        subscription: u64,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Membership, JoinError> {
        let selectors = canonical(selectors)?;
        self.join_feed(FeedKey { selectors, group: None, has_places: true }, subscription, mailbox)
    }

    /// A receiver for a client that comes back, and goes on behind its place.
    ///
    /// # Errors
    /// [`JoinError`] names the selector; [`JoinError::Busy`] when too many clients have come back.
    pub fn follow<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        place: Place,
    ) -> Result<Following, JoinError> {
        self.follow_with(selectors, place.options())
    }

    /// As [`Feeds::follow`], for a client whose receiver is to have these options.
    ///
    /// # Errors
    /// As [`Feeds::follow`].
    pub fn follow_with<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        options: ReceiverOptions,
    ) -> Result<Following, JoinError> {
        let selectors = canonical(selectors)?;
        let permit = self.following.clone().try_acquire_owned().map_err(|_| JoinError::Busy)?;
        Ok(Following::new(self.receivers.clone(), selectors, options, permit))
    }

    /// As [`Feeds::join`], as one of a group: the cluster gives each event to one member of it, and
    /// this gateway to one of its own readers in the group, in turns. An event counts as done when
    /// a reader's mailbox has it.
    ///
    /// # Errors
    /// [`JoinError`] names the selector.
    pub fn join_group<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        group: Group,
        subscription: u64,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Membership, JoinError> {
        let key = FeedKey { selectors: canonical(selectors)?, group: Some(group), has_places: false };
        self.join_feed(key, subscription, mailbox)
    }

    /// Makes a mailbox a member of a group of the cluster by itself: its letters have receipts, and
    /// what it has not done when it leaves, or within 30 s, another member gets.
    ///
    /// # Errors
    /// [`JoinError`] names the selector.
    pub fn join_as_member<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        group: &str,
        subscription: u64,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Member, JoinError> {
        let selectors = canonical(selectors)?;
        Ok(Member::join(self.receivers.clone(), selectors, group, subscription, mailbox.clone()))
    }

    fn join_feed(
        &self,
        key: FeedKey,
        subscription: u64,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Membership, JoinError> {
        let mut open = self.lock();
        let feed = match open.get(&key).map(|feed| (feed.clone(), feed.add(subscription, mailbox.clone()))) {
            Some((feed, Some(number))) => return Ok(Membership { feeds: self.clone(), feed, number }),
            _ => Arc::new(Feed::new(key.clone())),
        };
        let number = feed.add(subscription, mailbox.clone()).unwrap_or_default();
        open.insert(key, feed.clone());
        drop(open);
        tokio::spawn(self.clone().serve(feed.clone()));
        Ok(Membership { feeds: self.clone(), feed, number })
    }

    async fn serve(self, feed: Arc<Feed>) {
        feed.clone().run(self.receivers.clone()).await;
        self.forget(&feed);
    }

    /// Forgets a feed that is over, unless another one has taken its place.
    fn forget(&self, feed: &Arc<Feed>) {
        let mut open = self.lock();
        if open.get(&feed.key).is_some_and(|found| Arc::ptr_eq(found, feed)) {
            open.remove(&feed.key);
        }
    }
}

/// The canonical texts of selectors, sorted, each once.
fn canonical<S: AsRef<str>>(selectors: impl IntoIterator<Item = S>) -> Result<Arc<[String]>, JoinError> {
    let mut texts = Vec::new();
    for selector in selectors {
        let text = selector.as_ref();
        let parsed =
            Selector::parse(text).map_err(|source| JoinError::Selector { text: text.to_owned(), source })?;
        texts.push(parsed.text().to_owned());
    }
    texts.sort_unstable();
    texts.dedup();
    match texts.len() {
        0 => Err(JoinError::None),
        count if count > SELECTORS_PER_RECEIVER_MAX => Err(JoinError::TooMany { count }),
        _ => Ok(texts.into()),
    }
}

/// A reader's place at a feed. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Membership {
    feeds: Feeds,
    feed: Arc<Feed>,
    number: u64,
}

impl Membership {
    /// Waits until nothing that is published is missed.
    ///
    /// # Errors
    /// [`FeedEnded`]: the routers refuse it.
    pub async fn effective(&self) -> Result<(), FeedEnded> {
        let mut stage = self.feed.stage.subscribe();
        let reached = stage.wait_for(|stage| *stage != Stage::Asked).await;
        match reached.as_deref() {
            Ok(Stage::Ended(ended)) => Err(ended.clone()),
            // The sender is in the feed, which this membership holds.
            _ => Ok(()),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // Under the lock of the feeds, so that nobody joins a feed that is about to end.
        let open = self.feeds.lock();
        let is_last = self.feed.remove(self.number);
        drop(open);
        if is_last {
            self.feeds.forget(&self.feed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_of_selectors_have_one_name() {
        let one = canonical(["b = 2", "a in (x)"]).unwrap();
        let other = canonical(["a=x", "b=2", "a=x"]).unwrap();
        assert_eq!(one, other);
        assert_eq!(canonical::<&str>([]), Err(JoinError::None));
        let Err(JoinError::Selector { text, .. }) = canonical(["a=b", "&&"]) else { panic!("no error") };
        assert_eq!(text, "&&");
    }
}
