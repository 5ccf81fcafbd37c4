//! Cursors and batches: how far a part of a batch takes a receiver.

use super::batch::Batch;
use crate::session::Cursor;

impl Cursor {
    /// This cursor behind the first `events` events of a batch. Events of one run advance it
    /// together, with the last of them, so that some may come again.
    #[must_use]
    pub fn behind(mut self, batch: &Batch, events: u64) -> Self {
        batch.places_behind(events).for_each(|place| self.pass(place.source, place.position));
        self
    }
}
