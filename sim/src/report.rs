//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;

use millrace_engine::time::Time;
use millrace_verify::checker::{Confirmed, Finding, Verdict};

use crate::clusters;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::serving;

/// What one seed came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Counters of the checkers.
    pub verdict: Verdict,
    /// What became of events with a confirm level.
    pub confirmed: Confirmed,
    /// What is wrong, the first in words.
    pub findings: Vec<Finding>,
    /// What is wrong, in all.
    pub wrong: u64,
    /// When it ended.
    pub end: Time,
    /// Events of the simulation.
    pub steps: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Events that applications took.
    pub deliveries: u64,
    /// Events that publishers left out, because nobody wanted them.
    pub skips: u64,
    /// Tag sets that publishers were told that nobody wants, each time counted.
    pub quenches: u64,
    /// Times that another publisher of a standby set took over, at receivers.
    pub takeovers: u64,
    /// Events of standby sets that receivers' libraries dropped, because they came too late.
    pub fenced: u64,
    /// Events that links to other clusters have written.
    pub forwarded: u64,
    /// Events that groups have given to members.
    pub grouped: u64,
    /// Replies that who asked was given.
    pub replies: u64,
    /// Gaps that applications took, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Events that routers dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Sessions of receivers.
    pub receiver_sessions: u32,
    /// Hash of all that happened: equal for equal runs.
    pub hash: u64,
    /// Every event, when asked for.
    pub trace: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        scenario: &Scenario,
        record: Record,
        end: Time,
        steps: u64,
        dropped: BTreeMap<&'static str, u64>,
        hash: u64,
        trace: Option<Vec<String>>,
    ) -> Self {
        let timeout_ns = u64::try_from(scenario.confirm_timeout.as_nanos()).unwrap_or(u64::MAX);
        let checked = record.checker.report(end.0, timeout_ns, scenario.has_old_routers);
        let mut findings = record.findings.first.clone();
        findings.extend(checked.findings.first);
        Self {
            seed: scenario.seed,
            verdict: checked.verdict,
            confirmed: checked.confirmed,
            wrong: record.findings.count + checked.findings.count,
            findings,
            end,
            steps,
            faults: scenario.schedule.counts(),
            deliveries: record.deliveries,
            skips: record.skips,
            quenches: record.quenches.count,
            takeovers: record.standby.takeovers,
            fenced: record.fenced,
            forwarded: 0,
            grouped: 0,
            replies: 0,
            receiver_sessions: record.receivers(),
            gaps: record.gaps,
            dropped,
            hash,
            trace: trace.unwrap_or_default(),
        }
    }

    /// The report of a run that panicked.
    #[must_use]
    pub fn panicked(seed: u64, message: String) -> Self {
        Self {
            seed,
            verdict: Verdict::default(),
            confirmed: Confirmed::default(),
            findings: vec![Finding { checker: "panic", what: message }],
            wrong: 1,
            end: Time::ZERO,
            steps: 0,
            faults: BTreeMap::new(),
            deliveries: 0,
            skips: 0,
            quenches: 0,
            takeovers: 0,
            fenced: 0,
            forwarded: 0,
            grouped: 0,
            replies: 0,
            gaps: BTreeMap::new(),
            dropped: BTreeMap::new(),
            receiver_sessions: 0,
            hash: 0,
            trace: Vec::new(),
        }
    }

    /// Adds what the clusters of the seed have come to.
    pub fn add_clusters(&mut self, outcome: clusters::Outcome) {
        self.wrong += outcome.findings.count;
        self.findings.extend(outcome.findings.first);
        self.forwarded += outcome.copies;
        self.steps += outcome.steps;
        self.hash ^= outcome.hash;
    }

    /// Adds what the groups and requests of the seed came to.
    pub fn add_serving(&mut self, outcome: serving::Outcome) {
        self.wrong += outcome.findings.count;
        self.findings.extend(outcome.findings.first);
        self.grouped += outcome.given;
        self.replies += outcome.replies;
        self.steps += outcome.steps;
        self.hash ^= outcome.hash;
    }

    /// Notes whether another run of the same seed was another run.
    pub fn compare(&mut self, other: &Self) {
        if (self.hash, self.steps, self.end) != (other.hash, other.steps, other.end) {
            let what = format!(
                "hash {:016x} after {} steps, then {:016x} after {}",
                self.hash, self.steps, other.hash, other.steps
            );
            self.findings.push(Finding { checker: "replay", what });
            self.wrong += 1;
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.wrong == 0 && self.verdict.is_clean()
    }

    /// The checkers that found something, each once.
    #[must_use]
    pub fn found_by(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.findings.iter().map(|finding| finding.checker).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Confirmed { confirmed, partial, dropped, unknown, gone, judged_pairs, .. } = self.confirmed;
        let Verdict { published, expected_deliveries, delivered, lost, excused_by_gap, .. } = self.verdict;
        write!(
            f,
            "seed {}: {published} published, {expected_deliveries} owed, {delivered} delivered, {lost} lost, {excused_by_gap} \
             excused; {confirmed} confirmed, {partial} partial, {dropped} dropped, {unknown} unknown, {gone} gone, \
             {judged_pairs} pairs judged; {} s, {} steps, hash {:016x}",
            self.seed,
            self.end.0 / 1_000_000_000,
            self.steps,
            self.hash
        )
    }
}
