//! What makes a run fail.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::run::RunResult;

/// Something that makes a run fail, unless it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// Events that never arrived.
    Lost,
    /// Events that had not arrived when waiting for them ended, while something still moved:
    /// whether they are lost is not known.
    Unsettled,
    /// Events that arrived twice.
    Duplicated,
    /// Events that arrived behind later ones of their tag set.
    Reordered,
    /// Payloads or tags that are not what was published.
    Corrupted,
    /// Events that nobody had asked for.
    Unexpected,
    /// Connections that broke.
    Disconnected,
    /// The wanted rate was not held.
    Rate,
    /// A disturbance took longer than it may: churn that was not effective, a storm that did not
    /// settle, a reload that was refused.
    Disturbed,
    /// The others were slower beside junk handshakes or reloads than they may be: the median of
    /// the rounds, against the undisturbed phases.
    Slowed,
}

impl Fault {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unsettled => "unsettled",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Corrupted => "corrupted",
            Self::Unexpected => "unexpected",
            Self::Disconnected => "disconnected",
            Self::Rate => "rate",
            Self::Disturbed => "disturbed",
            Self::Slowed => "slowed",
        }
    }
}

/// What was wrong in the attempt that counts and in the disturbed phases, with how often. A rate
/// that was held after stepping down is no fault.
#[must_use]
pub fn faults(result: &RunResult) -> Vec<(Fault, u64)> {
    let mut sums: BTreeMap<Fault, u64> = BTreeMap::new();
    let phases = result.controls.iter().chain(result.disturbed.iter().map(|phase| &phase.attempt));
    for attempt in result.attempts.last().into_iter().chain(phases) {
        let verdict = attempt.judged.total();
        for (fault, count) in [
            (Fault::Lost, verdict.lost),
            (Fault::Unsettled, attempt.unsettled),
            (Fault::Duplicated, verdict.duplicated),
            (Fault::Reordered, verdict.reordered),
            (Fault::Corrupted, verdict.corrupted),
            (Fault::Unexpected, verdict.unexpected),
            (Fault::Disconnected, attempt.connections_lost),
            (Fault::Rate, u64::from(!attempt.held() && attempt.is_clean())),
        ] {
            *sums.entry(fault).or_insert(0) += count;
        }
    }
    let unborne = result.disturbed.iter().filter(|phase| !phase.outcome.is_borne()).count() as u64;
    sums.insert(Fault::Disturbed, unborne);
    let slowed = result.noticed().iter().filter(|noticed| !noticed.is_borne()).count() as u64;
    sums.insert(Fault::Slowed, slowed);
    sums.into_iter().filter(|&(_, count)| count > 0).collect()
}
