//! One receiver, and the local clients that read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::receiver::BatchItem;
use millrace_client::{Batch, ReceiverOptions, RefusedReason, SubscribeError, Subscription};
use tokio::sync::{Notify, watch};

use super::arrival::Arrival;
use super::mailbox::{Delivery, Letter, Mailbox};
use super::place::Trail;
use super::receivers::Receivers;

/// How far a feed has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Asked for.
    Asked,
    /// Effective in the cluster: nothing published from here on is missed.
    Effective,
    /// Over: the routers refuse it.
    Ended(FeedEnded),
}

/// Why a feed is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FeedEnded(pub Arc<str>);

/// What a feed is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FeedKey {
    /// Its selectors in canonical form, sorted.
    pub(super) selectors: Arc<[String]>,
    /// Its readers share the events of a group: each is for one of them.
    pub(super) group: Option<Group>,
    /// Its readers are told where events stand.
    pub(super) has_places: bool,
}

/// A group of the cluster, of which a feed is one member.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group's name, at most 64 bytes.
    pub name: Arc<str>,
    /// Which readers share a feed: those who ask in the same words.
    pub readers: Arc<str>,
}

/// A receiver's readers, and how far it has come.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) key: FeedKey,
    pub(super) stage: watch::Sender<Stage>,
    readers: Mutex<Readers>,
    /// The last reader is gone.
    abandoned: Notify,
}

#[derive(Debug, Default)]
struct Readers {
    list: Vec<Reader>,
    next: u64,
    /// Whose turn it is in a group.
    turn: usize,
    is_over: bool,
}

#[derive(Debug)]
struct Reader {
    number: u64,
    subscription: u64,
    mailbox: Arc<Mailbox>,
}

impl Readers {
    /// The member whose turn it is, if there is one.
    fn member(&mut self) -> &[Reader] {
        let count = self.list.len();
        if count == 0 {
            return &[];
        }
        self.turn = (self.turn + 1) % count;
        &self.list[self.turn..=self.turn]
    }
}

