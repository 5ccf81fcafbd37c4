//! What many seeds came to: the report as JSON, and in words.

use std::collections::BTreeMap;
use std::fmt;

use millrace_verify::checker::Confirmed;
use serde::Serialize;

use crate::network::Bug;
use crate::report::Report;

/// Version of the JSON report.
pub const SCHEMA: &str = "millrace-sim/1";

/// What many seeds came to.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Seeds that were ordered.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Seeds that were run: fewer than ordered when a bug on purpose was caught.
    pub done: u64,
    /// Seeds in which something was wrong, in order.
    pub failed_seeds: Vec<u64>,
    /// Failed seeds by the checker that found something.
    pub found_by: BTreeMap<&'static str, u64>,
    /// The bug that was put in.
    pub bug: Option<&'static str>,
    /// Virtual time over all seeds, seconds.
    pub virtual_seconds: f64,
    /// Events that were published.
    pub events: u64,
    /// Steps of the simulation.
    pub steps: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Events that applications took.
    pub deliveries: u64,
    /// Events among the published ones that publishers left out, because nobody wanted them.
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
    /// Deliveries that were owed.
    pub expected_deliveries: u64,
    /// Owed deliveries that were missing, with a gap in their place.
    pub excused_by_gap: u64,
    /// Owed deliveries that were missing without a gap.
    pub lost: u64,
    /// Deliveries beyond the first.
    pub duplicated: u64,
    /// Deliveries out of order.
    pub reordered: u64,
    /// What became of events with a confirm level.
    pub confirmed: Confirmed,
    /// Gaps that applications took, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Events that routers dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Sessions of receivers.
    pub receiver_sessions: u64,
    /// The hashes of all runs, mixed: equal when all runs were equal.
    pub hash: String,
    #[serde(skip)]
    mixed: u64,
}

impl Summary {
    /// No seed was run yet.
    #[must_use]
    pub fn new(seeds: u64, first_seed: u64, bug: Option<Bug>) -> Self {
        Self {
            schema: SCHEMA,
            seeds,
            first_seed,
            done: 0,
            failed_seeds: Vec::new(),
            found_by: BTreeMap::new(),
            bug: bug.map(Bug::name),
            virtual_seconds: 0.0,
            events: 0,
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
            expected_deliveries: 0,
            excused_by_gap: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            confirmed: Confirmed::default(),
            gaps: BTreeMap::new(),
            dropped: BTreeMap::new(),
            receiver_sessions: 0,
            hash: String::new(),
            mixed: 0,
        }
    }

    /// Adds a seed; their order does not matter.
    pub fn add(&mut self, report: &Report) {
        self.done += 1;
        if !report.is_clean() {
            let at = self.failed_seeds.partition_point(|&seed| seed < report.seed);
            self.failed_seeds.insert(at, report.seed);
            for checker in report.found_by() {
                *self.found_by.entry(checker).or_default() += 1;
            }
        }
        self.virtual_seconds += std::time::Duration::from_nanos(report.end.0).as_secs_f64();
        self.events += report.verdict.published;
        self.steps += report.steps;
        self.deliveries += report.deliveries;
        self.skips += report.skips;
        self.quenches += report.quenches;
        self.takeovers += report.takeovers;
        self.fenced += report.fenced;
        self.forwarded += report.forwarded;
        self.grouped += report.grouped;
        self.replies += report.replies;
        self.expected_deliveries += report.verdict.expected_deliveries;
        self.excused_by_gap += report.verdict.excused_by_gap;
        self.lost += report.verdict.lost;
        self.duplicated += report.verdict.duplicated;
        self.reordered += report.verdict.reordered;
        self.confirmed += report.confirmed;
        self.receiver_sessions += u64::from(report.receiver_sessions);
        for (total, part) in [
            (&mut self.faults, &report.faults),
            (&mut self.gaps, &report.gaps),
            (&mut self.dropped, &report.dropped),
        ] {
            for (&name, &count) in part {
                *total.entry(name).or_default() += count;
            }
        }
        self.mixed ^= report.hash.rotate_left(u32::try_from(report.seed % 64).unwrap_or(0));
        self.hash = format!("{:016x}", self.mixed);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        let gaps: u64 = self.gaps.values().sum();
        writeln!(
            f,
            "{} seeds, {:.0} virtual seconds, {} steps, {faults} faults",
            self.done, self.virtual_seconds, self.steps
        )?;
        writeln!(
            f,
            "{} events published, {} of them left out for nobody ({} quenches), {} deliveries; of {} owed, {} lost, {} excused by {gaps} gaps; {} duplicated, {} \
             reordered",
            self.events,
            self.skips,
            self.quenches,
            self.deliveries,
            self.expected_deliveries,
            self.lost,
            self.excused_by_gap,
            self.duplicated,
            self.reordered
        )?;
        writeln!(
            f,
            "{} takeovers of standby sets, {} late events fenced; {} events forwarded to other clusters; {} given to \
             members of groups; {} replies",
            self.takeovers, self.fenced, self.forwarded, self.grouped, self.replies
        )?;
        writeln!(f, "{}", self.confirmed)?;
        match (self.bug, self.failed_seeds.first()) {
            (None, None) => write!(f, "clean, hash {}", self.hash),
            (None, Some(_)) => {
                write!(f, "FAILED seeds: {:?}, found by {:?}", self.failed_seeds, self.found_by)
            }
            (Some(bug), None) => write!(f, "the bug {bug} was NOT caught"),
            (Some(bug), Some(seed)) => write!(
                f,
                "the bug {bug} was caught by {:?} in seed {seed}, after {} seeds",
                self.found_by.keys().collect::<Vec<_>>(),
                seed - self.first_seed + 1
            ),
        }
    }
}
