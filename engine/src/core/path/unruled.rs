//! Events that payload rules were not applied to, because a turn had no more time: receivers whose
//! selectors name a key that such a rule sets are told, on this core, on its siblings and at peers.

use millrace_proto::data::{Gap, GapReason, HopHeader};

use super::state::Path;
use crate::time::Time;

impl Path {
    /// Whether this core applies rules.
    pub(in crate::core) fn has_rules(&self) -> bool {
        self.positions.ruling.ruler.is_on()
    }

    /// Ends the turn of rules.
    pub(in crate::core) fn end_ruled_turn(&mut self, now: Time) {
        let events = self.positions.ruling.ruler.end_turn(now);
        if events > 0 {
            self.tell_unruled(events);
        }
    }

    /// A peer has added tags to a run, by rules of this version: other rules than this router's are
    /// counted, because clients of the two then see different tags.
    pub(in crate::core) fn note_rules_of(&mut self, hop: &HopHeader<'_>, events: u64) {
        if let Ok(Some((version, _))) = hop.added_tags()
            && version != self.positions.ruling.ruler.rules().rules.version()
        {
            self.metrics.rules_mixed += events;
        }
    }

    #[cold]
    fn tell_unruled(&mut self, events: u64) {
        let gap = Gap { reason: GapReason::Rules, events, router: None };
        self.gap_of_rules(&gap);
        self.locations.gap_to_peers(&gap);
        self.locations.gap_to_siblings(&Gap { router: Some(self.clients.router), ..gap });
    }

    /// Puts a gap of rules into the streams of receivers that may miss a tag. Which keys these are
    /// this router's own rules say; without rules it is told to all.
    #[cold]
    pub(in crate::core) fn gap_of_rules(&mut self, gap: &Gap) {
        let ruler = &self.positions.ruling.ruler;
        self.receivers.gap_to_those(gap, |receiver| {
            let mut keys = receiver
                .selectors
                .filed()
                .flat_map(|selector| selector.requirements().map(|requirement| requirement.key));
            keys.any(|key| ruler.may_lack(key))
        });
    }
}
