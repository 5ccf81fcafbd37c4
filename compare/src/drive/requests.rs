//! Requests and replies through the public client library, on one thread of tokio: one asks, one
//! answers with what it was asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_client::{
    Client, ConfirmLevel, Connections, Item, PublisherOptions, ReceiverConnection, ReceiverOptions, Replies,
    Request, Requester, TagSet,
};

use super::error::{DriveError, SETUP_MAX};
use super::events::{EVERYTHING, RECEIVER_QUEUE_BYTES, tags};
use super::library::{self, client, lock, peer};
use super::link::Link;
use crate::load::{Load, Shape};
use crate::server::Server;

/// How long a reply may take: longer than a machine that does something else.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Requests that are asked before replies are looked at.
const AT_ONCE: u64 = 64;

/// The link.
#[derive(Debug)]
pub(crate) struct RequestLink {
    runtime: tokio::runtime::Runtime,
    load: Arc<Mutex<Load>>,
    requesters: Vec<Requester>,
    /// By emitter.
    tags: Vec<TagSet>,
    failed: Failed,
}

/// What went wrong first.
type Failed = Arc<Mutex<Option<String>>>;

fn fail(failed: &Failed, what: impl Into<String>) {
    let mut failed: MutexGuard<'_, _> = failed.lock().unwrap_or_else(PoisonError::into_inner);
    failed.get_or_insert(what.into());
}

impl RequestLink {
    /// Connects, and begins to answer.
    pub(crate) fn connect(server: &Server, shape: Shape) -> Result<Self, DriveError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let failed = Failed::default();
        let set_up = async {
            let client = client(server)?;
            for _ in 0..shape.receivers {
                answer(&client, &failed).await?;
            }
            let mut requesters = Vec::new();
            for _ in 0..shape.publishers {
                requesters.push(client.requester().await.map_err(peer)?);
            }
            Ok::<_, DriveError>(requesters)
        };
        let requesters = runtime
            .block_on(async { tokio::time::timeout(SETUP_MAX, set_up).await })
            .map_err(|_| DriveError::Setup)??;
        let load = Arc::new(Mutex::new(Load::new(shape)));
        let tags = (0..shape.emitters as usize).map(tags).collect();
        Ok(Self { runtime, load, requesters, tags, failed })
    }

    /// Asks what the load allows.
    async fn ask(&self) -> Result<(), DriveError> {
        let now = Instant::now();
        let budget = lock(&self.load).budget(now);
        for _ in 0..budget.min(AT_ONCE) {
            let (emitter, payload) = {
                let mut load = lock(&self.load);
                let emitter = load.next(now).0;
                let payload = load.written().to_vec();
                load.taken();
                (emitter, payload)
            };
            let requester = &self.requesters[emitter % self.requesters.len()];
            let request = Request::default().timeout(TIMEOUT);
            let replies = requester.request(&self.tags[emitter], payload, request).await.map_err(peer)?;
            tokio::spawn(wait(replies, Arc::clone(&self.load), Arc::clone(&self.failed)));
        }
        Ok(())
    }
}

/// Takes the reply to one request.
async fn wait(mut replies: Replies, load: Arc<Mutex<Load>>, failed: Failed) {
    let mut is_answered = false;
    while let Some(reply) = replies.next().await {
        let mut load = lock(&load);
        let now_ns = load.ns(Instant::now());
        load.deliver(0, &reply.payload, now_ns);
        is_answered = true;
    }
    if !is_answered {
        let end = replies.end().map_or("no reason", |end| end.name());
        fail(&failed, format!("a request ended without a reply: {end}"));
    }
}

/// A task that answers every request with its payload.
async fn answer(client: &Client, failed: &Failed) -> Result<(), DriveError> {
    let options =
        ReceiverOptions::default().queue_bytes(RECEIVER_QUEUE_BYTES).connection(ReceiverConnection::Own);
    let mut receiver = client.receiver(options).await.map_err(peer)?;
    let mut subscription = receiver.subscribe([EVERYTHING]).map_err(peer)?;
    subscription.in_cluster().await.map_err(peer)?;
    let options = PublisherOptions::default()
        .level(ConfirmLevel::Routed)
        .linger(Duration::ZERO)
        .connections(Connections::One);
    let publisher = client.publisher(options).await.map_err(peer)?;
    let failed = Arc::clone(failed);
    tokio::spawn(async move {
        let _subscription = subscription;
        while let Some(item) = receiver.next().await {
            let event = match item {
                Item::Event(event) => event,
                Item::Gap(gap) => {
                    fail(&failed, format!("the responder missed requests: {}", gap.reason.name()));
                    continue;
                }
                _ => continue,
            };
            let Some(reply_to) = &event.reply_to else { continue };
            if let Err(error) = publisher.reply(reply_to, &event.payload).await {
                fail(&failed, format!("a reply was not taken: {error}"));
            }
            while let Some(unconfirmed) = publisher.try_unconfirmed() {
                let outcome = unconfirmed.outcome;
                fail(&failed, format!("a reply did not arrive: {outcome:?}"));
            }
        }
        fail(&failed, "the responder has ended");
    });
    Ok(())
}

impl Link for RequestLink {
    fn with_load(&mut self, f: &mut dyn FnMut(&mut Load)) {
        f(&mut lock(&self.load));
    }

    fn turn(&mut self, wait: Duration) -> Result<(), DriveError> {
        self.runtime.block_on(library::turn(&self.load, wait, async || self.ask().await))?;
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(reason) => Err(DriveError::Peer(reason)),
            None => Ok(()),
        }
    }
}
