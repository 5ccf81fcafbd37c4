//! Rules that were read, and how they are applied to an event.

use std::sync::Arc;

use super::bounds::OVERFLOW;
use super::capture::{Capturer, Memory};
use super::template::{Template, Unmade};
use crate::selector::{Pattern, PayloadMatcher, Selector};
use crate::tag::{TagSet, TagSetRef};

/// One rule.
#[derive(Debug)]
pub struct Rule {
    pub(super) name: String,
    pub(super) when: Selector,
    /// Its payload patterns, all of which must be found; none for a rule by tags alone.
    pub(super) payload: Option<PayloadMatcher>,
    /// Patterns of which it captures groups.
    pub(super) capturers: Vec<Capturer>,
    /// Its groups: which pattern among `capturers`, and the group's number there.
    pub(super) groups: Vec<(usize, usize)>,
    /// Keys and values, by key.
    pub(super) sets: Vec<(String, Template)>,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which events it is for.
    #[must_use]
    pub const fn when(&self) -> &Selector {
        &self.when
    }

    /// The keys that it sets.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.sets.iter().map(|(key, _)| key.as_str())
    }

    /// Its payload patterns; none for a rule by tags alone.
    #[must_use]
    pub fn patterns(&self) -> &[Arc<Pattern>] {
        self.payload.as_ref().map_or(&[], PayloadMatcher::patterns)
    }

    /// Whether what it adds depends on the payload beyond whether its patterns are found.
    #[must_use]
    pub const fn captures_payload(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Steps that capturing from so many bytes may take.
    #[must_use]
    pub fn capture_work(&self, bytes: usize) -> usize {
        self.capturers.iter().map(|capturer| capturer.work(bytes)).sum()
    }

    /// What its groups have matched.
    fn captured<'p>(&self, payload: &'p [u8], memory: &mut Memory) -> Vec<Option<&'p [u8]>> {
        let mut captured = vec![None; self.groups.len()];
        for (pattern, capturer) in self.capturers.iter().enumerate() {
            capturer.search(payload, memory, |number, matched| {
                let place = self.groups.iter().position(|&group| group == (pattern, number));
                if let Some(place) = place {
                    captured[place] = matched;
                }
            });
        }
        captured
    }
}

/// The rules of one router, in their order.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) version: u64,
}

/// The rules that may be for an event, by its tags: bit *n* for rule *n*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidates {
    /// Rules by tags alone: these are for it.
    pub by_tags: u64,
    /// Rules whose payload patterns have the last word.
    pub by_payload: u64,
}

/// What rules make of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Added {
    /// The tags that were added, and the published ones with them; none when nothing was added.
    pub tags: Option<(TagSet, TagSet)>,
    /// Rules that were for the event, a bit each.
    pub hits: u64,
    /// Rules that set a key to another value than one that was there, a bit each.
    pub conflicts: u64,
    /// Rules for whose values [`OVERFLOW`] stands, a bit each.
    pub overflows: u64,
    /// Tags that could not be made.
    pub failures: Vec<Failure>,
}

/// A tag that a rule could not add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The rule's place.
    pub rule: usize,
    /// The key that it sets.
    pub key: String,
    /// Why not.
    pub reason: String,
}

impl Rules {
    /// Identifies these rules: equal for equal rules in equal order, 0 for none, below 2^62.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that may be for events with these tags.
    #[must_use]
    pub fn candidates(&self, tags: TagSetRef<'_>) -> Candidates {
        let mut candidates = Candidates::default();
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.when.matches_tags(tags) {
                let mask =
                    if rule.payload.is_none() { &mut candidates.by_tags } else { &mut candidates.by_payload };
                *mask |= 1 << index;
            }
        }
        candidates
    }

    /// Whether the payload of events with these tags may decide which tags they get, so that nobody
    /// can tell from the published tags alone who wants them.
    #[must_use]
    pub fn may_ask_payload(&self, tags: TagSetRef<'_>) -> bool {
        self.rules.iter().any(|rule| rule.payload.is_some() && rule.when.matches_tags(tags))
    }

    /// The rules among `candidates` whose payload patterns are all found, a bit each. Costs a step
    /// per byte and pattern; routers, which bound that, look for all patterns together.
    #[must_use]
    pub fn found_in(&self, payload: &[u8], candidates: u64) -> u64 {
        let is_found = |&(index, rule): &(usize, &Rule)| {
            candidates >> index & 1 == 1
                && rule.payload.as_ref().is_some_and(|patterns| patterns.matches(payload))
        };
        self.rules.iter().enumerate().filter(is_found).fold(0, |found, (index, _)| found | 1 << index)
    }

    /// Applies the rules of `matched` (a bit each) to an event. `admits` says of each captured
    /// value, with the rule's place and the key's place in it, whether it may be used; else
    /// [`OVERFLOW`] stands for it.
    #[must_use]
    pub fn apply(
        &self,
        tags: TagSetRef<'_>,
        payload: &[u8],
        matched: u64,
        memory: &mut Memory,
        mut admits: impl FnMut(usize, usize, &str) -> bool,
    ) -> Added {
        let mut added = Added { hits: matched, ..Added::default() };
        let mut values: Vec<(usize, &str, String)> = Vec::new();
        for (index, rule) in self.rules.iter().enumerate().filter(|(index, _)| matched >> index & 1 == 1) {
            let groups = rule.captured(payload, memory);
            for (place, (key, template)) in rule.sets.iter().enumerate() {
                let value = match template.make(tags, &groups) {
                    Ok(value) => value,
                    Err(Unmade::TooLong) => {
                        added.overflows |= 1 << index;
                        OVERFLOW.to_owned()
                    }
                    Err(unmade) => {
                        added.fail(index, key, unmade.reason());
                        continue;
                    }
                };
                let there = value_of(tags, key).map(<[u8]>::to_vec).or_else(|| {
                    let other = values.iter().find(|(_, other, _)| other == key);
                    other.map(|(.., value)| value.clone().into_bytes())
                });
                if let Some(there) = there {
                    added.conflicts |= u64::from(there != value.as_bytes()) << index;
                    continue;
                }
                if TagSet::new([(key, &value)]).is_err() {
                    added.fail(index, key, "the value has a control character, or is too long for a tag");
                } else if template.has_captures() && value != OVERFLOW && !admits(index, place, &value) {
                    added.overflows |= 1 << index;
                    values.push((index, key, OVERFLOW.to_owned()));
                } else {
                    values.push((index, key, value));
                }
            }
        }
        added.put(tags, values);
        added
    }
}

impl Added {
    fn fail(&mut self, rule: usize, key: &str, reason: &str) {
        self.failures.push(Failure { rule, key: key.to_owned(), reason: reason.to_owned() });
    }

    /// Puts values beside published tags, as many as a set has room for.
    fn put(&mut self, tags: TagSetRef<'_>, mut values: Vec<(usize, &str, String)>) {
        while !values.is_empty() {
            let new = || values.iter().map(|(_, key, value)| (*key, value.as_str()));
            if let (Ok(added), Ok(effective)) = (TagSet::new(new()), TagSet::new(tags.iter().chain(new()))) {
                self.tags = Some((added, effective));
                return;
            }
            if let Some((rule, key, _)) = values.pop() {
                self.fail(rule, key, "the event has as many tags as a set may have");
            }
        }
    }
}

fn value_of<'t>(tags: TagSetRef<'t>, key: &str) -> Option<&'t [u8]> {
    tags.iter_bytes().find(|&(other, _)| other == key.as_bytes()).map(|(_, value)| value)
}
