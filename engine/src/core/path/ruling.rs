//! What tag rules have decided on this core: for each tag set once, and for payloads event by
//! event.

use millrace_proto::TagSetRef;
use millrace_proto::data::optional;
use millrace_proto::rule::Added;
use millrace_proto::run::RunBuilder;

use super::reader::KnownTags;
use crate::ledger::EntryId;
use crate::routes::TagId;
use crate::rules::Ruler;

/// What payload rules add to one tag set is kept for so many choices of rules before it is decided
/// anew: most payloads meet none of the rules, or one.
const CHOICES_KEPT: usize = 16;

/// This core's rules, and what was decided by them.
#[derive(Debug, Default)]
pub(in crate::core) struct Ruling {
    pub(in crate::core) ruler: Ruler,
    /// By place in the route cache, which bounds it.
    decided: Vec<Slot>,
    /// The entry of the run that is being cut.
    pub(super) entry: Option<EntryId>,
    pub(super) scratch: Scratch,
}

/// Memory that each cut run uses again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Events in order: what is added to them, and how many there are.
    pub(super) pieces: Vec<(Choice, usize)>,
    /// What was captured from payloads of this run.
    pub(super) captured: Vec<Outcome>,
    pub(super) builder: RunBuilder,
    pub(super) body: Vec<u8>,
}

/// What was decided for the tag set at one place of the route cache.
#[derive(Debug, Default)]
struct Slot {
    id: TagId,
    epoch: u32,
    /// None: no rule is for it.
    decided: Option<Box<Decided>>,
}

#[derive(Debug)]
pub(super) struct Decided {
    by_tags: u64,
    pub(super) by_payload: u64,
    /// What rules by tags add.
    pub(super) base: Outcome,
    /// What is added when rules by payload are for an event, too, by which; at most
    /// [`CHOICES_KEPT`], and those of one run.
    choices: Vec<(u64, Outcome)>,
}

/// What is added to an event.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What is counted.
    pub(super) added: Added,
    /// The effective set; none when nothing is added.
    pub(super) tags: Option<KnownTags>,
    /// Hop field 9.
    pub(super) field: Vec<u8>,
}

/// Which outcome is an event's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Base,
    Kept(usize),
    Captured(usize),
}

impl Outcome {
    fn new(mut added: Added, version: u64) -> Self {
        let Some((new, effective)) = added.tags.take() else {
            return Self { added, tags: None, field: Vec::new() };
        };
        let mut field = Vec::new();
        optional::put_added_tags(&mut field, version, new.borrow());
        Self { added, tags: Some(KnownTags::effective(effective.borrow())), field }
    }
}

impl Decided {
    /// Forgets choices beyond those that are kept from run to run.
    pub(super) fn trim(&mut self) {
        if self.choices.len() > CHOICES_KEPT {
            self.choices.clear();
        }
    }

    /// What is added by a choice.
    pub(super) fn outcome<'a>(
        &'a mut self,
        choice: Choice,
        captured: &'a mut [Outcome],
    ) -> Option<&'a mut Outcome> {
        match choice {
            Choice::Base => Some(&mut self.base),
            Choice::Kept(at) => self.choices.get_mut(at).map(|(_, outcome)| outcome),
            Choice::Captured(at) => captured.get_mut(at),
        }
    }
}

impl Ruling {
    /// Takes what was decided for a tag set, or decides it; none when no rule is for it.
    pub(super) fn take(&mut self, id: TagId, tags: TagSetRef<'_>) -> Option<Box<Decided>> {
        let place = id.place();
        if self.decided.len() <= place {
            self.decided.resize_with(place + 1, Slot::default);
        }
        let slot = &mut self.decided[place];
        if slot.id == id && slot.epoch == self.ruler.epoch() {
            return slot.decided.take();
        }
        (slot.id, slot.epoch, slot.decided) = (id, self.ruler.epoch(), None);
        let candidates = self.ruler.candidates(tags);
        if candidates.by_tags | candidates.by_payload == 0 {
            return None;
        }
        let added = self.ruler.apply(tags, &[], candidates.by_tags);
        Some(Box::new(Decided {
            by_tags: candidates.by_tags,
            by_payload: candidates.by_payload,
            base: Outcome::new(added, self.ruler.rules().rules.version()),
            choices: Vec::new(),
        }))
    }

    pub(super) fn put_back(&mut self, id: TagId, decided: Box<Decided>) {
        if let Some(slot) = self.decided.get_mut(id.place()).filter(|slot| slot.id == id) {
            slot.decided = Some(decided);
        }
    }

    /// The effective set of a tag set, if rules by tags alone have decided it.
    pub(super) fn effective(&self, id: TagId) -> Option<TagId> {
        let slot = self.decided.get(id.place()).filter(|slot| slot.id == id)?;
        let decided = slot.decided.as_ref().filter(|decided| decided.by_payload == 0)?;
        decided.base.tags.as_ref().map(|tags| tags.id).filter(|_| slot.epoch == self.ruler.epoch())
    }

    /// Decides what is added to one event.
    pub(super) fn choose(
        &mut self,
        tags: TagSetRef<'_>,
        decided: &mut Decided,
        payload: &[u8],
        captured: &mut Vec<Outcome>,
    ) -> Choice {
        let found = self.ruler.look(payload, decided.by_payload).unwrap_or(0);
        if found == 0 {
            return Choice::Base;
        }
        let captures = self.ruler.captures_payload(found);
        if !captures && let Some(at) = decided.choices.iter().position(|&(rules, _)| rules == found) {
            return Choice::Kept(at);
        }
        let added = self.ruler.apply(tags, payload, decided.by_tags | found);
        let is_same = |other: &Outcome| {
            let other_tags = other.tags.as_ref().map(KnownTags::tags);
            other.added == Added { tags: None, ..added.clone() }
                && other_tags == added.tags.as_ref().map(|(_, effective)| effective.borrow())
        };
        if captures && let Some(at) = captured.iter().rposition(is_same) {
            return Choice::Captured(at);
        }
        let outcome = Outcome::new(added, self.ruler.rules().rules.version());
        if captures {
            captured.push(outcome);
            Choice::Captured(captured.len() - 1)
        } else {
            decided.choices.push((found, outcome));
            Choice::Kept(decided.choices.len() - 1)
        }
    }
}
