//! What has come: bounded, whatever the events are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_client::Gap;
use millrace_client::receiver::BatchEvent;
use serde::Serialize;

/// Keys whose values are counted: a tag set has at most 32.
const KEYS_MAX: usize = 64;
/// Values of one key that are counted; events with others are counted together.
const VALUES_MAX: usize = 1_000;
/// Tag sets and publishers that are told apart, each.
const DISTINCT_MAX: usize = 10_000;
/// Values of each key that the summary has.
const VALUES_SHOWN: usize = 5;

/// Counts of one key.
#[derive(Debug, Default)]
struct Values {
    events: u64,
    by_value: BTreeMap<Box<str>, u64>,
}

/// Since the begin, or since the last line.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Events that gaps stand for.
    pub(super) missed: u64,
    pub(super) gaps: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.missed += other.missed;
        self.gaps += other.gaps;
    }
}

/// Everything that has come.
#[derive(Debug, Default)]
pub(super) struct Tally {
    all: Counts,
    since_line: Counts,
    keys: BTreeMap<Box<str>, Values>,
    tag_sets: BTreeSet<u64>,
    publishers: BTreeSet<u128>,
}

/// A key in the summary.
#[derive(Debug, Serialize)]
pub(super) struct Key {
    pub(super) key: String,
    /// Events that have it.
    pub(super) events: u64,
    /// How many values were told apart.
    pub(super) distinct: usize,
    /// Those of most events.
    pub(super) values: Vec<(String, u64)>,
}

/// What is said at the end.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) seconds: f64,
    pub(super) tag_sets: usize,
    pub(super) publishers: usize,
    /// More than could be told apart came: the two numbers above are the least.
    pub(super) is_cut: bool,
    pub(super) keys: Vec<Key>,
}

impl Tally {
    /// Counts an event.
    pub(super) fn event(&mut self, event: &BatchEvent<'_>) {
        self.since_line.events += 1;
        self.since_line.bytes += event.payload.len() as u64;
        note(&mut self.tag_sets, event.tags.borrow().hash());
        note(&mut self.publishers, event.id.publisher.publisher.0);
        for (key, value) in event.tags.borrow().iter() {
            if !self.keys.contains_key(key) {
                if self.keys.len() >= KEYS_MAX {
                    continue;
                }
                self.keys.insert(key.into(), Values::default());
            }
            if let Some(values) = self.keys.get_mut(key) {
                values.add(value);
            }
        }
    }

    /// Counts a gap.
    pub(super) fn gap(&mut self, gap: &Gap) {
        self.since_line.gaps += 1;
        self.since_line.missed += gap.events;
    }

    /// Events so far.
    pub(super) const fn events(&self) -> u64 {
        self.all.events + self.since_line.events
    }

    /// What has come since the last call.
    pub(super) fn line(&mut self) -> Counts {
        let line = std::mem::take(&mut self.since_line);
        self.all.add(line);
        line
    }

    /// What is said at the end.
    pub(super) fn summary(mut self, took: Duration) -> Summary {
        self.line();
        let mut keys: Vec<Key> =
            self.keys.into_iter().map(|(key, values)| values.shown(key.into())).collect();
        keys.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.key.cmp(&b.key)));
        Summary {
            counts: self.all,
            seconds: took.as_secs_f64(),
            tag_sets: self.tag_sets.len(),
            publishers: self.publishers.len(),
            is_cut: self.tag_sets.len() >= DISTINCT_MAX || self.publishers.len() >= DISTINCT_MAX,
            keys,
        }
    }
}

impl Values {
    fn add(&mut self, value: &str) {
        self.events += 1;
        if let Some(count) = self.by_value.get_mut(value) {
            *count += 1;
        } else if self.by_value.len() < VALUES_MAX {
            self.by_value.insert(value.into(), 1);
        }
    }

    fn shown(self, key: String) -> Key {
        let distinct = self.by_value.len();
        let mut values: Vec<(String, u64)> =
            self.by_value.into_iter().map(|(value, count)| (value.into(), count)).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values.truncate(VALUES_SHOWN);
        Key { key, events: self.events, distinct, values }
    }
}

fn note<T: Ord>(seen: &mut BTreeSet<T>, one: T) {
    if seen.len() < DISTINCT_MAX {
        seen.insert(one);
    }
}
