//! What a client publishes, and what it hears of it.

use std::time::{Duration, SystemTime};

use millrace_client::{EventId, Outcome, OutcomeReason};
use tokio::time::{Instant, sleep, timeout};

use super::answers::Question;
use super::codec::{Code, Publish, Qos, Version};
use super::event::{NoEvent, event};
use super::session::{End, Session};
use crate::admission::Right;
use crate::counters::Door;
use crate::upstream::{Level, NewEvent, Unavailable, Underway};

/// A message waits for a router, or for room, for so long.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// While there is no room or no router, a message is tried again after this time.
const TRY_PAUSE: Duration = Duration::from_millis(50);
/// Events by which a client's own are known.
const OWN_MAX: usize = 8192;

impl Session {
    pub(super) async fn publish(&mut self, publish: Publish) -> Result<(), End> {
        let Publish { topic, packet, is_once, retain, payload, properties } = publish;
        let topic = self.heard_aliases.topic(topic, properties.topic_alias);
        let topic = topic.map_err(|code| End::Told(code, "there is no such topic alias".to_owned()))?;
        if retain && self.granted.version == Version::V5 {
            let advice = "nothing is retained here, as CONNACK says: publish without retain";
            return Err(End::Told(Code::RETAIN, advice.to_owned()));
        }
        if let Some(packet) = packet.filter(|packet| is_once && self.state.received.contains(packet)) {
            self.encoder.received(packet);
            return Ok(());
        }
        let may = self.standing.check(Right::Publish);
        let read = may.map_err(|refusal| NoEvent::new(Code::NOT_AUTHORIZED, refusal)).and_then(|()| {
            let (mapping, stamped) = (&self.door.mapping, self.standing.tags());
            let qos = if packet.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
            event(mapping, &topic, qos, &properties, payload, stamped, SystemTime::now())
        });
        match (read, packet) {
            (Ok(event), Some(packet)) => {
                let underway = self.take(&event).await?;
                underway.ids().iter().for_each(|id| self.remember(*id));
                self.answers.push(Question { packet, is_once }, underway);
            }
            (Ok(event), None) => self.stream(&event).await,
            (Err(NoEvent { code, why }), Some(packet)) if self.granted.version == Version::V5 => {
                self.door.refused(code);
                self.encoder.published(packet, code, &why);
            }
            // There is no other answer to a message of QoS 0, and in 3.1.1 to any.
            (Err(NoEvent { code, why }), _) => return Err(End::Told(code, why)),
        }
        Ok(())
    }

    /// Publishes a message of QoS 0.
    async fn stream(&mut self, event: &NewEvent) {
        let upstream = self.door.room.upstream.clone();
        let taken = timeout(TAKEN_WITHIN, upstream.stream(Door::Mqtt, event)).await;
        match taken.unwrap_or(Err(Unavailable::Busy)) {
            Ok(id) => self.remember(id),
            Err(unavailable) => self.door.room.counters.dropped(Door::Mqtt, unavailable.into(), 1),
        }
    }

    /// Publishes a message of QoS 1 or 2, as soon as there is a router and room.
    async fn take(&mut self, event: &NewEvent) -> Result<Underway, End> {
        let until = Instant::now() + TAKEN_WITHIN;
        loop {
            let taken =
                self.door.room.upstream.publish(Door::Mqtt, Level::Routed, std::slice::from_ref(event));
            match taken {
                Ok(underway) => return Ok(underway),
                // Who is not answered sends again, at its next connection.
                Err(unavailable) if Instant::now() > until => {
                    return Err(End::Told(Code::BUSY, unavailable.to_string()));
                }
                Err(_) => sleep(TRY_PAUSE).await,
            }
            if *self.door.room.stopping.borrow() {
                return Err(End::Stopping);
            }
        }
    }

    /// Notes an event of a client that does not want its own.
    fn remember(&mut self, id: EventId) {
        if !self.state.subscriptions.has_no_local() {
            return;
        }
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(id);
    }

    /// Answers a message of QoS 1 or 2.
    pub(super) fn answer(&mut self, question: Question, outcome: Outcome) -> Result<(), End> {
        let (code, why) = match outcome {
            Outcome::Confirmed { receivers: 0 } => (Code::NO_SUBSCRIBERS, String::new()),
            Outcome::Confirmed { .. } => (Code::SUCCESS, String::new()),
            Outcome::Partial { receivers, missed, reasons } => {
                let reasons: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
                (
                    Code::IMPLEMENTATION,
                    format!("{receivers} receivers have it, {missed} miss it: {}", reasons.join(", ")),
                )
            }
            Outcome::Dropped { reason: OutcomeReason::Forbidden } => {
                self.door.refused(Code::NOT_AUTHORIZED);
                (Code::NOT_AUTHORIZED, "the gateway's identity may not publish this".to_owned())
            }
            Outcome::Dropped { reason } => (Code::QUOTA, format!("it is dropped: {}", reason.name())),
            // Who is not answered sends again, at its next connection.
            _ => {
                let advice = "nobody can tell what became of a message: connect and send it again";
                return Err(End::Told(Code::BUSY, advice.to_owned()));
            }
        };
        let Question { packet, is_once } = question;
        if is_once {
            self.state.received.insert(packet);
            self.encoder.received(packet);
        } else {
            self.encoder.published(packet, code, &why);
        }
        Ok(())
    }
}
