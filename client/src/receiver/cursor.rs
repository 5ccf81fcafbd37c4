//! Cursors and batches: how far a part of a batch takes a receiver.

use super::batch::Batch;
use crate::session::{Cursor, PassedBy, PlaceOf};

impl Cursor {
    /// This cursor behind the first `events` events of a batch. Events of one run advance it
    /// together, with the last of them, so that some may come again.
    #[must_use]
    pub fn behind(mut self, batch: &Batch, events: u64) -> Self {
        batch.places_behind(events).for_each(|place| self.pass(place.source, place.position));
        self
    }

    /// Passes an event or gap of a batch, by its place in [`Batch::iter`]; to be called for each of
    /// them, in order, of a receiver with one subscription. Returns whether the cursor has
    /// advanced: it does so behind the last event of a run.
    pub fn pass_entry(&mut self, batch: &Batch, entry: usize) -> bool {
        let mut has_advanced = false;
        for place in batch.places(entry, entry + 1) {
            // What is said of quiet receivers may be older than what the receiver has asked for.
            if place.by != PlaceOf::Said(PassedBy::Quiet) {
                self.pass(place.source, place.position);
                has_advanced = true;
            }
        }
        has_advanced
    }
}
