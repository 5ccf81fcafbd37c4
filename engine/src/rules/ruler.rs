//! One core's rules: applies them within the turn's budget, and counts.

use std::sync::Arc;

use millrace_proto::TagSetRef;
use millrace_proto::rule::{Added, Candidates, Memory};

use super::distinct::Distinct;
use super::picture::{LastFailure, RulePicture};
use super::set::RuleSet;
use crate::payload::{Plan, Progress};
use crate::time::Time;

/// Bytes of an event's tags in what is said of a failure.
const SHOWN_MAX: usize = 300;

/// One core's rules.
#[derive(Debug, Default)]
pub struct Ruler {
    set: Arc<RuleSet>,
    /// What was decided for a tag set holds within one epoch.
    epoch: u32,
    /// Steps that are left in this turn; below zero what later turns pay for.
    left: i64,
    distinct: Distinct,
    counts: Vec<RulePicture>,
    /// The plan for the payload rules that were looked for last.
    plan: Plan,
    planned: u64,
    progress: Progress,
    memory: Memory,
    /// Events that payload rules were not applied to, and that nobody was told of.
    skipped: u64,
}

impl Ruler {
    /// Replaces the rules. Says whether they are others than before.
    pub fn set(&mut self, set: Arc<RuleSet>) -> bool {
        if set.rules.version() == self.set.rules.version() && set.limits == self.set.limits {
            return false;
        }
        let before = std::mem::take(&mut self.counts);
        self.counts = set
            .rules
            .all()
            .iter()
            .map(|rule| {
                let known =
                    before.iter().find(|count| count.name == rule.name()).cloned().unwrap_or_default();
                RulePicture {
                    name: rule.name().to_owned(),
                    when: rule.when().text().to_owned(),
                    keys: rule.keys().map(str::to_owned).collect(),
                    by_payload: !rule.patterns().is_empty(),
                    ..known
                }
            })
            .collect();
        let (epoch, skipped) = (self.epoch.wrapping_add(1), self.skipped);
        let counts = std::mem::take(&mut self.counts);
        *self =
            Self { left: steps(set.limits.work_per_turn), set, epoch, counts, skipped, ..Self::default() };
        true
    }

    /// Whether there are rules.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.set.rules.is_empty()
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// What was decided for a tag set holds while this is the same.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The rules that may be for events with these tags.
    #[must_use]
    pub fn candidates(&self, tags: TagSetRef<'_>) -> Candidates {
        self.set.rules.candidates(tags)
    }

    /// The part of a payload that rules look at.
    #[must_use]
    pub fn seen<'p>(&self, payload: &'p [u8]) -> &'p [u8] {
        &payload[..payload.len().min(self.set.limits.payload_bytes)]
    }

    /// Whether rules of a mask capture from payloads, so that equal rules may add different tags.
    #[must_use]
    pub fn captures_payload(&self, rules: u64) -> bool {
        self.each(rules).any(|(_, rule)| rule.captures_payload())
    }

    /// Which of these payload rules are for an event; none when the turn has no more time to find
    /// out, which is counted.
    pub fn look(&mut self, payload: &[u8], rules: u64) -> Option<u64> {
        if self.left <= 0 {
            self.skipped += 1;
            for index in bits(rules) {
                self.counts[index].skipped += 1;
            }
            return None;
        }
        if self.planned != rules {
            self.set.plan(rules, &mut self.plan);
            self.planned = rules;
        }
        let payload = self.seen(payload);
        let (found, work) = self.progress.look(&self.plan, payload);
        let found = found.iter().fold(0_u64, |mask, &rule| mask | 1 << rule);
        self.left -= steps(work);
        let share = work as u64 / u64::from(rules.count_ones().max(1));
        for index in bits(rules) {
            self.counts[index].steps += share;
        }
        for index in bits(found) {
            let work = self.set.rules.all()[index].capture_work(payload.len());
            self.left -= steps(work);
            self.counts[index].steps += work as u64;
        }
        Some(found)
    }

    /// What rules, a bit each, add to an event.
    pub fn apply(&mut self, tags: TagSetRef<'_>, payload: &[u8], rules: u64) -> Added {
        let Self { set, distinct, memory, counts, .. } = self;
        let most = set.limits.distinct_max;
        let payload = &payload[..payload.len().min(set.limits.payload_bytes)];
        let added = set.rules.apply(tags, payload, rules, memory, |rule, place, value| {
            distinct.admits((rule, place), value, most)
        });
        for failure in &added.failures {
            let mut tags = tags.to_string();
            tags.truncate(tags.floor_char_boundary(SHOWN_MAX));
            let (key, reason) = (failure.key.clone(), failure.reason.clone());
            counts[failure.rule].last_failure = Some(LastFailure { tags, key, reason });
        }
        added
    }

    /// Counts events to which rules were applied.
    pub fn count(&mut self, added: &Added, events: u64) {
        bits(added.hits).for_each(|rule| self.counts[rule].hits += events);
        if added.conflicts | added.overflows != 0 || !added.failures.is_empty() {
            self.count_troubles(added, events);
        }
    }

    /// Counts what rules could not add.
    #[cold]
    fn count_troubles(&mut self, added: &Added, events: u64) {
        bits(added.conflicts).for_each(|rule| self.counts[rule].conflicts += events);
        bits(added.overflows).for_each(|rule| self.counts[rule].overflowed += events);
        let mut failed: Vec<usize> = added.failures.iter().map(|failure| failure.rule).collect();
        failed.dedup();
        failed.into_iter().for_each(|rule| self.counts[rule].failed += events);
    }

    /// Ends a turn: the next one has its budget. Returns the events that payload rules were not
    /// applied to, which whoever selects by their tags is to be told of.
    pub fn end_turn(&mut self, now: Time) -> u64 {
        let budget = steps(self.set.limits.work_per_turn);
        self.left = budget.min(self.left.saturating_add(budget));
        if self.distinct.begin_turn(now) {
            self.epoch = self.epoch.wrapping_add(1);
        }
        std::mem::take(&mut self.skipped)
    }

    /// Whether events may lack a tag of this key for want of time. A router without rules does not
    /// know, and says so of every key.
    #[must_use]
    pub fn may_lack(&self, key: &str) -> bool {
        !self.is_on() || self.set.may_lack(key)
    }

    /// What people are shown of the rules.
    #[must_use]
    pub fn pictures(&self) -> &[RulePicture] {
        &self.counts
    }

    fn each(&self, rules: u64) -> impl Iterator<Item = (usize, &millrace_proto::rule::Rule)> {
        bits(rules).filter_map(|index| Some((index, self.set.rules.all().get(index)?)))
    }
}

/// The places of the bits of a mask.
fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(next)
    })
}

fn steps(work: usize) -> i64 {
    i64::try_from(work).unwrap_or(i64::MAX)
}