impl Feed {
    pub(super) fn new(key: FeedKey) -> Self {
        Self {
            key,
            stage: watch::Sender::new(Stage::Asked),
            readers: Mutex::default(),
            abandoned: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a reader; `None` when the feed is over.
    pub(super) fn add(&self, subscription: u64, mailbox: Arc<Mailbox>) -> Option<u64> {
        let mut readers = self.lock();
        if readers.is_over {
            return None;
        }
        let number = readers.next;
        readers.next += 1;
        readers.list.push(Reader { number, subscription, mailbox });
        Some(number)
    }

    /// Removes a reader. Returns whether it was the last one: the feed is over then.
    pub(super) fn remove(&self, number: u64) -> bool {
        let mut readers = self.lock();
        // Numbers rise along the list.
        if let Ok(place) = readers.list.binary_search_by_key(&number, |reader| reader.number) {
            readers.list.remove(place);
        }
        let is_last = readers.list.is_empty() && !readers.is_over;
        if is_last {
            readers.is_over = true;
            self.abandoned.notify_one();
        }
        is_last
    }

    /// Hands a batch to all readers, or each event to one member of a group. `trail` says where
    /// events stand.
    fn hand_out(&self, batch: &Batch, mut trail: Option<Trail>) {
        let mut deliveries = Vec::with_capacity(batch.len());
        for (entry, item) in batch.iter().enumerate() {
            let place = trail.as_mut().and_then(|trail| trail.pass(batch, entry));
            deliveries.push(match item {
                BatchItem::Event(event) => Delivery::Event(Arc::new(Arrival::placed(&event, place))),
                BatchItem::Gap(gap) => Delivery::Gap(gap.clone()),
                // One that this version of the client library does not know.
                _ => continue,
            });
        }
        let letter = |subscription, delivery| Letter { subscription, delivery, receipt: None };
        let mut readers = self.lock();
        if self.key.group.is_none() {
            // The last one takes what the others have copies of.
            let Some((last, others)) = readers.list.split_last() else { return };
            for reader in others {
                let copies = deliveries.iter().map(|delivery| letter(reader.subscription, delivery.clone()));
                reader.mailbox.push_all(copies);
            }
            let letters = deliveries.into_iter().map(|delivery| letter(last.subscription, delivery));
            return last.mailbox.push_all(letters);
        }
        for delivery in deliveries {
            let is_for_one = matches!(delivery, Delivery::Event(_));
            let taking = if is_for_one { readers.member() } else { &readers.list };
            for reader in taking {
                reader.mailbox.push(letter(reader.subscription, delivery.clone()));
            }
        }
    }

    /// Ends the feed and the mailboxes of its readers.
    fn end(&self, why: &str) {
        let mut readers = self.lock();
        readers.is_over = true;
        for reader in readers.list.drain(..) {
            reader.mailbox.end(why);
        }
        drop(readers);
        self.stage.send_replace(Stage::Ended(FeedEnded(why.into())));
    }

    /// Serves the feed until its last reader is gone or a router refuses it.
    pub(super) async fn run(self: Arc<Self>, receivers: Receivers) {
        let served = tokio::select! {
            served = self.serve(&receivers) => served,
            () = self.abandoned.notified() => return,
        };
        let Err(error) = served;
        tracing::info!(selectors = ?self.key.selectors, error, "a feed has ended");
        self.end(&error);
    }

    /// Reads a receiver for as long as there is one. Returns why there is none.
    async fn serve(&self, receivers: &Receivers) -> Result<std::convert::Infallible, String> {
        // Local clients drop their own oldest, so a router is to do the same for the gateway.
        let mut options = ReceiverOptions::default();
        if let Some(group) = &self.key.group {
            options = options.group(&*group.name);
        }
        if self.key.has_places {
            // Positions of all owners are known from here on, and what is missed between two
            // connections is replayed.
            let placed = options.clone().since(Duration::ZERO);
            match self.read(receivers, &placed).await {
                Err(Over::NoHistory) => {}
                Err(Over::For(why)) => return Err(why),
            }
        }
        match self.read(receivers, &options).await {
            Err(Over::NoHistory) => Err("the routers keep no history".to_owned()),
            Err(Over::For(why)) => Err(why),
        }
    }

    async fn read(
        &self,
        receivers: &Receivers,
        options: &ReceiverOptions,
    ) -> Result<std::convert::Infallible, Over> {
        let over = |error: SubscribeError| match error {
            SubscribeError::Refused { reason: RefusedReason::History, .. } => Over::NoHistory,
            error => Over::For(error.to_string()),
        };
        let mut receiver = receivers.open_when_possible(options).await.map_err(Over::For)?;
        let mut subscription = receiver.subscribe(self.key.selectors.iter()).map_err(over)?;
        loop {
            let cursor = self.key.has_places.then(|| receiver.cursor());
            tokio::select! {
                batch = receiver.next_batch() => match batch {
                    Some(batch) => self.hand_out(&batch, cursor.map(Trail::behind)),
                    None => {
                        let refused = receiver.refused().map(|refused| refused.to_string());
                        return Err(Over::For(refused.unwrap_or_else(|| "the receiver has ended".to_owned())));
                    }
                },
                effective = effective(&self.stage, &mut subscription, &self.key.selectors) => {
                    effective.map_err(over)?;
                }
            }
        }
    }
}

/// Why a receiver is over.
enum Over {
    /// The routers do not keep what it asks for.
    NoHistory,
    /// Any other reason, for people.
    For(String),
}

/// Waits until the subscription of a receiver is effective, once; then for ever.
pub(super) async fn effective(
    stage: &watch::Sender<Stage>,
    subscription: &mut Subscription,
    selectors: &[String],
) -> Result<(), SubscribeError> {
    if *stage.borrow() == Stage::Effective {
        return std::future::pending().await;
    }
    let coverage = subscription.in_cluster().await?;
    if !coverage.is_whole() {
        tracing::warn!(?selectors, left_out = ?coverage.left_out, "not every router knows a feed");
    }
    stage.send_replace(Stage::Effective);
    Ok(())
}
