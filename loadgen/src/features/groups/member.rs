//! A member of a group in this process.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_client::receiver::{Batch, BatchItem};
use millrace_client::{Acknowledge, Client, Receiver, ReceiverConnection, ReceiverOptions};
use millrace_verify::payload::Stamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ledger::Ledger;
use super::settings::{Number, name, tag};
use crate::clock::Clock;
use crate::features::error::FeatureError;

/// A member's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) group: Number,
    pub(super) level: u8,
}

/// What a member is told to be. It leaves when nobody can tell it any more.
#[derive(Debug)]
pub(super) struct Member {
    busy: UnboundedSender<bool>,
}

impl Member {
    /// Joins a group; returns when all routers know.
    pub(super) async fn join(
        client: &Client,
        place: Place,
        clock: Clock,
        ledger: &Rc<RefCell<Ledger>>,
    ) -> Result<Self, FeatureError> {
        let receiver = receiver(client, place).await?;
        let (busy, wishes) = unbounded_channel();
        tokio::task::spawn_local(serve(receiver, place, clock, Rc::clone(ledger), wishes));
        Ok(Self { busy })
    }

    /// Says whether it is busy.
    pub(super) fn busy(&self, is_busy: bool) {
        // A member whose receiver has ended hears nothing, and is found missing.
        let _ = self.busy.send(is_busy);
    }
}

/// A receiver that is a member, and subscribed in the whole cluster.
pub(super) async fn receiver(client: &Client, place: Place) -> Result<Receiver, FeatureError> {
    let options = ReceiverOptions::default()
        .connection(ReceiverConnection::Own)
        .acknowledge(Acknowledge::Explicit)
        .group(name(place.group))
        .level(u32::from(place.level));
    let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
    let mut subscription = receiver.subscribe([tag(place.group)]).map_err(FeatureError::client)?;
    subscription.in_cluster().await.map_err(FeatureError::client)?;
    Ok(receiver)
}

/// The numbers of a batch's events, and whether each is marked as a possible duplicate.
pub(super) fn events(batch: &Batch) -> impl Iterator<Item = (u64, bool)> {
    batch.iter().filter_map(|item| match item {
        BatchItem::Event(event) => {
            Stamp::decode(event.payload).ok().map(|stamp| (stamp.n, event.maybe_duplicate))
        }
        _ => None,
    })
}

async fn serve(
    mut receiver: Receiver,
    place: Place,
    clock: Clock,
    ledger: Rc<RefCell<Ledger>>,
    mut wishes: UnboundedReceiver<bool>,
) {
    let Place { group, level } = place;
    loop {
        tokio::select! {
            biased;
            wish = wishes.recv() => match wish {
                Some(is_busy) => receiver.busy(is_busy),
                None => return,
            },
            batch = receiver.next_batch() => {
                let Some(batch) = batch else { return };
                let now_us = clock.now_us();
                let mut ledger = ledger.borrow_mut();
                events(&batch).for_each(|(number, marked)| ledger.take(group, level, number, marked, now_us));
                receiver.acknowledge();
            }
        }
    }
}
