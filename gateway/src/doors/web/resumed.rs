//! A subscription of a WebSocket that goes on where its client was: a receiver of its own, whose
//! events come to the session no faster than its client takes them.

use millrace_client::receiver::BatchItem;
use millrace_client::{Batch, Gap, GapReason};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::frames;
use crate::upstream::{Arrival, FollowError, Following, Past, Trail};

/// Batches that wait for the client, of all its subscriptions together. Behind it waits what the
/// receivers hold, and then what their router does.
pub(super) const NEWS_MAX: usize = 2;
/// What stands for what a client has missed and is not replayed.
pub(super) const MISSED: Gap = Gap { reason: GapReason::SessionLost, events: 0, router: None };

/// What such a subscription tells its session.
#[derive(Debug)]
pub(super) struct News {
    /// The subscription's number.
    pub(super) subscription: u64,
    pub(super) told: Told,
}

#[derive(Debug)]
pub(super) enum Told {
    /// Lines for the client.
    Lines { text: Vec<u8>, events: u64 },
    /// There is no room for such a receiver: it is to be one among others, behind a gap.
    NoRoom { select: Vec<String> },
    /// The routers refuse it, or it is over.
    Ended(String),
}

/// The subscription. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Resumed(JoinHandle<()>);

impl Drop for Resumed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Resumed {
    /// Begins to read what the client missed. To be called within a tokio runtime.
    pub(super) fn begin(
        following: Following,
        subscription: u64,
        sub: &str,
        select: &[String],
        news: mpsc::Sender<News>,
    ) -> Self {
        let reading = Reading { following, subscription, sub: sub.to_owned(), news };
        Self(tokio::spawn(reading.run(select.to_vec())))
    }
}

struct Reading {
    following: Following,
    subscription: u64,
    /// The client's name of it.
    sub: String,
    news: mpsc::Sender<News>,
}

impl Reading {
    async fn run(mut self, select: Vec<String>) {
        let told = match self.following.effective().await {
            Ok(past) => {
                let mut text = Vec::new();
                if past == Past::None {
                    frames::gap(&mut text, &self.sub, &MISSED);
                }
                text.extend_from_slice(frames::about("subscribed", &self.sub).as_bytes());
                Told::Lines { text, events: 0 }
            }
            Err(FollowError::Full(_)) => Told::NoRoom { select },
            Err(error) => Told::Ended(error.to_string()),
        };
        let goes_on = matches!(told, Told::Lines { .. });
        if !self.tell(told).await || !goes_on {
            return;
        }
        loop {
            let trail = Trail::behind(self.following.cursor());
            let told = match self.following.next_batch().await {
                Some(batch) => self.lines(&batch, trail),
                None => Told::Ended("the receiver has ended: subscribe again".to_owned()),
            };
            let goes_on = matches!(told, Told::Lines { .. });
            if !self.tell(told).await || !goes_on {
                return;
            }
        }
    }

    /// Whether there is still somebody to tell.
    async fn tell(&self, told: Told) -> bool {
        self.news.send(News { subscription: self.subscription, told }).await.is_ok()
    }

    fn lines(&self, batch: &Batch, mut trail: Trail) -> Told {
        let (mut text, mut events) = (Vec::with_capacity(batch.len() * 256), 0);
        for (entry, item) in batch.iter().enumerate() {
            let place = trail.pass(batch, entry);
            match item {
                BatchItem::Event(event) => {
                    events += 1;
                    frames::event(&mut text, &self.sub, &Arrival::placed(&event, place));
                }
                BatchItem::Gap(gap) => frames::gap(&mut text, &self.sub, gap),
                // One that this version of the client library does not know.
                _ => {}
            }
        }
        Told::Lines { text, events }
    }
}
