//! What is published when a client is lost.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::codec::{Code, Qos, Version, Will};
use super::event::{NoEvent, event};
use crate::admission::{Admitted, Right};
use crate::counters::Door;
use crate::doors::naming::Mapping;
use crate::room::Room;
use crate::upstream::NewEvent;

/// A message that waits for its client to be lost.
#[derive(Debug)]
pub(super) struct LastWill {
    will: Will,
    mapping: Arc<Mapping>,
    admitted: Admitted,
    /// Between the end of the connection and the message.
    pub(super) delay: Duration,
}

impl LastWill {
    /// The will of a client, checked as if it published it.
    ///
    /// # Errors
    /// [`NoEvent`] says what to change.
    pub(super) fn new(
        will: Will,
        version: Version,
        mapping: &Arc<Mapping>,
        admitted: &Admitted,
    ) -> Result<Self, NoEvent> {
        if version == Version::V5 && will.qos == 2 {
            return Err(NoEvent::new(Code::QOS, "this server has QoS 0 and 1: write the will with QoS 1"));
        }
        if version == Version::V5 && will.retain {
            return Err(NoEvent::new(
                Code::RETAIN,
                "nothing is retained here: write the will without retain",
            ));
        }
        admitted.check(Right::Publish).map_err(|refusal| NoEvent::new(Code::NOT_AUTHORIZED, refusal))?;
        let delay = Duration::from_secs(u64::from(will.properties.will_delay));
        let will = Self { will, mapping: mapping.clone(), admitted: admitted.clone(), delay };
        will.event()?;
        Ok(will)
    }

    /// The event of this moment.
    fn event(&self) -> Result<NewEvent, NoEvent> {
        let Will { topic, payload, properties, qos, .. } = &self.will;
        let qos = if *qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
        event(&self.mapping, topic, qos, properties, payload.clone(), self.admitted.tags(), SystemTime::now())
    }

    /// Publishes it, in the background: nobody waits for it.
    pub(super) fn publish(self, room: &Room) {
        let room = room.clone();
        tokio::spawn(async move {
            // It was an event when the client connected.
            let Ok(event) = self.event() else { return };
            if let Err(unavailable) = room.upstream.stream(Door::Mqtt, &event).await {
                tracing::warn!(tags = %event.tags, %unavailable, "a will is lost");
                room.counters.dropped(Door::Mqtt, unavailable.into(), 1);
            }
        });
    }
}
