//! The judges of events with a confirm level, one beside the other, and what they come to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use millrace_proto::control::OutcomeKind;
use serde::Serialize;

use super::Findings;
use super::confirms::Confirms;
use super::outcomes::{Allowed, Outcomes};
use super::pairs::Pair;
use super::publication::Publications;
use super::repeats::Repeats;
use super::starvation::Starvation;

/// What became of events with a confirm level. Counted in events, but for pairs of an event and a
/// receiver's session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Confirmed {
    /// Published with a level.
    pub published: u64,
    /// Written more than once.
    pub resent: u64,
    /// Confirmed.
    pub confirmed: u64,
    /// At some receivers.
    pub partial: u64,
    /// At none.
    pub dropped: u64,
    /// Nobody can tell.
    pub unknown: u64,
    /// Without an outcome, because a process or a host ended.
    pub gone: u64,
    /// Pairs of which a confirm was judged.
    pub judged_pairs: u64,
    /// Pairs whose confirm was not true.
    pub confirmed_lost: u64,
    /// Copies that receivers' libraries have removed.
    pub removed: u64,
    /// Copies that they have not.
    pub repeated: u64,
    /// Copies that they could not tell from first ones, and did not remove.
    pub in_doubt: u64,
    /// Outcomes that had to be prompt.
    pub prompt: u64,
}

impl AddAssign for Confirmed {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.resent += other.resent;
        self.confirmed += other.confirmed;
        self.partial += other.partial;
        self.dropped += other.dropped;
        self.unknown += other.unknown;
        self.gone += other.gone;
        self.judged_pairs += other.judged_pairs;
        self.confirmed_lost += other.confirmed_lost;
        self.removed += other.removed;
        self.repeated += other.repeated;
        self.in_doubt += other.in_doubt;
        self.prompt += other.prompt;
    }
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, resent, confirmed, partial, dropped, unknown, gone, .. } = self;
        let Self { judged_pairs, confirmed_lost, removed, repeated, in_doubt, prompt, .. } = self;
        write!(
            f,
            "{published} with a level, {resent} of them resent: {confirmed} confirmed, {partial} partial, {dropped} \
             dropped, {unknown} unknown, {gone} gone; of {judged_pairs} pairs judged, {confirmed_lost} lost; {removed} \
             duplicates removed, {repeated} not, {in_doubt} in doubt; {prompt} prompt"
        )
    }
}

/// When faults disturbed the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Disturbances(Vec<(u64, Option<u64>)>);

impl Disturbances {
    pub(super) fn add(&mut self, from: u64, until: Option<u64>) {
        self.0.push((from, until));
    }

    /// Whether one touched the time between.
    fn touch(&self, from: u64, until: u64) -> bool {
        self.0.iter().any(|&(began, ended)| began <= until && ended.is_none_or(|ended| from <= ended))
    }
}

/// The judges of one run.
#[derive(Debug)]
pub(super) struct Judges {
    allowed: Allowed,
    now: u64,
    confirms: Confirms,
    outcomes: Outcomes,
    starvation: Starvation,
}

impl Judges {
    pub(super) fn new(allowed: Allowed, now: u64) -> Self {
        Self {
            allowed,
            now,
            confirms: Confirms::default(),
            outcomes: Outcomes::default(),
            starvation: Starvation::default(),
        }
    }

    pub(super) fn pair(&mut self, pair: &Pair<'_>, findings: &mut Findings) {
        self.confirms.pair(pair, self.allowed.settle_ns, findings);
        self.outcomes.pair(pair, self.allowed, self.now);
        self.starvation.pair(pair, self.now);
    }

    pub(super) fn finish(
        mut self,
        publications: &Publications,
        disturbances: &Disturbances,
        repeats: &Repeats,
        writers: &BTreeMap<u32, u32>,
        findings: &mut Findings,
    ) -> Confirmed {
        let is_disturbed = |from, until| disturbances.touch(from, until);
        repeats.finish(self.allowed.has_old_routers, findings);
        self.confirms.finish(publications, findings);
        self.outcomes.finish(publications, self.allowed, is_disturbed, findings);
        self.starvation.finish(publications, writers, self.allowed, is_disturbed, findings);
        let mut sum = Confirmed {
            judged_pairs: self.confirms.pairs,
            confirmed_lost: self.confirms.lost,
            removed: repeats.removed,
            repeated: repeats.repeated,
            in_doubt: repeats.in_doubt,
            prompt: self.starvation.judged,
            ..Confirmed::default()
        };
        for (_, publication) in publications.iter() {
            sum.published += 1;
            sum.resent += u64::from(publication.sent.len() > 1);
            let count = match publication.ends.last().map(|end| end.told.kind) {
                Some(OutcomeKind::Confirmed) => &mut sum.confirmed,
                Some(OutcomeKind::Dropped) => &mut sum.dropped,
                Some(OutcomeKind::Unknown) => &mut sum.unknown,
                Some(_) => &mut sum.partial,
                None => &mut sum.gone,
            };
            *count += 1;
        }
        sum
    }
}
