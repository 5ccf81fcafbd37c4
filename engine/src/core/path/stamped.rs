//! Runs of standby publishers: each carries its set and generation, by which zombies are fenced
//! where a run enters, at its owner, and where it comes from a peer.

use millrace_proto::data::{HopHeader, flag, hop_field};
use millrace_proto::limits::SET_BYTES_MAX;

use super::entered::{Entered, Scope};
use super::leg::Carried;
use super::reader::KnownTags;
use super::state::Path;
use crate::core::mail::Mail;
use crate::core::metrics::DropReason;
use crate::history::Place;
use crate::matching::Location;
use crate::message::ToControl;
use crate::standby::{SetWord, Verdict};

impl Path {
    /// Judges a publisher's run by the set that it names, if it names one. Returns that field.
    ///
    /// # Errors
    /// Why the run is dropped: its publisher does not hold the set, or the field cannot be read.
    pub(super) fn judge_entering<'a>(
        &mut self,
        entered: &Entered<'_>,
        hop: &HopHeader<'a>,
    ) -> Result<Option<Carried<'a>>, DropReason> {
        let Some(value) = hop.field(hop_field::SET) else { return Ok(None) };
        let set = match hop.standby_set() {
            Ok(Some(set)) if value.len() <= SET_BYTES_MAX => set,
            _ => return Err(DropReason::TooLarge),
        };
        let events = entered.run.body.count();
        let numbered = set.source_seqs().count() as u64;
        if numbered != 0 && numbered != events {
            return Err(DropReason::TooLarge);
        }
        let verdict = self.clients.fences.enter(&set, entered.publisher.publisher, events);
        self.clients.members.want_tick();
        match verdict {
            Verdict::Pass => Ok(Some(Carried { field: hop_field::SET, value })),
            Verdict::Fenced => Err(DropReason::Fenced),
        }
    }

    /// A publisher's run of a set enters the router on this core: its owner routes it.
    pub(super) fn enter_stamped(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, stamp: &Carried<'_>) {
        match self.positions.shards.other_owner(tags.hash) {
            None => self.own_stamped(tags, entered, stamp),
            Some(owner) => self.copy_apart(tags, entered, Location::Core(owner), stamp, flag::UNROUTED),
        }
    }

    /// A run that comes from a sibling or a peer may be of a set. Says whether it is.
    #[cold]
    pub(in crate::core) fn take_stamped(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
        scope: Scope,
    ) -> bool {
        let (Some(value), Ok(Some(set))) = (hop.field(hop_field::SET), hop.standby_set()) else {
            return false;
        };
        let events = entered.run.body.count();
        if scope == Scope::Core {
            self.metrics.events_from_siblings += events;
        }
        if self.clients.fences.pass(&set, entered.publisher.publisher, events) == Verdict::Fenced {
            self.clients.members.want_tick();
            self.miss(entered, DropReason::Fenced);
            return true;
        }
        let stamp = Carried { field: hop_field::SET, value };
        if scope == Scope::Core && entered.flags & flag::UNROUTED != 0 {
            self.own_stamped(tags, entered, &stamp);
        } else {
            self.deliver_carried(tags, entered, &stamp, scope);
        }
        true
    }

    /// Tells control what was counted of sets.
    pub(in crate::core) fn tell_counts(&mut self, mail: &mut Mail) {
        if self.clients.fences.has_counts() {
            mail.tell(ToControl::Sets(SetWord::Counts(self.clients.fences.take_counts())));
        }
    }

    /// Takes the owner's steps with a run of a set, in order.
    fn own_stamped(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, stamp: &Carried<'_>) {
        let position = self.positions.shards.number(false);
        if self.positions.shards.is_sampled() {
            self.positions.shards.sample(tags.tags(), entered.run.body.count());
        }
        if self.positions.ring.is_on() {
            let place = Place { source: self.positions.own.clone(), position };
            self.deliver_carried(tags, &Entered { place: Some(&place), ..*entered }, stamp, Scope::All);
            self.keep(tags, entered, position);
        } else {
            self.deliver_carried(tags, entered, stamp, Scope::All);
        }
    }
}
