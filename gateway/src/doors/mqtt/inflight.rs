//! Messages of QoS 1 that a client has not acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::upstream::{Arrival, Receipt};

/// Messages that a client may leave unacknowledged, at most: what a member of a group may have.
pub(super) const INFLIGHT_MAX: u16 = 256;

/// A message that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) packet: u16,
    pub(super) subscription: u64,
    pub(super) arrival: Arc<Arrival>,
    /// Of a shared subscription: what its group waits for.
    pub(super) receipt: Option<Receipt>,
}

/// Messages in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    sent: VecDeque<Sent>,
    last: u16,
}

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter()
    }

    /// A packet identifier that no message has: there are more of them than messages.
    pub(super) fn next_packet(&mut self) -> u16 {
        loop {
            self.last = self.last.wrapping_add(1);
            let last = self.last;
            if last != 0 && self.sent.iter().all(|sent| sent.packet != last) {
                return last;
            }
        }
    }

    pub(super) fn push(&mut self, sent: Sent) {
        self.sent.push_back(sent);
    }

    /// The client has a message. Clients acknowledge in the order of the messages, so that the
    /// search is short.
    pub(super) fn acknowledge(&mut self, packet: u16) {
        let place = self.sent.iter().position(|sent| sent.packet == packet);
        // One that is not there was acknowledged before, or belonged to a group that has it
        // elsewhere.
        if let Some(Sent { receipt: Some(receipt), .. }) = place.and_then(|place| self.sent.remove(place)) {
            receipt.done();
        }
    }

    /// Forgets what groups wait for: other members get it.
    pub(super) fn leave_groups(&mut self) {
        self.sent.retain(|sent| sent.receipt.is_none());
    }

    /// Forgets the newest beyond `max`. Returns how many.
    pub(super) fn truncate(&mut self, max: usize) -> usize {
        let over = self.sent.len().saturating_sub(max);
        self.sent.truncate(max);
        over
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::TagSet;

    use super::*;

    fn sent(packet: u16) -> Sent {
        let arrival = Arrival::test(TagSet::from_texts(["a=b"]).unwrap(), 0, vec![]);
        Sent { packet, subscription: 0, arrival: Arc::new(arrival), receipt: None }
    }

    #[test]
    fn a_packet_identifier_is_used_again_when_it_is_acknowledged() {
        let mut inflight = Inflight { last: u16::MAX - 1, ..Inflight::default() };
        for expected in [u16::MAX, 1, 2] {
            let packet = inflight.next_packet();
            assert_eq!(packet, expected);
            inflight.push(sent(packet));
        }
        inflight.last = 0;
        assert_eq!(inflight.next_packet(), 3);
        inflight.acknowledge(1);
        inflight.acknowledge(1);
        inflight.last = 0;
        assert_eq!((inflight.next_packet(), inflight.len()), (1, 2));
        assert_eq!((inflight.truncate(1), inflight.len()), (1, 1));
    }
}
