//! Cursors of quiet receivers: each second siblings, peers and receivers are told how far this core
//! has come, so that a receiver whose selectors match little still knows where to go on.
//!
//! Nothing is written while nothing has changed, and to nobody whose queue holds something, or for
//! whom something waits for the scan of its payload: what waits carries positions itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::ReceiverNumber;

use super::state::Path;
use crate::core::delivery::Delivery;
use crate::core::receiver::{Outlet, State};
use crate::core::slot::DeliverySlot;
use crate::history::KnownSource;
use crate::time::Time;

/// How often positions are told.
pub(in crate::core) const CURSORS_EVERY: Duration = Duration::from_secs(1);

impl Path {
    /// Tells siblings, peers and receivers how far everything has come.
    pub(in crate::core) fn tell_positions(&mut self, now: Time) {
        self.positions.ring.expire(now);
        self.positions.files.hand_over();
        let (own, position) = (self.positions.own.clone(), self.position());
        self.positions.sources.see(&own, position);
        let far = &self.positions.replays.far;
        let comes_here =
            |known: &KnownSource| far.get(&known.source).is_some_and(|far| far.core == own.source.owner);
        // Siblings hear of other routers' owners from the core that has their lane.
        let arrived = self.positions.sources.iter().filter(|(known, _)| comes_here(known));
        let mut arrived: Vec<_> = arrived.map(|(known, seen)| (Arc::clone(known), seen)).collect();
        arrived.push((Arc::clone(&own), position));
        self.locations.cursor_to_siblings(&arrived);
        self.locations.cursor_to_peers(&own, position);
        let mut news: Vec<_> = self.positions.sources.take_news();
        // Of another router's owner that has said nothing yet nobody knows how far it is. An
        // earlier life of one is over, and would take the place of the present one in cursors.
        let far = &self.positions.replays.far;
        let is_present = |known: &KnownSource| far.get(&known.source).is_some();
        news.retain(|(known, seen)| {
            known.source.router == own.source.router || (*seen > 0 && is_present(known))
        });
        if !news.is_empty() {
            self.cursor_to_receivers(&news);
        }
    }

    fn cursor_to_receivers(&mut self, positions: &[(Arc<KnownSource>, u64)]) {
        // By shared stream: who is told, and whether that is everybody.
        let mut told: BTreeMap<DeliverySlot, (Vec<ReceiverNumber>, bool)> = BTreeMap::new();
        let mut marks = Vec::new();
        for (slot, receiver) in self.receivers.iter_mut() {
            let is_scanned = receiver.selectors.desk.as_ref().is_none_or(|desk| !desk.is_waiting());
            let is_told = receiver.queue.is_empty() && is_scanned && receiver.joins.is_none();
            match &mut receiver.outlet {
                Outlet::Own(stream) => {
                    let takes = matches!(receiver.state, State::Live(_)) && stream.has_room();
                    if is_told && takes && stream.tells_places() {
                        receiver.queue.write_aside(stream, |stream| stream.cursor(positions, &[]));
                        marks.push(slot);
                    }
                }
                Outlet::Shared(at) => {
                    let (numbers, are_all) = told.entry(*at).or_insert_with(|| (Vec::new(), true));
                    if is_told {
                        numbers.push(receiver.number);
                    } else {
                        *are_all = false;
                    }
                }
            }
        }
        marks.into_iter().for_each(|slot| self.receivers.mark(slot));
        let deliveries = &mut self.receivers.deliveries;
        for (at, (numbers, are_all)) in told {
            let takes = |delivery: &&mut Delivery| delivery.takes() && delivery.stream.tells_places();
            let Some(delivery) = deliveries.get_mut(at).filter(takes) else { continue };
            if !numbers.is_empty() {
                delivery.write_cursor(positions, if are_all { &[] } else { &numbers });
                deliveries.mark(at);
            }
        }
    }
}
