//! Looks for literals in a run before it is copied to a sibling or peer that wants it only for its
//! payload patterns.
//!
//! [`Prefilter`] has the rules. The core looks through a run once for all its locations, and only
//! if one of them has a filter. When it finds a literal, it looks through the events one by one,
//! and a location gets those from the first to the last that it may want, as a run of its own:
//!
//! ```text
//! run         0: fine   1: RAID lost   2: fine   3: RAID back   4: fine      filter "RAID": 1 to 3
//! ```

use std::sync::Arc;

use millrace_proto::run::{RunBody, RunBuilder};

use crate::core::metrics::CoreMetrics;
use crate::core::run::RunOut;
use crate::matching::Taker;
use crate::payload::{Found, Prefilter};

/// Comparisons of literals in one turn: some 0.3 ms. A payload without the beginning of a literal
/// takes none, so that only a client that makes both payloads and literals exceeds this. Runs
/// beyond it are copied as if there were no filter.
const WORK_PER_TURN: usize = 32 * 1024;

/// The filters of the directory, and the comparisons left in this turn.
#[derive(Debug, Default)]
pub(in crate::core) struct Sift {
    prefilter: Arc<Prefilter>,
    work: usize,
    /// Filters that the run at hand meets; none when no comparisons were left to find out.
    whole: Option<Found>,
    /// Filters that each of its events meets, if it has several events and one of them meets any.
    each: Vec<Found>,
    builder: RunBuilder,
    part: Vec<u8>,
}

/// The part of a run that a location may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sifted<'a> {
    Nothing,
    All,
    /// These events, as a run body.
    Part(&'a [u8], u64),
}

impl Sift {
    /// Sets the filters of the directory.
    pub(in crate::core) fn set(&mut self, prefilter: Arc<Prefilter>) {
        self.prefilter = prefilter;
    }

    /// Begins a turn.
    pub(super) const fn next_turn(&mut self) {
        self.work = WORK_PER_TURN;
    }

    /// The part of a run that a location may want whose filters `takers` name. `is_known` says that
    /// the run was looked through for another location.
    #[cold]
    pub(super) fn sift(
        &mut self,
        takers: &[Taker],
        run: &RunOut<'_>,
        body: &RunBody<'_>,
        is_known: &mut bool,
        metrics: &mut CoreMetrics,
    ) -> Sifted<'_> {
        if !std::mem::replace(is_known, true) {
            self.look(run, body);
            metrics.prefilter_bytes += run.body.len() as u64;
        }
        let Some(whole) = &self.whole else {
            metrics.prefilter_overruns += 1;
            return Sifted::All;
        };
        let wants =
            |found: &Found| takers.iter().any(|taker| taker.filter().is_none_or(|filter| found.has(filter)));
        if run.events == 1 && wants(whole) {
            return Sifted::All;
        }
        let ends = (self.each.iter().position(wants), self.each.iter().rposition(wants));
        let (Some(first), Some(last)) = ends else {
            metrics.events_prefiltered += run.events;
            return Sifted::Nothing;
        };
        let events = (last - first + 1) as u64;
        metrics.events_prefiltered += run.events - events;
        if events == run.events {
            return Sifted::All;
        }
        for event in body.events().take(last + 1).skip(first) {
            if self.builder.count() == 0 {
                self.builder.start(event.seq, body.floor(), body.base_time_ns());
            }
            self.builder.push(event.time_ns, event.payload);
        }
        self.part.clear();
        self.builder.finish(&mut self.part);
        Sifted::Part(&self.part, events)
    }

    /// Looks through a run.
    fn look(&mut self, run: &RunOut<'_>, body: &RunBody<'_>) {
        self.each.clear();
        self.whole = None;
        if self.work == 0 {
            return;
        }
        let Some(whole) = self.prefilter.scan(run.body, &mut self.work) else {
            self.work = 0;
            return;
        };
        if run.events > 1 && !whole.is_empty() {
            for event in body.events() {
                let Some(found) = self.prefilter.scan(event.payload, &mut self.work) else {
                    self.work = 0;
                    return;
                };
                self.each.push(found);
            }
        }
        self.whole = Some(whole);
    }
}
