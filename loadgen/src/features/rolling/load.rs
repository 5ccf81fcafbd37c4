//! Publishers and receivers of the preset, on a thread of their own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_client::receiver::BatchItem;
use millrace_client::{
    Client, Config, Connections, PublishError, Publisher, PublisherOptions, Receiver, ReceiverConnection,
    ReceiverOptions, TagHandle, TagSet, Trust,
};
use millrace_measure::figures::whole;
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::figures::RollingFigures;
use super::settings::RollingSettings;
use super::signs::{NEVER, Signs};
use crate::chaos::addresses;
use crate::clock::Clock;
use crate::features::clients::{self, until};
use crate::features::error::FeatureError;
use crate::features::{Came, Spread, Streams};

/// Longest pause between attempts to reach a router.
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// How long a router may take to welcome the first client.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How often publishers publish what is due.
const TICK: Duration = Duration::from_millis(1);
/// How long the last events may take to be confirmed and received.
const SETTLE_WITHIN: Duration = Duration::from_secs(15);
/// Tag sets of each publisher for each receiver.
const TAG: &str = "rolling";

/// What the load needs.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) settings: RollingSettings,
    pub(super) routers: Vec<SocketAddr>,
    pub(super) ca: PathBuf,
    pub(super) clock: Clock,
    pub(super) signs: Arc<Signs>,
}

/// What receivers have got.
#[derive(Debug, Default)]
struct Heard {
    streams: Streams,
    figures: RollingFigures,
    before_us: Vec<u64>,
    during_us: Vec<u64>,
    after_us: Vec<u64>,
    /// Copies that each receiver's library has removed.
    removed: Vec<u64>,
}

/// A publisher, with a tag set for each receiver.
struct Writer {
    publisher: Publisher,
    /// Each with its emitter and the number of its next event.
    emitters: Vec<(u32, TagHandle, u64)>,
    /// Whose run is next.
    turn: usize,
    published: u64,
}

/// Plays the load until it is to be over and has settled.
pub(super) fn play(part: &Part) -> Result<RollingFigures, FeatureError> {
    clients::play(part.load())
}

impl Part {
    fn client(&self) -> Result<Client, FeatureError> {
        let config = Config::new(addresses(&self.routers).map_err(FeatureError::client)?)
            .trust(Trust::File(self.ca.clone()))
            .backoff_max(BACKOFF_MAX)
            .connect_within(CONNECT_WITHIN);
        Client::new(config).map_err(FeatureError::client)
    }

    async fn load(&self) -> Result<RollingFigures, FeatureError> {
        let heard = Rc::new(RefCell::new(Heard::default()));
        let receivers = self.settings.receivers;
        heard.borrow_mut().removed = vec![0; receivers.into()];
        for number in 0..receivers {
            let client = self.client()?;
            let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
            let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
            let selector = format!("{TAG}={number}");
            let mut subscription = receiver.subscribe([&selector]).map_err(FeatureError::client)?;
            subscription.in_cluster().await.map_err(FeatureError::client)?;
            let hear = hear(receiver, number, (self.clock, Arc::clone(&self.signs)), Rc::clone(&heard));
            tokio::task::spawn_local(async move {
                hear.await;
                drop(client);
            });
        }
        let mut writers = Vec::new();
        for number in 0..u32::from(self.settings.publishers) {
            let writer = self.writer(number).await?;
            for &(emitter, ..) in &writer.emitters {
                heard.borrow_mut().streams.begin_at(emitter, 0);
            }
            writers.push(writer);
        }
        self.signs.has_begun.store(true, Ordering::Release);
        self.publish(&mut writers).await?;
        self.settle(writers, &heard).await
    }

    async fn writer(&self, number: u32) -> Result<Writer, FeatureError> {
        let options = PublisherOptions::default()
            .connections(Connections::One)
            .level(self.settings.confirm.level())
            .linger(TICK);
        let publisher = self.client()?.publisher(options).await.map_err(FeatureError::client)?;
        let receivers = u32::from(self.settings.receivers);
        let mut emitters = Vec::new();
        for receiver in 0..receivers {
            let tags = [format!("{TAG}={receiver}"), format!("publisher={number}")];
            let tags = TagSet::from_texts(tags.iter().map(String::as_str)).map_err(FeatureError::client)?;
            let handle = publisher.register(&tags).map_err(FeatureError::client)?;
            emitters.push((number * receivers + receiver, handle, 0));
        }
        Ok(Writer { publisher, emitters, turn: 0, published: 0 })
    }

