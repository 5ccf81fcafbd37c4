//! Reads one stretch of a peer's history.

use millrace_proto::DecodeError;
use millrace_proto::data::{Cursor, Gap, HopHeader, Replay, Source};
use millrace_proto::stream::{ReplayPreamble, stream_kind};

use crate::core::path::{KnownTags, Path, RunIn, RunPublisher, RunSink, Window};
use crate::history::{Chunk, Found, KeptRun, PastSource, Span};
use crate::time::Time;

/// Bytes of one stretch, at most: a chunk of common size, and one run of the largest.
const STRETCH_BYTES_MAX: usize = 2 << 20;

/// Earlier lives of a router that a peer tells, by owner, at most: those beyond are not asked for.
const PASTS_MAX: usize = 4096;

/// What was read of a stretch.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    request: u64,
    /// The source by its number on the stream.
    source: Option<(u64, Source)>,
    span: Option<(Source, Span)>,
    /// What was said to be kept before: earlier lives.
    pasts: Vec<PastSource>,
    is_whole: bool,
    chunk: Chunk,
    is_too_large: bool,
    /// Where the next stretch begins: the last thing that is said.
    next: Option<u64>,
}

impl Stretch {
    /// The request that it answers.
    pub(super) const fn request(&self) -> u64 {
        self.request
    }

    /// What was found of an owner's history, if the stretch is whole and of that owner.
    pub(super) fn found(self, owner: &Source) -> Option<Found> {
        let (source, span) = self.span.filter(|(source, _)| source == owner)?;
        let is_own = self.source.is_none_or(|(_, named)| named == source);
        let next = self.next.filter(|_| is_own && !self.is_too_large)?;
        let (chunk, pasts) = (Chunk { next, ..self.chunk }, self.pasts.into());
        Some(Found::Read { span: Some(span), chunk, pasts })
    }
}

/// Takes the frames of a stretch.
pub(super) struct StretchSink<'a> {
    pub(super) path: &'a mut Path,
    pub(super) stretch: &'a mut Stretch,
}

impl RunSink for StretchSink<'_> {
    fn prefetch(&mut self, _: &Window) {}

    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>) {
        let Ok(Some((number, position))) = hop.position() else { return };
        if self.stretch.source.is_none_or(|(known, _)| known != number) {
            return;
        }
        let bytes = self.stretch.chunk.runs.bytes() + run.body.bytes().len();
        self.stretch.is_too_large |= bytes > STRETCH_BYTES_MAX;
        if self.stretch.is_too_large {
            return;
        }
        let tag = self.path.routes.intern(tags.tags(), tags.hash);
        self.stretch.chunk.runs.push(&KeptRun {
            position,
            // Only the owner counts by its clock.
            arrived: Time::ZERO,
            tag,
            tags: tags.tags(),
            publisher: publisher.key,
            flags: hop.flags,
            body: run.body.bytes(),
            events: run.body.count(),
        });
    }

    fn gap(&mut self, _: &Gap) -> Result<(), DecodeError> {
        self.stretch.chunk.is_cut = true;
        Ok(())
    }

    fn preamble(&mut self, kind: u64, body: &[u8]) -> Result<(), DecodeError> {
        if kind != stream_kind::REPLAY {
            return Err(DecodeError::Malformed { what: "stream preamble" });
        }
        self.stretch.request = ReplayPreamble::decode(body)?.request;
        Ok(())
    }

    fn replay(&mut self, replay: &Replay) -> Result<(), DecodeError> {
        let &Replay { router, incarnation, owner, from, to, oldest_kept, joined, .. } = replay;
        let span = Span { from, to, oldest: oldest_kept, is_cut: false };
        let said = self.stretch.span.replace((Source { router, incarnation, owner }, span));
        let is_whole = std::mem::replace(&mut self.stretch.is_whole, joined);
        // The last one is what the stretch is of.
        if let Some((source, span)) = said.filter(|_| self.stretch.pasts.len() < PASTS_MAX) {
            let is_possible = span.oldest <= span.to;
            self.stretch.pasts.extend(is_possible.then_some(PastSource { source, span, is_whole }));
        }
        Ok(())
    }

    fn source_defined(&mut self, number: u64, source: Source) -> Result<(), DecodeError> {
        self.stretch.source = Some((number, source));
        Ok(())
    }

    fn cursor(&mut self, cursor: &Cursor) {
        self.stretch.next = cursor.positions.first().copied();
    }

    fn skipped(&mut self) {
        self.path.metrics.frames_skipped += 1;
    }
}
