//! All emitters, dealt out to publishers, and what they offer.

use std::time::{Duration, Instant, SystemTime};

use millrace_client::publisher::Quench;
use millrace_client::{Connections, PublishError, Publisher, PublisherOptions, TagHandle, TagSet};
use millrace_measure::figures::whole;
use millrace_verify::payload::Stamp;

use super::settings::QuenchSettings;
use crate::cluster::Cluster;
use crate::features::clients::{client, until};
use crate::features::error::FeatureError;

/// Bytes of each payload.
const PAYLOAD_BYTES: usize = 64;
/// Bytes that each publisher queues at most.
const BUFFER_BYTES: usize = 4 << 20;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// How long what was published may take to reach a router.
const RECEIVED_WITHIN: Duration = Duration::from_secs(15);

/// What emitters have offered, and what became of it at their publishers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Offered {
    pub(super) events: u64,
    pub(super) wanted: u64,
    pub(super) sent: u64,
    pub(super) skipped: u64,
}

/// All emitters.
#[derive(Debug)]
pub(super) struct Emitters {
    settings: QuenchSettings,
    publishers: Vec<Publisher>,
    handles: Vec<TagHandle>,
    /// Events of each so far.
    numbers: Vec<u64>,
    payload: [u8; PAYLOAD_BYTES],
}

impl Emitters {
    /// Connects their publishers. `numbers` are the events that each has had before.
    pub(super) async fn connect(
        settings: &QuenchSettings,
        cluster: &Cluster,
        quench: Quench,
        numbers: Vec<u64>,
    ) -> Result<Self, FeatureError> {
        let mut publishers = Vec::new();
        for connection in 0..settings.connections {
            let options = PublisherOptions::default()
                .connections(Connections::One)
                .buffer_bytes(BUFFER_BYTES)
                .quench(quench);
            let client = client(cluster, connection as usize)?;
            publishers.push(client.publisher(options).await.map_err(FeatureError::client)?);
        }
        let mut handles = Vec::new();
        for emitter in 0..settings.emitters {
            let tags = settings.tags(emitter);
            let tags = TagSet::from_texts(tags.iter().map(String::as_str)).map_err(FeatureError::client)?;
            let publisher = &publishers[(emitter % settings.connections) as usize];
            handles.push(publisher.register(&tags).map_err(FeatureError::client)?);
        }
        Ok(Self { settings: settings.clone(), publishers, handles, numbers, payload: [b'.'; PAYLOAD_BYTES] })
    }

    /// Events of each emitter so far, of those that are wanted.
    pub(super) fn ends(&self) -> impl Iterator<Item = (u32, u64)> {
        let wanted = (0..self.settings.emitters).filter(|&emitter| self.settings.wants(emitter));
        wanted.map(|emitter| (emitter, self.numbers[emitter as usize]))
    }

    /// Publishes the next event of an emitter. False when its publisher's queue is full.
    pub(super) fn publish(&mut self, emitter: u32) -> Result<bool, FeatureError> {
        let at = emitter as usize;
        let stamp = Stamp { emitter, n: self.numbers[at], scheduled_ns: 0 };
        stamp.stamp_again(&mut self.payload).map_err(FeatureError::client)?;
        let publisher = &self.publishers[at % self.publishers.len()];
        match publisher.try_publish_at(self.handles[at], SystemTime::now(), self.payload) {
            Ok(_) => self.numbers[at] += 1,
            Err(PublishError::WouldBlock) => return Ok(false),
            Err(error) => return Err(FeatureError::client(error)),
        }
        Ok(true)
    }

    /// Has each of `emitters` in turn publish, at the rate, for this long; at least all of them
    /// once, if `all`.
    pub(super) async fn offer(
        &mut self,
        emitters: &[u32],
        length: Duration,
        all: bool,
    ) -> Result<Offered, FeatureError> {
        let before = self.totals();
        let (begun, mut events, mut wanted) = (Instant::now(), 0, 0);
        let wish = whole(length.as_secs_f64() * self.settings.rate as f64);
        let wish = if all { wish.max(emitters.len() as u64) } else { wish };
        let mut at = 0;
        while events < wish && !emitters.is_empty() {
            let due = whole(begun.elapsed().as_secs_f64() * self.settings.rate as f64).min(wish);
            while events < due {
                let emitter = emitters[at];
                if !self.publish(emitter)? {
                    break;
                }
                at = (at + 1) % emitters.len();
                events += 1;
                wanted += u64::from(self.settings.wants(emitter));
            }
            tokio::time::sleep(TICK).await;
        }
        tokio::time::sleep(length.saturating_sub(begun.elapsed())).await;
        if !until(RECEIVED_WITHIN, || self.all_is_received()).await {
            let within_s = RECEIVED_WITHIN.as_secs();
            return Err(FeatureError::Late { what: "routers did not have what was published", within_s });
        }
        let after = self.totals();
        Ok(Offered { events, wanted, sent: after.0 - before.0, skipped: after.1 - before.1 })
    }

    /// Events that were sent, and those that were skipped.
    fn totals(&self) -> (u64, u64) {
        let stats = self.publishers.iter().map(Publisher::stats);
        stats.fold((0, 0), |sum, stats| (sum.0 + stats.published, sum.1 + stats.skipped))
    }

    fn all_is_received(&self) -> bool {
        self.publishers.iter().map(Publisher::stats).all(|stats| stats.received >= stats.published)
    }

    /// Ends them; returns the events that each has had.
    pub(super) async fn close(self) -> Vec<u64> {
        for publisher in self.publishers {
            publisher.close().await;
        }
        self.numbers
    }
}
