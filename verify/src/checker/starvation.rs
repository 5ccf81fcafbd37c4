//! Nobody starves: every event ends within the confirm timeout, and a receiver that stands still
//! holds up the confirms of no event but its own.
//!
//! An event that no stalled receiver matches, and no fault was near, ends within
//! [`PROMPT_NS`] of the last time that it was sent, and not because of the timeout. A receiver
//! whose path takes less than there is for it counts as stalled meanwhile: what waits for it are
//! its own events. A receiver with policy `block` may hold up everything of the publishers whose
//! events it gets, and nothing of others.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::control::OutcomeReason;

use super::Findings;
use super::outcomes::Allowed;
use super::pairs::Pair;
use super::publication::{End, Publications};

/// The name of this checker in findings.
pub const NAME: &str = "starvation";

/// An undisturbed event ends within this time: the longest linger of a receiver, the gathering of
/// acknowledgements, a thread that was not scheduled for a while, and a crowded publisher's pauses.
pub const PROMPT_NS: u64 = 2_000_000_000;

/// Judges how long events wait for their outcomes.
#[derive(Debug, Clone, Default)]
pub struct Starvation {
    /// Events that a stalled receiver matches.
    stalled: BTreeSet<(u32, u64)>,
    /// Emitters of which a receiver with policy `block` gets events.
    held: BTreeSet<u32>,
    /// Events that had to end promptly.
    pub judged: u64,
}

impl Starvation {
    /// Looks at one pair.
    pub fn pair(&mut self, pair: &Pair<'_>, now: u64) {
        let (from, until) = pair.publication.span(now);
        let session = pair.party.session;
        if session.blocks {
            self.held.insert(pair.emitter);
        }
        // What waits for the end of a replay has no outcome yet.
        if session.reads_past
            || session.is_stalled(from, until)
            || pair.party.interest.has_lapsed(from, until)
        {
            self.stalled.insert((pair.emitter, pair.n));
        }
    }

    /// Behind the last pair. `writers` says which publisher an emitter has, and `is_disturbed`
    /// whether a fault touched the time between.
    pub fn finish(
        &mut self,
        publications: &Publications,
        writers: &BTreeMap<u32, u32>,
        allowed: Allowed,
        is_disturbed: impl Fn(u64, u64) -> bool,
        findings: &mut Findings,
    ) {
        let longest = allowed.timeout_ns.saturating_add(allowed.settle_ns);
        let held: BTreeSet<u32> =
            self.held.iter().filter_map(|emitter| writers.get(emitter).copied()).collect();
        let is_held = |emitter| writers.get(&emitter).is_some_and(|writer| held.contains(writer));
        for ((emitter, n), publication) in publications.iter().filter(|&((emitter, _), _)| !is_held(emitter))
        {
            for end in &publication.ends {
                let Some(sent) = publication.sent_before(end) else { continue };
                let waited = end.at - sent.at;
                let is_prompt = !self.stalled.contains(&(emitter, n)) && !is_disturbed(sent.at, end.at);
                self.judged += u64::from(is_prompt);
                if waited > longest || (is_prompt && (waited > PROMPT_NS || is_timeout(end))) {
                    let ms = waited / 1_000_000;
                    findings.add(NAME, || {
                        format!("event {n} of emitter {emitter} waited {ms} ms for its outcome: {end:?}")
                    });
                }
            }
        }
    }
}

fn is_timeout(end: &End) -> bool {
    end.told.reasons.contains(&OutcomeReason::Timeout)
}
