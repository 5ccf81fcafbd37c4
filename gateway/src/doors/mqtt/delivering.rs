//! What a client is sent.

use std::sync::Arc;
use std::time::SystemTime;

use super::aliases::Alias;
use super::codec::{Outgoing, Qos};
use super::event::{Message, message};
use super::inflight::Sent;
use super::session::Session;
use crate::counters::{Door, Reason};
use crate::doors::naming::Dialect;
use crate::upstream::{Arrival, Delivery, Letter, Receipt};

impl Session {
    /// Sends what has arrived.
    pub(super) fn deliver(&mut self, letters: Vec<Letter>) {
        let mut delivered = 0;
        for letter in letters {
            let Letter { subscription, delivery, receipt } = letter;
            // MQTT knows no gaps; the mailbox has counted what was dropped.
            let Delivery::Event(arrival) = delivery else { continue };
            delivered += u64::from(self.send(subscription, &arrival, receipt));
        }
        self.door.room.counters.delivered(Door::Mqtt, delivered);
    }

    /// Sends an event, unless the client does not want or cannot take it. Returns whether it did.
    fn send(&mut self, number: u64, arrival: &Arc<Arrival>, receipt: Option<Receipt>) -> bool {
        // Events of a subscription that has ended may still be on their way; its group has them
        // again.
        let Some(subscribed) = self.state.subscriptions.get(number) else { return false };
        let (granted, identifier) = (subscribed.qos, subscribed.identifier);
        let is_own = subscribed.no_local && self.own.contains(&arrival.id);
        let mapping = self.door.mapping.clone();
        let found = message(&mapping, arrival.tags.borrow(), SystemTime::now());
        let dropped = match &found {
            None => Some(Some(Reason::Unmapped)),
            Some(Message { expiry: Some(0), .. }) => Some(Some(Reason::Expired)),
            Some(found) if is_own || !Dialect::Mqtt.matches(&subscribed.filter, &found.topic) => Some(None),
            Some(_) => None,
        };
        // The lower one of the two ([MQTT-3.8.4-8]).
        let qos = found.as_ref().map_or(granted, |found| found.qos.min(granted));
        let packet = (qos == Qos::AtLeastOnce).then(|| self.state.inflight.next_packet());
        let dropped = dropped.or_else(|| {
            let sent = found.is_some_and(|found| self.write(&found, arrival, packet, false, identifier));
            (!sent).then_some(Some(Reason::TooLarge))
        });
        if let Some(reason) = dropped {
            if let Some(reason) = reason {
                self.door.room.counters.dropped(Door::Mqtt, reason, 1);
            }
            // No other member of the group would do more with it.
            if let Some(receipt) = receipt {
                receipt.done();
            }
            return false;
        }
        match (packet, receipt) {
            (Some(packet), receipt) => {
                self.state.inflight.push(Sent {
                    packet,
                    subscription: number,
                    arrival: arrival.clone(),
                    receipt,
                });
            }
            (None, Some(receipt)) => receipt.done(),
            (None, None) => {}
        }
        true
    }

    /// Sends again what a client that is back had not acknowledged.
    pub(super) fn send_again(&mut self) {
        let over = self.state.inflight.truncate(self.granted.inflight_max);
        self.door.room.counters.dropped(Door::Mqtt, Reason::Overflow, over as u64);
        let inflight = std::mem::take(&mut self.state.inflight);
        let mapping = self.door.mapping.clone();
        for Sent { packet, subscription, arrival, .. } in inflight.iter() {
            let identifier =
                self.state.subscriptions.get(*subscription).and_then(|subscribed| subscribed.identifier);
            if let Some(found) = message(&mapping, arrival.tags.borrow(), SystemTime::now()) {
                self.write(&found, arrival, Some(*packet), true, identifier);
            }
        }
        self.state.inflight = inflight;
    }

    /// Gathers a message. Returns whether it is as large as the client takes, at most.
    fn write(
        &mut self,
        found: &Message<'_>,
        arrival: &Arrival,
        packet: Option<u16>,
        is_again: bool,
        subscription: Option<u32>,
    ) -> bool {
        let alias = self.told_aliases.of(&found.topic);
        let (topic, topic_alias) = match alias {
            Alias::None => (found.topic.as_str(), None),
            Alias::New(number) => (found.topic.as_str(), Some(number)),
            Alias::Known(number) => ("", Some(number)),
        };
        let outgoing = Outgoing {
            topic,
            topic_alias,
            packet,
            is_again,
            payload: &arrival.payload,
            is_text: found.is_text,
            expiry: found.expiry,
            content_type: found.content_type,
            response_topic: found.response_topic,
            correlation: found.correlation.as_deref(),
            subscription,
            user: &found.user,
        };
        let is_sent = self.encoder.message(&outgoing, self.granted.packet_max);
        if let (true, Alias::New(number)) = (is_sent, alias) {
            self.told_aliases.told(found.topic.clone(), number);
        }
        is_sent
    }
}
