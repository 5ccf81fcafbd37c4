//! Requests and replies through the public client library, on one thread of tokio: one asks and
//! takes the replies in the order of its requests, one answers with what it was asked.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
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
    /// What waits for a reply, by requester, the oldest first.
    waiting: Vec<VecDeque<Replies>>,
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
        let waiting = requesters.iter().map(|_| VecDeque::new()).collect();
        Ok(Self { runtime, load, requesters, waiting, tags, failed })
    }
}

/// Who asks, whom, and what was asked.
struct Asking<'a> {
    load: &'a Mutex<Load>,
    requesters: &'a [Requester],
    waiting: &'a mut [VecDeque<Replies>],
    tags: &'a [TagSet],
    failed: &'a Failed,
}

impl Asking<'_> {
    /// Asks what the load allows.
    async fn ask(&mut self) -> Result<(), DriveError> {
        let now = Instant::now();
        let budget = lock(self.load).budget(now);
        for _ in 0..budget.min(AT_ONCE) {
            let (emitter, payload) = {
                let mut load = lock(self.load);
                let emitter = load.next(now).0;
                let payload = load.written().to_vec();
                load.taken();
                (emitter, payload)
            };
            let number = emitter % self.requesters.len();
            let requester = &self.requesters[number];
            let request = Request::default().timeout(TIMEOUT);
            let replies = requester.request(&self.tags[emitter], payload, request).await.map_err(peer)?;
            self.waiting[number].push_back(replies);
        }
        Ok(())
    }

    /// Takes the replies that are here.
    async fn take(&mut self) {
        let mut now_ns = None;
        for waiting in &mut *self.waiting {
            while let Some(oldest) = waiting.front_mut() {
                let Some(reply) = at_once(oldest.next()).await else { break };
                match reply {
                    Some(reply) => {
                        let mut load = lock(self.load);
                        let now_ns = *now_ns.get_or_insert_with(|| load.ns(Instant::now()));
                        load.deliver(0, &reply.payload, now_ns);
                    }
                    None => {
                        let end = oldest.end().map_or("no reason", |end| end.name());
                        fail(self.failed, format!("a request ended without a reply: {end}"));
                    }
                }
                waiting.pop_front();
            }
        }
    }
}

/// What a future gives if it gives it now.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
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
        let Self { runtime, load, requesters, waiting, tags, failed } = self;
        let mut asking = Asking { load, requesters, waiting, tags, failed };
        let act = async || {
            asking.take().await;
            asking.ask().await
        };
        runtime.block_on(library::turn(load, wait, act))?;
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(reason) => Err(DriveError::Peer(reason)),
            None => Ok(()),
        }
    }
}
