//! Whether a run passed, in words.

use millrace_measure::figures::grouped;

use super::fault::{Fault, faults};
use crate::run::RunResult;

/// What has to be said about a finished run: notes, then whether it passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Sentences about what happened on the way.
    pub(super) notes: Vec<String>,
    /// `PASS` or `FAIL`, and the sentences behind it.
    pub(super) passed: bool,
    /// One sentence per reason.
    pub(super) reasons: Vec<String>,
}

impl Verdict {
    /// Of a result; `allowed` faults do not make it fail.
    pub(super) fn of(result: &RunResult, allowed: &[Fault]) -> Self {
        let (bad, excused): (Vec<_>, Vec<_>) =
            faults(result).into_iter().partition(|(fault, _)| !allowed.contains(fault));
        let mut notes = found(result).into_iter().collect::<Vec<_>>();
        notes.extend(excused.iter().map(|(fault, count)| format!("Allowed: {}", sentence(*fault, *count))));
        let losses = result.losses.iter().take(3);
        notes.extend(losses.map(|reason| format!("A connection was lost: {reason}.")));
        let reasons = match bad.as_slice() {
            [] => vec!["every event was delivered once and in order.".to_owned()],
            bad => bad.iter().map(|(fault, count)| sentence(*fault, *count)).collect(),
        };
        Self { notes, passed: bad.is_empty(), reasons }
    }
}

/// What a search found, or which rate was held in place of the wanted one.
fn found(result: &RunResult) -> Option<String> {
    let attempt = result.attempts.last()?;
    if let Some(search) = &result.search {
        let limit = search.p99.as_secs_f64() * 1e3;
        return Some(if attempt.held() && attempt.p99() <= search.p99 {
            format!("The highest rate with p99 up to {limit} ms: {} events/s.", grouped(attempt.target))
        } else {
            format!("No rate was found with p99 up to {limit} ms.")
        });
    }
    (result.attempts.len() > 1 && attempt.held()).then(|| {
        format!(
            "The host could not hold {} events/s; the highest rate that held is {}.",
            grouped(result.scenario.workload.events_per_second as f64),
            grouped(attempt.target)
        )
    })
}

/// A fault in words.
fn sentence(fault: Fault, count: u64) -> String {
    let count = grouped(count as f64);
    match fault {
        Fault::Lost => format!("{count} deliveries never arrived (lost)."),
        Fault::Unsettled => format!("{count} deliveries were still under way at the end (unsettled)."),
        Fault::Duplicated => format!("{count} deliveries came twice (duplicated)."),
        Fault::Reordered => {
            format!("{count} deliveries came behind later ones of their tag set (reordered).")
        }
        Fault::Corrupted => format!("{count} deliveries differ from what was published (corrupted)."),
        Fault::Unexpected => format!("{count} deliveries nobody had asked for (unexpected)."),
        Fault::Disconnected => format!("{count} connections broke (disconnected)."),
        Fault::Rate => "the wanted rate was not held (rate).".to_owned(),
        Fault::Disturbed => {
            format!("{count} disturbances took longer than they may, or were refused (disturbed).")
        }
        Fault::Slowed => {
            format!(
                "others were slower beside a disturbance than they may be: {count} of the kinds (slowed)."
            )
        }
    }
}
