//! The owner's stage with history on: a run is routed with its place, and kept.

use super::entered::{Entered, Scope};
use super::reader::KnownTags;
use super::state::Path;
use crate::core::metrics::CoreMetrics;
use crate::history::{KeptRun, Place};

impl Path {
    /// Routes a run with its place, and keeps it. Kept apart, so that the path of a run without
    /// history stays small.
    #[inline(never)]
    pub(super) fn own_kept(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, position: u64) {
        let place = Place { source: self.positions.own.clone(), position };
        self.deliver(tags, &Entered { place: Some(&place), ..*entered }, Scope::All);
        self.keep(tags, entered, position);
    }

    /// Keeps a run that was delivered.
    #[inline(always)]
    pub(super) fn keep(&mut self, tags: &KnownTags, entered: &Entered<'_>, position: u64) {
        let body = &entered.run.body;
        let kept = KeptRun {
            position,
            arrived: self.pacing.crowd.now(),
            // It was interned when the run was delivered.
            tag: tags.id,
            tags: tags.tags(),
            publisher: entered.publisher,
            flags: entered.flags & super::owner::FORWARDED,
            body: body.bytes(),
            events: body.count(),
        };
        self.positions.ring.append(&kept);
        self.positions.files.keep(&kept);
    }

    /// Says what the history of this core is.
    pub(in crate::core) fn count_history(&self, metrics: &mut CoreMetrics) {
        metrics.history_bytes = self.positions.ring.memory() as u64;
        metrics.history_span_seconds = self.positions.ring.span(self.pacing.crowd.now()).as_secs();
        (_, metrics.history_evicted) = self.positions.ring.evicted();
    }
}
