//! What the named groups of a payload pattern have matched.
//!
//! The automata of [`selector`](crate::selector) say that a pattern is found, and not where. Only
//! for a rule that captures, and only when its patterns were found, the pattern is searched a
//! second time, by a simulation of its graph: linear in payload times states, whatever both are. A
//! pattern that captures has few states, so that this stays cheap.

use regex_automata::nfa::thompson::{self, pikevm};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;

use crate::selector::NEST_MAX;

/// States of a pattern that captures: 4 KiB of payload take some milliseconds at the worst.
const STATES_MAX: usize = 512;

/// Finds the groups of one pattern.
#[derive(Debug)]
pub(super) struct Capturer {
    machine: pikevm::PikeVM,
    /// Its place in [`Memory`].
    place: usize,
}

/// Memory of searches, used again: one for each thread that applies rules.
#[derive(Debug, Default)]
pub struct Memory {
    caches: Vec<Option<pikevm::Cache>>,
    slots: Vec<Option<NonMaxUsize>>,
}

impl Capturer {
    /// For a pattern that selectors take.
    pub(super) fn new(pattern: &str, place: usize) -> Result<Self, String> {
        let machine = pikevm::Builder::new()
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(NEST_MAX))
            .thompson(thompson::Config::new().utf8(false))
            .build(pattern)
            .map_err(|error| error.to_string())?;
        let states = machine.get_nfa().states().len();
        if states > STATES_MAX {
            return Err(format!(
                "the pattern /{pattern}/ has {states} states, and one that captures at most {STATES_MAX}: shorten \
                 its counted repetitions, or capture nothing from it"
            ));
        }
        Ok(Self { machine, place })
    }

    /// The names of its groups, with their numbers.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        let groups = self.machine.get_nfa().group_info();
        groups
            .pattern_names(regex_automata::PatternID::ZERO)
            .enumerate()
            .filter_map(|(number, name)| Some((name?, number)))
    }

    /// Steps that a search of so many bytes may take.
    pub(super) fn work(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.machine.get_nfa().states().len()) / 2
    }

    /// Searches a payload. Gives what the group of a number has matched.
    pub(super) fn search<'p>(
        &self,
        payload: &'p [u8],
        memory: &mut Memory,
        mut give: impl FnMut(usize, Option<&'p [u8]>),
    ) {
        if memory.caches.len() <= self.place {
            memory.caches.resize_with(self.place + 1, || None);
        }
        let cache = memory.caches[self.place].get_or_insert_with(|| self.machine.create_cache());
        let slots = &mut memory.slots;
        slots.clear();
        slots.resize(self.machine.get_nfa().group_info().slot_len(), None);
        self.machine.search_slots(cache, &regex_automata::Input::new(payload), slots);
        for (number, pair) in slots.chunks_exact(2).enumerate() {
            let span = pair[0].zip(pair[1]).and_then(|(from, to)| payload.get(from.get()..to.get()));
            give(number, span);
        }
    }
}

impl Memory {
    /// Forgets what belongs to other rules.
    pub fn clear(&mut self) {
        self.caches.clear();
    }
}
