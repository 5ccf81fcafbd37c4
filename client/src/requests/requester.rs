//! Who asks: a publisher of requests, and a receiver for the replies to them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_proto::TagSet;
use millrace_proto::limits::REQUEST_DEADLINE_US_MAX;
use millrace_proto::selector::Claim;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::asking::{Asking, Waiting, locked};
use super::open::{Open, Refused};
use super::options::Request;
use super::replies::Replies;
use crate::connector::Connector;
use crate::error::ConnectError;
use crate::event::{GapReason, Item};
use crate::publisher::{Publisher, PublisherOptions, join_hub, names};
use crate::receiver::{Receiver, ReceiverOptions, connect_with_publisher};
use crate::session::{ConfirmLevel, PublishError, Tags};

/// Replies have a subscription of this name, which no event matches, so that the loss of a
/// connection is told.
const NOBODY: &str = "nobody";
/// Bytes of the address of a request without names, at most.
const ADDRESS_BYTES: usize = 32;

/// Why a request is not asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No router could be reached, or none that knows requests.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The event that asks was not taken.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The requester has ended: a router refused it, for this reason.
    #[error("the requester has ended: {0}")]
    Ended(Arc<str>),
    /// Too many requests wait for replies.
    #[error("too many requests wait for replies: wait for some of them, or use another requester")]
    TooMany,
    /// A request without time, or with more than an hour.
    #[error("a request has a time of at most an hour, and more than none")]
    Timeout,
}

/// Asks, and gets the replies. All methods take `&self`: share it in an [`Arc`] among tasks. Made
/// by [`Client::requester`](crate::Client::requester).
#[derive(Debug)]
pub struct Requester {
    publisher: Arc<Publisher>,
    open: Arc<Open>,
    tasks: [JoinHandle<()>; 2],
}

/// Connects a requester.
pub(crate) async fn connect(connector: Connector) -> Result<Requester, ConnectError> {
    let options = PublisherOptions::default().level(ConfirmLevel::Routed).linger(Duration::ZERO);
    let receiving = ReceiverOptions::default();
    let (receiver, hub, proof) =
        connect_with_publisher(connector.clone(), receiving, &options.wants()).await?;
    if let Ok(selector) = Claim::selector(NOBODY) {
        receiver.subscribe([selector])?;
    }
    let publisher = Arc::new(join_hub(&connector, &hub, &proof, &options));
    let open = Arc::new(Open::default());
    let reads = tokio::spawn(read(receiver, publisher.clone(), open.clone()));
    let watched = open.clone();
    let watches = tokio::spawn(async move { watched.watch().await });
    Ok(Requester { publisher, open, tasks: [reads, watches] })
}

impl Requester {
    /// Asks: publishes an event with these tags, whose receivers may reply. Returns at once with
    /// what will hold the replies.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn request(
        &self,
        tags: &TagSet,
        payload: impl AsRef<[u8]>,
        request: Request,
    ) -> Result<Replies, AskError> {
        let Request { replies: wanted, timeout, to } = request;
        if timeout.is_zero() || timeout.as_micros() > u128::from(REQUEST_DEADLINE_US_MAX) {
            return Err(AskError::Timeout);
        }
        if !to.is_empty() {
            names(&to)?;
        }
        let (now, payload) = (Instant::now(), payload.as_ref());
        let asking = Asking {
            tags: tags.clone(),
            payload: payload.into(),
            to,
            deadline: now + timeout,
            seq: u64::MAX,
            missed: None,
            replies: Waiting::new(wanted),
            wanted: wanted.at_router(),
        };
        let mut address = Vec::with_capacity(ADDRESS_BYTES);
        let (number, asking, losses) = self.open.add(asking).map_err(|refused| match refused {
            Refused::TooMany => AskError::TooMany,
            Refused::Ended(why) => AskError::Ended(why),
        })?;
        let replies = Replies {
            open: self.open.clone(),
            number,
            asking,
            wanted,
            receivers: None,
            recipients: Vec::new(),
            from: None,
            from_others: BTreeSet::new(),
            replies: 0,
            end: None,
        };
        let asking = &replies.asking;
        locked(asking).addressed(number, now).put(&mut address);
        let id = self.publisher.publish_heard(Tags::Set(tags), payload, &address, asking).await?;
        locked(asking).seq = id.seq;
        // Who asks again what was lost may not have known of this one yet.
        if self.open.losses() != losses && !self.publisher.is_pending(id.seq) {
            address.clear();
            locked(asking).addressed(number, Instant::now()).put(&mut address);
            let id = self.publisher.publish_heard(Tags::Set(tags), payload, &address, asking).await?;
            locked(asking).seq = id.seq;
        }
        Ok(replies)
    }

    /// What has been asked so far, as its publisher counts.
    #[must_use]
    pub fn stats(&self) -> crate::PublisherStats {
        self.publisher.stats()
    }
}

impl Drop for Requester {
    /// What waits for replies ends: none come any more.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.open.end("it was dropped");
    }
}

/// Publishes a request again. Nobody waits for its outcome: that of the first time says how many
/// receivers there are.
async fn ask(publisher: &Publisher, number: u32, asking: &Mutex<Asking>) -> Result<(), PublishError> {
    let (tags, payload, address) = {
        let asking = locked(asking);
        let mut address = Vec::new();
        asking.addressed(number, Instant::now()).put(&mut address);
        (asking.tags.clone(), asking.payload.clone(), address)
    };
    let confirmation = publisher.publish_addressed(Tags::Set(&tags), &payload, &address).await?;
    locked(asking).seq = confirmation.id().seq;
    Ok(())
}

/// Passes replies on until the requester is gone; asks again behind a lost connection, and notes
/// where replies may have been lost.
async fn read(mut receiver: Receiver, publisher: Arc<Publisher>, open: Arc<Open>) {
    while let Some(item) = receiver.next().await {
        match item {
            Item::Event(event) => {
                if let Some(number) = event.answers {
                    open.reply(number, event);
                }
            }
            Item::Gap(gap) if gap.reason == GapReason::SessionLost => ask_again(&publisher, &open).await,
            Item::Gap(gap) => open.missed(gap.reason),
        }
    }
    // A receiver ends by itself when a router refuses it, and does not come back.
    let why =
        receiver.refused().map_or_else(|| "its connection was closed".to_owned(), |why| why.to_string());
    open.end(&why);
}

/// Asks again what is open. What has no outcome goes out again by itself.
async fn ask_again(publisher: &Publisher, open: &Open) {
    for (number, asking) in open.lost() {
        let (is_over, seq) = {
            let asking = locked(&asking);
            (asking.deadline <= Instant::now(), asking.seq)
        };
        if !is_over && seq != u64::MAX && !publisher.is_pending(seq) {
            // It is not taken again where the publisher has ended: its time will be over.
            let _ = ask(publisher, number, &asking).await;
        }
    }
}
