//! Confirmed means delivered: what a publisher was told to be confirmed is at every receiver that
//! wanted it.
//!
//! Judged is each pair of an event and a receiver whose subscription was effective in the cluster
//! from before the event was published, in one session, until [`FLIGHT_NS`] after its publisher was
//! told. A subscription is not effective at a router that has begun anew and cannot reach that of
//! the receiver: the receiver hears when it has joined. At level *delivered* that receiver's
//! application had acknowledged the event by then. At level *routed* the event arrives, or a gap
//! says that the receiver's queue overflowed later.

use std::collections::BTreeMap;

use super::Findings;
use super::pairs::Pair;
use super::publication::{End, Level, Publications};

/// The name of this checker in findings.
pub const NAME: &str = "confirms";

/// What a receiver heard last may have been on its way for so long: until then its router, and so
/// its session there, was alive for certain.
pub const FLIGHT_NS: u64 = 1_000_000_000;

/// Judges confirms.
#[derive(Debug, Clone, Default)]
pub struct Confirms {
    /// Receivers that were judged, by event and end.
    judged: BTreeMap<(u32, u64, usize), u64>,
    /// Pairs that were judged.
    pub pairs: u64,
    /// Pairs whose confirm is not true.
    pub lost: u64,
}

impl Confirms {
    /// Looks at one pair.
    pub fn pair(&mut self, pair: &Pair<'_>, settle_ns: u64, findings: &mut Findings) {
        for (at, end) in pair.publication.ends.iter().enumerate().filter(|(_, end)| end.told.is_complete()) {
            let has_joined =
                pair.party.stream.has_joined(end.router, pair.event.published_at, end.at + settle_ns);
            if has_joined || !is_judged(pair, end, end.at.saturating_add(FLIGHT_NS)) {
                continue;
            }
            let why = match pair.publication.level {
                Level::Delivered => why_not_delivered(pair, end),
                Level::Routed => why_not_routed(pair, end, settle_ns),
            };
            self.pairs += 1;
            *self.judged.entry((pair.emitter, pair.n, at)).or_default() += 1;
            if let Some(why) = why {
                self.lost += 1;
                let (number, owner) = (pair.party.number, pair.party.session.owner);
                findings.add(NAME, || {
                    format!(
                        "event {} of emitter {} was confirmed at {} ns by router {}, and session {number} of \
                         receiver {owner} {why}",
                        pair.n, pair.emitter, end.at, end.router
                    )
                });
            }
        }
    }

    /// Behind the last pair: no event is confirmed at fewer receivers than were judged.
    pub fn finish(&self, publications: &Publications, findings: &mut Findings) {
        for ((emitter, n), publication) in publications.iter() {
            for (at, end) in publication.ends.iter().enumerate().filter(|(_, end)| end.told.is_complete()) {
                let judged = self.judged.get(&(emitter, n, at)).copied().unwrap_or(0);
                let told = end.told.receivers;
                if told < judged {
                    findings.add(NAME, || {
                        format!(
                            "event {n} of emitter {emitter} was confirmed at {told} receivers by router {} at {} ns, \
                             and {judged} wanted it: {publication:?}",
                            end.router, end.at
                        )
                    });
                }
            }
        }
    }
}

/// Whether a subscription was effective for the event's router from before the publish until
/// `until`.
fn is_judged(pair: &Pair<'_>, end: &End, until: u64) -> bool {
    let reached = pair.party.reached.get(&end.router).copied();
    pair.records().any(|record| record.is_effective(pair.event.published_at, until, end.router, reached))
}

fn why_not_delivered(pair: &Pair<'_>, end: &End) -> Option<&'static str> {
    if !pair.party.session.acknowledges {
        return Some("cannot acknowledge");
    }
    match pair.party.session.acknowledged(pair.emitter, pair.n) {
        None => Some("never acknowledged it"),
        Some(at) if at > end.at => Some("acknowledged it later"),
        Some(_) => None,
    }
}

fn why_not_routed(pair: &Pair<'_>, end: &End, settle_ns: u64) -> Option<&'static str> {
    let is_there = pair.taken_at().is_some() || pair.party.stream.has_gaps();
    let lasted = is_judged(pair, end, end.at.saturating_add(settle_ns));
    (!is_there && lasted).then_some("never got it, nor a gap")
}