    /// Publishes until the load is to be over.
    async fn publish(&self, writers: &mut [Writer]) -> Result<(), FeatureError> {
        let rate = self.settings.rate as f64 / f64::from(self.settings.publishers);
        let begun_us = self.clock.now_us();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.signs.is_over.load(Ordering::Acquire) {
            ticks.tick().await;
            let due = whole((self.clock.now_us() - begun_us) as f64 / 1e6 * rate);
            for writer in &mut *writers {
                writer.publish_until(due, |number| begun_us + whole(number as f64 / rate * 1e6))?;
            }
        }
        Ok(())
    }

    /// Waits until all is confirmed and received, and sums up.
    async fn settle(
        &self,
        writers: Vec<Writer>,
        heard: &RefCell<Heard>,
    ) -> Result<RollingFigures, FeatureError> {
        let published: u64 = writers.iter().map(|writer| writer.published).sum();
        let is_settled = || {
            let stats = writers.iter().map(|writer| writer.publisher.stats());
            let ended: u64 =
                stats.map(|stats| stats.confirmed + stats.partial + stats.dropped + stats.unknown).sum();
            ended >= published && heard.borrow().streams.delivered() >= published
        };
        until(SETTLE_WITHIN, is_settled).await;
        let mut heard = heard.take();
        let mut figures = std::mem::take(&mut heard.figures);
        let Self { settings, .. } = self;
        (figures.routers, figures.publishers, figures.receivers) =
            (settings.routers, settings.publishers, settings.receivers);
        (figures.rate, figures.confirm, figures.published) =
            (settings.rate, settings.confirm.name(), published);
        for stats in writers.iter().map(|writer| writer.publisher.stats()) {
            figures.confirmed += stats.confirmed;
            figures.partial += stats.partial;
            figures.dropped += stats.dropped;
            figures.unknown += stats.unknown;
        }
        let emitters = writers.iter().flat_map(|writer| &writer.emitters);
        let came: Came = heard.streams.came(emitters.map(|&(emitter, _, next)| (emitter, next)));
        figures.came = came;
        figures.duplicates_before_removal = heard.removed.iter().sum();
        figures.before_us = Spread::of(heard.before_us);
        figures.during_us = Spread::of(heard.during_us);
        figures.after_us = Spread::of(heard.after_us);
        Ok(figures)
    }
}

impl Writer {
    /// Publishes one run of what is due: events up to this number, each due at the time that
    /// `due_us` says.
    fn publish_until(&mut self, due: u64, due_us: impl Fn(u64) -> u64) -> Result<(), FeatureError> {
        let Some((emitter, handle, next)) = self.emitters.get_mut(self.turn) else { return Ok(()) };
        let mut payload = [b'.'; PAYLOAD_BYTES_MIN];
        let before = self.published;
        while self.published < due {
            let stamp = Stamp { emitter: *emitter, n: *next, scheduled_ns: due_us(self.published) * 1_000 };
            stamp.stamp_again(&mut payload).map_err(FeatureError::client)?;
            match self.publisher.try_publish(*handle, payload) {
                Ok(_) => {}
                Err(PublishError::WouldBlock) => break,
                Err(error) => return Err(FeatureError::client(error)),
            }
            *next += 1;
            self.published += 1;
        }
        if self.published > before {
            self.turn = (self.turn + 1) % self.emitters.len();
        }
        Ok(())
    }
}

/// Listens for as long as the receiver lives.
async fn hear(
    mut receiver: Receiver,
    number: u16,
    (clock, signs): (Clock, Arc<Signs>),
    heard: Rc<RefCell<Heard>>,
) {
    while let Some(batch) = receiver.next_batch().await {
        let now_us = clock.now_us();
        let (from_us, until_us) =
            (signs.restarts_from_us.load(Ordering::Acquire), signs.restarts_until_us.load(Ordering::Acquire));
        let mut heard = heard.borrow_mut();
        for item in batch.iter() {
            let event = match item {
                BatchItem::Event(event) => event,
                BatchItem::Gap(gap) => {
                    *heard.figures.gaps.entry(gap.reason.name()).or_default() += 1;
                    continue;
                }
                _ => continue,
            };
            let Ok(stamp) = Stamp::decode(event.payload) else {
                heard.figures.corrupted += 1;
                continue;
            };
            heard.streams.take(stamp.emitter, stamp.n);
            let due_us = stamp.scheduled_ns / 1_000;
            let latency_us = now_us.saturating_sub(due_us);
            // What was late because a restart began counts for the restart.
            if now_us < from_us || from_us == NEVER {
                heard.before_us.push(latency_us);
            } else if due_us < until_us {
                heard.during_us.push(latency_us);
            } else {
                heard.after_us.push(latency_us);
            }
        }
        heard.removed[usize::from(number)] = receiver.duplicates_removed();
    }
}
