//! The owner's stage: which core routes a run, and what it does before the run is copied.
//!
//! A run that a publisher sent goes to its shard's owner: this core, or a sibling. What the owner
//! does with a run is one call each, in order, in [`Path::own`]; the first is its position.

use millrace_proto::PublisherId;
use millrace_proto::control::OutcomeReason;
use millrace_proto::data::flag;
use millrace_proto::run::RunBody;

use super::entered::{Entered, Scope};
use super::fate::Fates;
use super::reader::KnownTags;
use super::state::Path;
use crate::core::run::RunOut;
use crate::ledger::{EntryId, Level, Origin, Span, Tally};
use crate::matching::Location;
use crate::message::CoreIndex;
use crate::routes::TagId;

/// Flags that go on with a run.
pub(super) const FORWARDED: u64 = flag::LEVEL_MASK | flag::RESENT;

impl Path {
    /// A publisher's run enters the router on this core.
    #[inline]
    pub(in crate::core) fn enter(&mut self, tags: &mut KnownTags, run: &Entered<'_>) {
        match self.shards.other_owner(tags.hash) {
            None => self.own(tags, run),
            Some(owner) => self.hand_over(owner, tags, run),
        }
    }

    /// A run is read while publishers are held back for receivers on other cores.
    #[cold]
    pub(in crate::core) fn note_held(&mut self, publisher: PublisherId) {
        if let Some(receiver) = self.pacing.holds.get(publisher) {
            self.pacing.crowd.note_held(receiver);
        }
    }

    /// A run arrives from a sibling core: to be routed by its owner, or routed already.
    pub(in crate::core) fn enter_from_sibling(&mut self, tags: &mut KnownTags, run: &Entered<'_>) {
        self.metrics.events_from_siblings += run.run.body.count();
        if run.flags & flag::UNROUTED != 0 {
            self.own(tags, run);
        } else {
            self.deliver(tags, run, Scope::Core);
        }
    }

    /// What an owner does with a run, in order.
    #[inline]
    fn own(&mut self, tags: &mut KnownTags, run: &Entered<'_>) {
        self.shards.number();
        self.deliver(tags, run, Scope::All);
    }

    /// Hands a run to the sibling that owns it.
    fn hand_over(&mut self, owner: CoreIndex, tags: &mut KnownTags, entered: &Entered<'_>) {
        // The table of the mailbox needs a name for the tag set, which the route cache gives. A name that
        // the cache has given up since is still no other's, so the cache is not asked again.
        let tag = if tags.id == TagId::default() { self.intern(tags) } else { tags.id };
        let (entry, flags) = self.follow(entered);
        let body = &entered.run.body;
        let run = RunOut {
            tag,
            number: None,
            tags: tags.tags(),
            publisher: entered.publisher,
            flags: flags | flag::UNROUTED,
            fields: &[],
            body: body.bytes(),
            buffer: None,
            events: body.count(),
            from: entered.from,
            entry,
        };
        let Self { metrics, missed, ledger, locations, .. } = self;
        let mut fates = Fates { metrics, missed, ledger };
        locations.copy(Location::Core(owner), &run, &mut fates);
        fates.end(&run, Tally::NONE);
    }

    /// Opens an entry for a run whose origin wants to be told how it ends. Returns the entry, and
    /// the flags that go on with the run: those of a run that is not followed have no level, so
    /// that nobody else follows it.
    #[inline]
    pub(super) fn follow(&mut self, entered: &Entered<'_>) -> (Option<EntryId>, u64) {
        let flags = entered.flags & FORWARDED;
        let entry = match entered.origin {
            None => None,
            Some(origin) => self.open_entry(origin, entered),
        };
        (entry, if entry.is_some() { flags } else { flags & !flag::LEVEL_MASK })
    }

    /// A run that may not be published was dropped.
    pub(in crate::core) fn tell_dropped(&mut self, origin: Origin, flags: u64, body: &RunBody<'_>) {
        let span = u32::try_from(body.count()).map(|events| Span { first: body.first_seq(), events });
        if let (Some(level), Ok(span)) = (Level::of_flags(flags), span) {
            self.ledger.tell(origin, level, span, Tally::dropped(OutcomeReason::Forbidden));
        }
    }

    #[cold]
    fn open_entry(&mut self, origin: Origin, entered: &Entered<'_>) -> Option<EntryId> {
        let level = Level::of_flags(entered.flags)?;
        let body = &entered.run.body;
        let span = Span { first: body.first_seq(), events: u32::try_from(body.count()).ok()? };
        self.ledger.open(origin, level, span)
    }

    /// The route cache's name for a tag set.
    #[inline]
    pub(super) fn intern(&mut self, tags: &mut KnownTags) -> TagId {
        if !self.routes.contains(tags.id) {
            tags.id = self.routes.intern(tags.tags(), tags.hash);
        }
        tags.id
    }
}
