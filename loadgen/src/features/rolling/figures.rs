//! What was measured.

use std::collections::BTreeMap;

use millrace_measure::figures::grouped;
use serde::Serialize;

use crate::features::{Came, Figures, Spread};

/// What the preset measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct RollingFigures {
    pub routers: u16,
    pub publishers: u16,
    pub receivers: u16,
    pub rate: u64,
    pub confirm: &'static str,
    pub published: u64,
    /// How events ended for their publishers.
    pub confirmed: u64,
    pub partial: u64,
    pub dropped: u64,
    pub unknown: u64,
    /// What came, over all receivers.
    #[serde(flatten)]
    pub came: Came,
    /// Payloads that nobody published.
    pub corrupted: u64,
    /// Gaps that receivers were told, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Copies that the library removed.
    pub duplicates_before_removal: u64,
    /// From when an event was due until its receiver had it: before the first restart, from there
    /// until all routers were back, and behind that.
    pub before_us: Spread,
    pub during_us: Spread,
    pub after_us: Spread,
    /// From SIGTERM until each router had ended, and until it was linked with all again,
    /// milliseconds.
    pub ended_ms: Vec<u64>,
    pub back_ms: Vec<u64>,
}

impl RollingFigures {
    /// The 99th percentile while routers restart, as a multiple of that before.
    pub(super) fn slower(&self) -> f64 {
        self.during_us.p99_us as f64 / self.before_us.p99_us.max(1) as f64
    }

    /// Events that ended without a confirm, for each that was published.
    pub(super) fn unconfirmed_share(&self) -> f64 {
        self.published.saturating_sub(self.confirmed) as f64 / self.published.max(1) as f64
    }

    /// Copies that were removed, for each event that came.
    pub(super) fn removed_share(&self) -> f64 {
        self.duplicates_before_removal as f64 / self.came.delivered.max(1) as f64
    }
}

impl Figures for RollingFigures {
    const SCHEMA: &'static str = "millrace-loadgen-rolling/1";
    const PASSED: &'static str =
        "every router was restarted, and receivers missed nothing, had nothing twice and were not slowed.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        let Self { came, .. } = self;
        let count = |count: u64| grouped(count as f64);
        vec![
            (
                "load",
                format!(
                    "{}/s with {}: {} publishers, {} receivers, {} routers",
                    count(self.rate),
                    self.confirm,
                    self.publishers,
                    self.receivers,
                    self.routers
                ),
            ),
            (
                "restarts",
                format!("ended after {:?} ms, linked again after {:?} ms", self.ended_ms, self.back_ms),
            ),
            ("before", self.before_us.to_string()),
            ("restarting", self.during_us.to_string()),
            ("after", self.after_us.to_string()),
            (
                "confirmed",
                format!(
                    "{} of {}; partial {}, dropped {}, unknown {}",
                    count(self.confirmed),
                    count(self.published),
                    self.partial,
                    self.dropped,
                    self.unknown
                ),
            ),
            (
                "verified",
                format!(
                    "{} delivered, {} missing, {} twice ({} before removal), {} out of order, gaps {:?}",
                    count(came.delivered),
                    came.missing,
                    came.duplicated,
                    self.duplicates_before_removal,
                    came.reordered,
                    self.gaps
                ),
            ),
        ]
    }
}
