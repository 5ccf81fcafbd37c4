//! A local client that is a member of a group of the cluster by itself: what it was given and has
//! not done, another member gets.

use std::sync::Arc;

use millrace_client::receiver::BatchItem;
use millrace_client::{Acknowledge, Batch, Receiver, ReceiverOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::arrival::Arrival;
use super::feed::{FeedEnded, Stage, effective};
use super::mailbox::{Delivery, Letter, Mailbox};
use super::receipt::{Awaited, Receipt};
use super::receivers::Receivers;

/// A place in a group. Dropping it leaves the group: other members get at once what is not done.
#[derive(Debug)]
pub struct Member {
    stage: watch::Receiver<Stage>,
    task: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Member {
    /// Joins a group. To be called within a tokio runtime.
    pub(super) fn join(
        receivers: Receivers,
        selectors: Arc<[String]>,
        group: &str,
        subscription: u64,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let (stage, watched) = watch::channel(Stage::Asked);
        let options = ReceiverOptions::default().group(group).acknowledge(Acknowledge::Explicit);
        let serving = Serving { receivers, selectors, subscription, mailbox, stage };
        Self { stage: watched, task: tokio::spawn(serving.run(options)) }
    }

    /// Waits until nothing that is published is missed by the group.
    ///
    /// # Errors
    /// [`FeedEnded`]: the routers refuse it.
    pub async fn effective(&self) -> Result<(), FeedEnded> {
        let mut stage = self.stage.clone();
        let reached = stage.wait_for(|stage| *stage != Stage::Asked).await;
        match reached.as_deref() {
            Ok(Stage::Ended(ended)) => Err(ended.clone()),
            _ => Ok(()),
        }
    }
}

/// What the task of a member has.
struct Serving {
    receivers: Receivers,
    selectors: Arc<[String]>,
    subscription: u64,
    mailbox: Arc<Mailbox>,
    stage: watch::Sender<Stage>,
}

impl Serving {
    async fn run(self, options: ReceiverOptions) {
        let Err(error) = self.serve(&options).await;
        tracing::info!(selectors = ?self.selectors, error, "a member of a group has ended");
        self.mailbox.end(&error);
        self.stage.send_replace(Stage::Ended(FeedEnded(error.into())));
    }

    /// Serves the receiver for as long as there is one. Returns why there is none.
    async fn serve(&self, options: &ReceiverOptions) -> Result<std::convert::Infallible, String> {
        let mut receiver = self.receivers.open_when_possible(options).await?;
        let mut subscription =
            receiver.subscribe(self.selectors.iter()).map_err(|error| error.to_string())?;
        loop {
            tokio::select! {
                batch = receiver.next_batch() => match batch {
                    Some(batch) => self.give(&batch, &mut receiver).await,
                    None => {
                        let refused = receiver.refused().map(|refused| refused.to_string());
                        return Err(refused.unwrap_or_else(|| "the receiver has ended".to_owned()));
                    }
                },
                effective = effective(&self.stage, &mut subscription, &self.selectors) => {
                    effective.map_err(|error| error.to_string())?;
                }
            }
        }
    }

    /// Gives the reader a batch, and acknowledges what it has done, up to the first event that it
    /// has not. The router holds back what follows, because a member has bounded room.
    async fn give(&self, batch: &Batch, receiver: &mut Receiver) {
        let mut awaited: Vec<Option<Awaited>> = Vec::with_capacity(batch.len());
        for item in batch.iter() {
            let (delivery, receipt) = match item {
                BatchItem::Event(event) => {
                    let (receipt, done) = Receipt::new();
                    awaited.push(Some(done));
                    (Delivery::Event(Arc::new(Arrival::new(&event))), Some(receipt))
                }
                BatchItem::Gap(gap) => {
                    awaited.push(None);
                    (Delivery::Gap(gap.clone()), None)
                }
                // One that this version of the client library does not know.
                _ => {
                    awaited.push(None);
                    continue;
                }
            };
            self.mailbox.push(Letter { subscription: self.subscription, delivery, receipt });
        }
        let mut entries = 0;
        for done in awaited {
            if let Some(done) = done
                && done.await.is_err()
            {
                break;
            }
            entries += 1;
        }
        receiver.acknowledge_part(batch, entries);
    }
}
