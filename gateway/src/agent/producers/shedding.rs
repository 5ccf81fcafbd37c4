//! Tells upstream what the spools shed: one event for each producer, with the ids.
//!
//! The event has the tags `millrace=agent`, `what=shed` and `producer`, and waits in the spool of
//! the agent itself. What is shed within a second is told together.

use std::time::{Duration, SystemTime};

use millrace_client::{ConfirmLevel, TagSet};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::caller::Caller;
use super::producer::{Producer, Sheds};
use super::registry::Producers;
use crate::agent::stamp::Stamp;
use crate::upstream::{NewEvent, NewEventError};

/// What is shed within this time is told together.
const GATHER: Duration = Duration::from_secs(1);

/// Tells what is shed, until the task is aborted.
pub(crate) async fn announce(producers: Producers, stamp: Stamp) {
    loop {
        producers.has_shed().await;
        sleep(GATHER).await;
        announce_now(&producers, &stamp).await;
    }
}

/// Tells what was shed until here, which the producers first have to hear: they are told of it a
/// moment later.
pub(crate) async fn announce_all(producers: &Producers, stamp: &Stamp) {
    let heard = async {
        while !producers.all().iter().all(|producer| producer.has_heard_sheds()) {
            producers.has_shed().await;
        }
    };
    if timeout(GATHER, heard).await.is_err() {
        tracing::warn!("some of what was shed last is not told");
    }
    announce_now(producers, stamp).await;
}

/// Tells what the producers have heard was shed. It may be aborted at any time: nothing is taken
/// that is not told or put back at once.
async fn announce_now(producers: &Producers, stamp: &Stamp) {
    let Ok(agent) = producers.of(&Caller::agent(), ConfirmLevel::Routed).await else {
        return producers.tell_again();
    };
    for producer in producers.all() {
        let Some(sheds) = producer.take_sheds() else { continue };
        tracing::warn!(
            producer = producer.name(),
            events = sheds.events,
            "the spool is full, and events are shed"
        );
        if !tell((producers, &agent), stamp, &producer, &sheds) {
            producer.put_back(sheds);
            producers.tell_again();
        }
    }
}

/// Whether what was shed is in the agent's own spool.
fn tell(
    (producers, agent): (&Producers, &Producer),
    stamp: &Stamp,
    shedding: &Producer,
    sheds: &Sheds,
) -> bool {
    let Ok(event) = event(shedding, sheds) else { return true };
    let Ok((event, _)) = stamp.apply(event) else { return true };
    producers.append(agent, &event).is_ok()
}

fn event(shedding: &Producer, sheds: &Sheds) -> Result<NewEvent, NewEventError> {
    let key = shedding.key();
    let ranges: Vec<[u64; 2]> = sheds.ranges.iter().map(|seqs| [seqs.start, seqs.end - 1]).collect();
    let said = json!({
        "producer": shedding.name(),
        "publisher": key.publisher.to_string(),
        "epoch": format!("{:x}", key.epoch.0),
        // First and last seq of each: an event's id is publisher.epoch.seq.
        "ranges": ranges,
        "events": sheds.events,
        "unnumbered": sheds.unnumbered,
    });
    let tags = [("millrace", "agent"), ("what", "shed"), ("producer", shedding.name())];
    NewEvent::new(TagSet::new(tags)?, SystemTime::now(), said.to_string().into())
}
