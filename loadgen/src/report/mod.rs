//! Results: JSON for machines, a table for people, a verdict for the exit code.

mod json;
mod table;

pub use json::{Json, LatencyJson, SCHEMA};
pub use table::summary;

use clap::ValueEnum;

use crate::run::RunResult;

/// Something that makes a run fail, unless it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// Events that never arrived.
    Lost,
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
}

impl Fault {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Corrupted => "corrupted",
            Self::Unexpected => "unexpected",
            Self::Disconnected => "disconnected",
            Self::Rate => "rate",
        }
    }
}

/// What was wrong in the attempt that counts, with how often. A rate that was held after stepping down is no fault.
#[must_use]
pub fn faults(result: &RunResult) -> Vec<(Fault, u64)> {
    let Some(attempt) = result.attempts.last() else { return Vec::new() };
    let verdict = &attempt.judged.verdict;
    let mut faults = vec![
        (Fault::Lost, verdict.lost),
        (Fault::Duplicated, verdict.duplicated),
        (Fault::Reordered, verdict.reordered),
        (Fault::Corrupted, verdict.corrupted),
        (Fault::Unexpected, verdict.unexpected),
        (Fault::Disconnected, attempt.connections_lost),
        (Fault::Rate, u64::from(!attempt.held() && attempt.is_clean())),
    ];
    faults.retain(|&(_, count)| count > 0);
    faults
}
