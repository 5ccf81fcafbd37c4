//! Reads the batches of sibling cores: runs, as on a stream without a network.

use millrace_proto::data::{Cursor, Gap, GapReason, HopHeader, Mark, Source};
use millrace_proto::{DecodeError, RouterId};

use super::path::{Entered, KnownTags, Path, RunIn, RunPublisher, RunReader, RunSink, Scope, Window};
use crate::history::{Place, SourceTable};
use crate::ledger::Origin;
use crate::message::CoreIndex;

/// Reads a batch of the core `from`.
pub(super) fn read_batch(
    reader: &mut RunReader,
    batch: &[u8],
    from: CoreIndex,
    router: RouterId,
    path: &mut Path,
) -> Result<(), DecodeError> {
    let had_left = reader.has_left();
    let mut sink = SiblingSink { path, from, router };
    let read = reader.feed(batch, &mut sink);
    path.metrics.lookups_put_off += u64::from(reader.has_left() && !had_left);
    read
}

/// Reads on in batches of which a part was left.
pub(super) fn go_on(
    reader: &mut RunReader,
    from: CoreIndex,
    router: RouterId,
    path: &mut Path,
) -> Result<(), DecodeError> {
    reader.go_on(&mut SiblingSink { path, from, router })
}

struct SiblingSink<'a> {
    path: &'a mut Path,
    from: CoreIndex,
    router: RouterId,
}

impl SiblingSink<'_> {
    /// A run with optional fields may be for a member of a group, addressed, of a set, or from
    /// another cluster. Says whether it is.
    #[cold]
    fn take_apart(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, hop: &HopHeader<'_>) -> bool {
        self.path.take_ticket_from_sibling(tags, entered, hop, self.from)
            || self.path.take_crossed(tags, entered, hop)
            || self.path.take_addressed(tags, entered, hop, Scope::Core)
            || self.path.take_stamped(tags, entered, hop, Scope::Core)
    }

    fn sources(&self) -> &SourceTable {
        &self.path.positions.of_siblings[usize::from(self.from)]
    }
}

impl RunSink for SiblingSink<'_> {
    fn prefetch(&mut self, window: &Window) {
        self.path.prefetch(window, Scope::Core);
    }

    #[inline]
    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>) {
        let (publisher, flags, from) = (publisher.key, hop.flags, Some(self.from));
        // A run whose end is to be told carries a number.
        let origin = hop.lane_seq.map(|number| Origin::Sibling { core: self.from, number });
        let place = self.sources().place(hop);
        let entered = Entered { publisher, flags, run, from, origin, place: place.as_ref() };
        if hop.fields.is_empty() || !self.take_apart(tags, &entered, hop) {
            self.path.enter_from_sibling(tags, &entered);
        }
        if let Some(Place { source, position }) = &place {
            self.path.positions.sources.see(source, position + 1);
        }
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        if gap.reason == GapReason::Rules {
            self.path.gap_of_rules(gap);
            return Ok(());
        }
        self.path.receivers.gap_to_all(gap);
        // The mailbox itself dropped runs, perhaps on their way to this core as their owner, so
        // that every location that would have got them from here has to know. A gap that names a
        // router was told to all by the core that read it.
        if gap.router.is_none() {
            let gap = Gap { router: Some(self.router), ..gap.clone() };
            self.path.locations.gap_to_siblings(&gap);
            self.path.locations.gap_to_peers(&gap);
        }
        Ok(())
    }

    fn source_defined(&mut self, number: u64, source: Source) -> Result<(), DecodeError> {
        let known = self.path.positions.sources.know(source);
        self.path.positions.of_siblings[usize::from(self.from)].define(number, known);
        Ok(())
    }

    fn cursor(&mut self, cursor: &Cursor) {
        let path = &mut *self.path;
        path.positions.of_siblings[usize::from(self.from)].see(cursor, &mut path.positions.sources);
    }

    fn mark(&mut self, mark: &Mark) {
        self.path.clients.barriers.sibling_marked(self.from, mark);
    }

    fn preamble(&mut self, _: u64, _: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }

    fn skipped(&mut self) {}

    #[inline]
    fn is_spent(&self) -> bool {
        self.path.sibling_lookups_are_spent()
    }

    fn is_settled(&self, tags: &KnownTags) -> bool {
        self.path.is_settled_here(tags)
    }
}
