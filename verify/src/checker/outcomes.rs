//! Outcomes are true: each event ends once, and what its publisher was told fits what happened.
//!
//! | told | true when |
//! |---|---|
//! | confirmed | at as many receivers as the publisher asked for; at level *delivered* no more than have acknowledged |
//! | partial | somebody is missed, for a reason; each reason has its cause somewhere |
//! | dropped, few receivers | the publisher asked for receivers, and there were none |
//! | nothing | the event was in memory of a process that ended, or not on a disk that lost power |
//!
//! A second outcome is allowed only where the note of the first was lost with a host's power.

use std::collections::BTreeMap;

use millrace_proto::control::{OutcomeKind, OutcomeReason};

use super::Findings;
use super::pairs::Pair;
use super::publication::{End, Level, Publication, Publications};

/// The name of this checker in findings.
pub const NAME: &str = "outcomes";

/// What could have kept an event from a receiver.
#[derive(Debug, Clone, Copy, Default)]
struct Evidence {
    departed: bool,
    overflowed: bool,
    cannot_acknowledge: bool,
    acknowledged: u64,
}

/// What a run allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// How long an event may be on its way, ns.
    pub settle_ns: u64,
    /// After which time routers give up, ns.
    pub timeout_ns: u64,
    /// Whether some routers cannot confirm.
    pub has_old_routers: bool,
}

/// Judges outcomes.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    evidence: BTreeMap<(u32, u64), Evidence>,
}

impl Outcomes {
    /// Gathers what one receiver's session has to do with an event's outcome.
    pub fn pair(&mut self, pair: &Pair<'_>, allowed: Allowed, now: u64) {
        let (from, until) = pair.publication.span(now);
        let (from, until) = (from.saturating_sub(allowed.settle_ns), until.saturating_add(allowed.settle_ns));
        let session = pair.party.session;
        let evidence = self.evidence.entry((pair.emitter, pair.n)).or_default();
        let has_lapsed = pair.party.interest.has_lapsed(from, until);
        // What a router had for a receiver that has moved is over with its session there.
        evidence.departed |=
            has_lapsed || session.has_moved || pair.records().any(|record| record.has_ended(from, until));
        // What a replay brings counts as missed: whether it arrives nobody can tell.
        let is_left_out = session.has_moved || session.reads_past;
        evidence.overflowed |= has_lapsed || is_left_out || pair.party.stream.has_gaps();
        evidence.cannot_acknowledge |= !session.acknowledges;
        evidence.acknowledged += session.counts(pair.emitter, pair.n);
    }

    /// Behind the last pair. `is_disturbed` says whether a fault touched the time between.
    pub fn finish(
        &self,
        publications: &Publications,
        allowed: Allowed,
        is_disturbed: impl Fn(u64, u64) -> bool,
        findings: &mut Findings,
    ) {
        for ((emitter, n), publication) in publications.iter() {
            let evidence = self.evidence.get(&(emitter, n)).copied().unwrap_or_default();
            let mut complain = |why: String| {
                findings.add(NAME, || format!("event {n} of emitter {emitter} {why}"));
            };
            match (&publication.ends[..], publication.cause) {
                ([], None) => complain("has no outcome, and nothing says why".into()),
                ([_, ..], Some(cause)) => complain(format!("has an outcome, and is gone: {cause:?}")),
                ([first, second, ..], None) if !publication.may_end_again => {
                    complain(format!("ended twice: {first:?}, then {second:?}"));
                }
                _ => {}
            }
            for end in &publication.ends {
                if let Some(why) = why_false(publication, end, evidence, allowed, &is_disturbed) {
                    complain(format!("ended as {end:?}: {why}; sent {:?}", publication.sent));
                }
            }
        }
    }
}

/// What is not true of an outcome.
fn why_false(
    publication: &Publication,
    end: &End,
    evidence: Evidence,
    allowed: Allowed,
    is_disturbed: impl Fn(u64, u64) -> bool,
) -> Option<&'static str> {
    let told = &end.told;
    let Some(sent) = publication.sent_before(end) else {
        return Some("it was not sent to that router");
    };
    let is_delivered = publication.level == Level::Delivered;
    if is_delivered && told.receivers > evidence.acknowledged {
        return Some("more receivers than have acknowledged it");
    }
    match told.kind {
        OutcomeKind::Confirmed if told.receivers < publication.min_receivers => {
            return Some("fewer receivers than its publisher asked for");
        }
        OutcomeKind::Confirmed if !told.reasons.is_empty() || told.missed > 0 => {
            return Some("confirmed, and receivers are missed");
        }
        OutcomeKind::Partial if told.reasons.is_empty() || told.missed == 0 => {
            return Some("partial, and nobody is missed");
        }
        OutcomeKind::Dropped if told.receivers > 0 => return Some("dropped, and receivers have it"),
        OutcomeKind::Dropped if told.reasons == [OutcomeReason::FewReceivers] => {
            return (publication.min_receivers == 0).then_some("nobody asked for receivers");
        }
        _ => {}
    }
    told.reasons.iter().find_map(|reason| match reason {
        OutcomeReason::Timeout if end.at - sent.at < allowed.timeout_ns => Some("before the timeout"),
        OutcomeReason::CannotAcknowledge if !evidence.cannot_acknowledge && !allowed.has_old_routers => {
            Some("everybody who matches can acknowledge")
        }
        OutcomeReason::CannotAcknowledge if !is_delivered && !allowed.has_old_routers => {
            Some("nobody was asked to acknowledge")
        }
        OutcomeReason::Departed if !evidence.departed => Some("nobody who matches departed"),
        OutcomeReason::Overflow | OutcomeReason::Busy if !evidence.overflowed => {
            Some("nobody who matches has a gap")
        }
        OutcomeReason::PeerLost if !is_disturbed(sent.at, end.at) => Some("no fault was near"),
        OutcomeReason::FewReceivers if told.receivers >= publication.min_receivers => {
            Some("as many receivers as its publisher asked for")
        }
        _ => None,
    })
}
