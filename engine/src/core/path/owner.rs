//! The owner's stage: which core routes a run, and what it does before the run is copied.
//!
//! A publisher's run goes to the owner of its shard: this core, or a sibling. The owner's steps are
//! one call each, in order, in [`Path::own`]; the first one gives the run its position. With rules
//! on, tags are added then (`ruled.rs`); with history on, the run is kept behind them (`kept.rs`).

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
use crate::transport::ConnKey;

/// Flags that stay with a run on its way.
pub(super) const FORWARDED: u64 = flag::LEVEL_MASK | flag::RESENT;

impl Path {
    /// A publisher's run enters the router on this core.
    #[inline]
    pub(in crate::core) fn enter(&mut self, tags: &mut KnownTags, run: &Entered<'_>) {
        match self.positions.shards.other_owner(tags.hash) {
            None => self.own(tags, run),
            Some(owner) => self.hand_over(owner, tags, run),
        }
    }

    /// Notes a run that is read while publishers are held back for receivers on other cores.
    #[cold]
    pub(in crate::core) fn note_held(&mut self, publisher: PublisherId) {
        if let Some((receiver, blocks)) = self.pacing.holds.get(publisher) {
            self.pacing.crowd.note_held(receiver, blocks);
        }
    }

    /// Notes a run of a peer that is read while siblings ask for publishers to be held back.
    #[cold]
    pub(in crate::core) fn pass_hold_on(&mut self, lane: ConnKey, publisher: PublisherId) {
        let now = self.pacing.crowd.now();
        self.pacing.holds.pass_on(lane, publisher, now);
    }

    /// A run arrives from a sibling core: this core routes it as its owner, or the sibling has
    /// routed it.
    pub(in crate::core) fn enter_from_sibling(&mut self, tags: &mut KnownTags, run: &Entered<'_>) {
        self.metrics.events_from_siblings += run.run.body.count();
        if run.flags & flag::UNROUTED != 0 {
            self.own(tags, run);
        } else {
            self.deliver(tags, run, Scope::Core);
        }
    }

    /// Takes the owner's steps with a run, in order.
    #[inline]
    pub(super) fn own(&mut self, tags: &mut KnownTags, run: &Entered<'_>) {
        let position = self.positions.shards.number(tags.is_internal);
        if self.positions.shards.is_sampled() {
            self.positions.shards.sample(tags.tags(), run.run.body.count());
        }
        if self.positions.is_stepwise {
            self.own_stepwise(tags, run, position);
        } else {
            self.deliver(tags, run, Scope::All);
        }
    }

    /// Hands a run to the sibling that owns it.
    fn hand_over(&mut self, owner: CoreIndex, tags: &mut KnownTags, entered: &Entered<'_>) {
        // The mailbox's table needs a name for the tag set, and the route cache gives it. Even a
        // name that the cache has since given up belongs to no other tag set, so that the cache is
        // asked only once.
        let tag = if tags.id == TagId::default() { self.intern(tags) } else { tags.id };
        let (entry, flags) = self.follow(entered);
        if let Some(entry) = entry {
            // The owner answers by its own timeout, or that of a group.
            self.ledger.prolong(entry);
        }
        let body = &entered.run.body;
        let run = RunOut {
            tag,
            number: None,
            tags: tags.tags(),
            publisher: entered.publisher,
            flags: flags | flag::UNROUTED | u64::from(tags.entry_flags),
            fields: &[],
            body: body.bytes(),
            buffer: None,
            events: body.count(),
            from: entered.from,
            entry,
            place: None,
        };
        let Self { metrics, missed, ledger, locations, .. } = self;
        let mut fates = Fates { metrics, missed, ledger };
        locations.copy(Location::Core(owner), &run, &mut fates);
        fates.end(&run, Tally::NONE);
    }

    /// Opens an entry for a run whose origin asks how it ends. Returns the entry, and the flags
    /// that stay with the run: without an entry they have no level, so that no later core follows
    /// it.
    #[inline]
    pub(super) fn follow(&mut self, entered: &Entered<'_>) -> (Option<EntryId>, u64) {
        let flags = entered.flags & FORWARDED;
        let entry = match entered.origin {
            None => None,
            Some(origin) => self.open_entry(origin, entered),
        };
        (entry, if entry.is_some() { flags } else { flags & !flag::LEVEL_MASK })
    }

    /// Tells the origin of a run that it was dropped.
    pub(in crate::core) fn tell_dropped(
        &mut self,
        origin: Origin,
        flags: u64,
        body: &RunBody<'_>,
        reason: OutcomeReason,
    ) {
        let span = u32::try_from(body.count()).map(|events| Span { first: body.first_seq(), events });
        if let (Some(level), Ok(span)) = (Level::of_flags(flags), span) {
            self.ledger.tell(origin, level, span, Tally::dropped(reason));
        }
    }

    #[cold]
    fn open_entry(&mut self, origin: Origin, entered: &Entered<'_>) -> Option<EntryId> {
        // The pieces of a run that rules have cut share its entry.
        if self.positions.ruling.entry.is_some() {
            return self.positions.ruling.entry;
        }
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
