//! Results: counters for reports, findings for people.

use std::fmt;
use std::ops::AddAssign;

use serde::Serialize;

/// Counted in events (published) or in pairs of event and receiver (all else).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events that were published.
    pub published: u64,
    /// Deliveries that had to happen.
    pub expected_deliveries: u64,
    /// Deliveries that happened, without duplicates and without unexpected ones.
    pub delivered: u64,
    /// Deliveries that had to happen and did not, without a gap that explains it.
    pub lost: u64,
    /// Deliveries beyond the first of an event to a receiver.
    pub duplicated: u64,
    /// Deliveries behind a later event of their tag set.
    pub reordered: u64,
    /// Deliveries whose payload or tag set is not what was published.
    pub corrupted: u64,
    /// Deliveries to a receiver that did not ask for them, or of events that were never published.
    pub unexpected: u64,
    /// Deliveries that had to happen and did not, where a gap says so.
    pub excused_by_gap: u64,
}

impl Verdict {
    /// Whether nothing is wrong. Losses that a gap explains are not wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.reordered == 0
            && self.corrupted == 0
            && self.unexpected == 0
    }
}

/// Sums what several checkers of one workload saw, each of its own receivers. What was published is
/// the same for all.
impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.published = self.published.max(other.published);
        self.expected_deliveries += other.expected_deliveries;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.unexpected += other.unexpected;
        self.excused_by_gap += other.excused_by_gap;
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The checker that found it.
    pub checker: &'static str,
    /// What it is, for people.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.what)
    }
}

/// Most findings that are kept in words: the first say what broke, the rest is counted.
pub const FINDINGS_MAX: usize = 64;

/// Things that are wrong: all counted, the first [`FINDINGS_MAX`] in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// All of them.
    pub count: u64,
    /// The first.
    pub first: Vec<Finding>,
}

impl Findings {
    /// Notes one; `what` is called only for those that are kept in words.
    pub fn add(&mut self, checker: &'static str, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            self.first.push(Finding { checker, what: what() });
        }
    }

    /// Takes what others have found, under the name of one checker.
    pub fn take(&mut self, checker: &'static str, others: Self) {
        self.count += others.count;
        let room = FINDINGS_MAX.saturating_sub(self.first.len());
        let found = others.first.into_iter().take(room);
        self.first.extend(found.map(|finding| Finding { checker, ..finding }));
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}
