//! What sibling cores of this router hand over: batches of runs, as a stream without a network.

use millrace_proto::DecodeError;
use millrace_proto::data::Gap;

use super::Core;
use super::inbound::{KnownTags, RunIn, RunPublisher, RunSink, Window};
use super::routing::{Routing, Scope};
use crate::message::CoreIndex;

impl Core {
    /// A batch of a sibling core.
    ///
    /// # Errors
    /// [`DecodeError`] means a defect of this program: the batch is lost, and so are later ones that use its numbers.
    pub fn batch(&mut self, from: CoreIndex, batch: &[u8]) -> Result<(), DecodeError> {
        let Some(reader) = self.sibling_readers.get_mut(usize::from(from)) else { return Ok(()) };
        reader.feed(batch, &mut SiblingSink { routing: &mut self.routing, router: self.config.router })
    }
}

struct SiblingSink<'a> {
    routing: &'a mut Routing,
    router: millrace_proto::RouterId,
}

impl RunSink for SiblingSink<'_> {
    fn fetch(&mut self, window: &Window) {
        self.routing.fetch(window, Scope::Core);
    }

    #[inline]
    fn run(
        &mut self,
        tags: &mut KnownTags,
        publisher: RunPublisher,
        hop: &millrace_proto::data::HopHeader<'_>,
        run: &RunIn<'_>,
    ) {
        self.routing.sibling_run(tags, publisher.key, hop.flags, run);
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        self.routing.gap_to_all(gap);
        // The mailbox itself dropped runs, and they may have been on their way to this core as their owner: whoever would
        // have got them from here must know. A gap that names a router was told to everyone by the core that read it.
        if gap.router.is_none() {
            let gap = Gap { router: Some(self.router), ..gap.clone() };
            self.routing.gap_to_siblings(&gap);
            self.routing.gap_to_peers(&gap);
        }
        Ok(())
    }

    fn preamble(&mut self, _: u64, _: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }

    fn skipped(&mut self) {}
}
