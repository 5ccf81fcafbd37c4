//! The receivers of a run, on the public client library: each tells what it sees.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use millrace_client::receiver::{Batch, BatchItem};
use millrace_client::session::plan::Progress;
use millrace_client::{
    Acknowledge, Change, Client, Config, Receiver, ReceiverConnection, ReceiverOptions, Subscription,
    SubscriptionState, Trust,
};
use millrace_verify::payload::Stamp;
use tokio::task::LocalSet;

use super::note::{Got, Note, Seen};
use super::said::Label;
use super::settings::addresses;
use crate::clock::Clock;

/// Longest pause between attempts to reconnect: a router is away for a second or two.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// How long the first router may take to be found.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What a receiver needs.
#[derive(Debug, Clone)]
pub(super) struct ReceiverPart {
    pub(super) number: u16,
    pub(super) selector: String,
    /// Its level, if it is a member of the group.
    pub(super) level: Option<u32>,
    pub(super) routers: Vec<SocketAddr>,
    /// The number of the first of them.
    pub(super) first_router: u16,
    pub(super) ca: PathBuf,
    pub(super) clock: Clock,
    pub(super) notes: Sender<Note>,
}

/// Starts a thread with these receivers, which ends with the process.
///
/// # Errors
/// What the system said.
pub(super) fn start(parts: Vec<ReceiverPart>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("receivers".to_owned()).spawn(move || {
        let tasks = LocalSet::new();
        for part in parts {
            tasks.spawn_local(async move {
                if let Err(error) = part.receive().await {
                    // The run has gone away when nobody listens.
                    let _ = part.notes.send(Note::Complaint(format!("receiver {}: {error:#}", part.number)));
                }
            });
        }
        runtime.block_on(tasks);
    })?;
    Ok(())
}

impl ReceiverPart {
    async fn receive(&self) -> anyhow::Result<()> {
        let config = Config::new(addresses(&self.routers)?)
            .trust(Trust::File(self.ca.clone()))
            .backoff_max(BACKOFF_MAX)
            .connect_within(CONNECT_WITHIN);
        let client = Client::new(config)?;
        let mut changes = client.changes();
        let mut options = ReceiverOptions::default().connection(ReceiverConnection::Own);
        if let Some(level) = self.level {
            options = options.group("chaos").level(level).acknowledge(Acknowledge::Explicit);
        }
        let mut receiver = client.receiver(options).await?;
        let mut subscription = receiver.subscribe([&self.selector])?;
        self.tell_state(&subscription);
        loop {
            tokio::select! {
                biased;
                change = changes.next() => {
                    if let Some(Change::Attached { address, .. }) = change
                        && let Some(router) = self.routers.iter().position(|&front| front == address)
                    {
                        let router = u16::try_from(router).unwrap_or(u16::MAX);
                        self.tell(Seen::Attached { router: self.first_router.saturating_add(router) });
                    }
                }
                state = subscription.changed() => {
                    state?;
                    self.tell_state(&subscription);
                }
                batch = receiver.next_batch() => {
                    let Some(batch) = batch else {
                        anyhow::bail!("a router refused it: {:?}", receiver.refused())
                    };
                    self.tell_batch(&batch, &receiver);
                    if self.level.is_some() {
                        receiver.acknowledge();
                    }
                }
            }
        }
    }

    fn tell(&self, seen: Seen) {
        // The run has gone away when nobody listens.
        let _ = self.notes.send(Note::Seen { receiver: self.number, at_us: self.clock.now_us(), seen });
    }

    fn tell_state(&self, subscription: &Subscription) {
        self.tell(match subscription.state() {
            SubscriptionState::Progress(Progress::Cluster { left_out, unanswered, .. }) => {
                Seen::Effective { left_out, unanswered }
            }
            _ => Seen::Lapsed,
        });
    }

    fn tell_batch(&self, batch: &Batch, receiver: &Receiver) {
        let mut events = Vec::with_capacity(batch.len());
        for item in batch.iter() {
            match item {
                BatchItem::Event(event) => match Stamp::decode(event.payload) {
                    Ok(stamp) => events.push(Got {
                        emitter: stamp.emitter,
                        seq: event.id.seq,
                        label: Label::of(stamp.n),
                        published_us: stamp.scheduled_ns / 1_000,
                        is_marked: event.maybe_duplicate,
                    }),
                    Err(_) => self.tell(Seen::Corrupted),
                },
                BatchItem::Gap(gap) => {
                    if !events.is_empty() {
                        self.tell(Seen::Events(std::mem::take(&mut events)));
                    }
                    self.tell(Seen::Gap { reason: gap.reason, router: gap.router });
                }
                _ => {}
            }
        }
        if !events.is_empty() {
            self.tell(Seen::Events(events));
        }
        self.tell(Seen::Removed(receiver.duplicates_removed()));
    }
}
