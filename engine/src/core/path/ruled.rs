//! The owner's stage with rules on: a run is routed with the tags that rules add to its own.
//!
//! ```text
//! own ─► own_stepwise ─► own_ruled ─┬─ no rule, or rules by tags alone ─► own_plain, with the effective set
//!                                   └─ rules by payload ─► own_cut ─► a piece for each stretch of events
//! ```
//!
//! What rules by tags add is decided once for each tag set, and kept by its place in the route
//! cache; all that follows knows the effective set alone, which has a route of its own. A run of
//! which rules by payload make several sets is cut, and each piece has its own position. The
//! publisher hears of the whole run: its pieces share one entry of the ledger.

use millrace_proto::data::flag;
use millrace_proto::run::RunBody;

use super::entered::{Entered, Scope};
use super::reader::{KnownTags, RunIn};
use super::ruling::{Decided, Outcome, Scratch};
use super::state::Path;

impl Path {
    /// The owner's steps that most routers do without.
    #[inline(never)]
    pub(super) fn own_stepwise(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, position: u64) {
        let flags = if entered.from.is_some() { entered.flags } else { tags.entry_flags.into() };
        if self.positions.ruling.ruler.is_on() && flags & flag::UNRULED == 0 {
            self.own_ruled(tags, entered, position);
        } else {
            self.own_plain(tags, entered, position);
        }
    }

    fn own_plain(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, position: u64) {
        if self.positions.ring.is_on() {
            self.own_kept(tags, entered, position);
        } else {
            self.deliver(tags, entered, Scope::All);
        }
    }

    fn own_ruled(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, position: u64) {
        let id = self.intern(tags);
        self.routes.keep_warm(id);
        let Some(mut decided) = self.positions.ruling.take(id, tags.tags()) else {
            return self.own_plain(tags, entered, position);
        };
        if decided.by_payload == 0 {
            self.own_with(&mut decided.base, tags, entered, position);
        } else {
            self.own_cut(&mut decided, tags, entered, position);
        }
        self.positions.ruling.put_back(id, decided);
    }

    /// Routes a run with what is added to it.
    fn own_with(
        &mut self,
        outcome: &mut Outcome,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        position: u64,
    ) {
        self.positions.ruling.ruler.count(&outcome.added, entered.run.body.count());
        let Some(effective) = &mut outcome.tags else {
            return self.own_plain(tags, entered, position);
        };
        // Lent, and not copied: most runs are for nobody who reads it.
        std::mem::swap(&mut self.locations.added, &mut outcome.field);
        self.own_plain(effective, entered, position);
        std::mem::swap(&mut self.locations.added, &mut outcome.field);
    }

    /// Looks at the payloads of a run, and routes each stretch of events that get the same tags.
    fn own_cut(&mut self, decided: &mut Decided, tags: &mut KnownTags, entered: &Entered<'_>, position: u64) {
        let mut scratch = std::mem::take(&mut self.positions.ruling.scratch);
        let Scratch { pieces, captured, builder, body: bytes } = &mut scratch;
        pieces.clear();
        captured.clear();
        decided.trim();
        let body = &entered.run.body;
        for event in body.events() {
            let choice = self.positions.ruling.choose(tags.tags(), decided, event.payload, captured);
            match pieces.last_mut() {
                Some((last, events)) if *last == choice => *events += 1,
                _ => pieces.push((choice, 1)),
            }
        }
        if let [(choice, _)] = pieces[..] {
            if let Some(outcome) = decided.outcome(choice, captured) {
                self.own_with(outcome, tags, entered, position);
            }
            self.positions.ruling.scratch = scratch;
            return;
        }
        let (entry, _) = self.follow(entered);
        self.positions.ruling.entry = entry;
        let entered = &Entered { origin: entered.origin.filter(|_| entry.is_some()), ..*entered };
        let (mut events, mut position) = (body.events(), Some(position));
        for &(choice, count) in &*pieces {
            for event in events.by_ref().take(count) {
                if builder.count() == 0 {
                    builder.start(event.seq, body.floor(), body.base_time_ns());
                }
                builder.push(event.time_ns, event.payload);
            }
            bytes.clear();
            builder.finish(bytes);
            let position = position.take().unwrap_or_else(|| self.positions.shards.number(tags.is_internal));
            // A body that was written here.
            if let (Ok(body), Some(outcome)) = (RunBody::parse_head(bytes), decided.outcome(choice, captured))
            {
                let run = RunIn { body, buffer: None };
                self.own_with(outcome, tags, &Entered { run: &run, ..*entered }, position);
            }
        }
        self.positions.ruling.entry = None;
        self.positions.ruling.scratch = scratch;
    }
}
