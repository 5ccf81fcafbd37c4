//! Completeness: every receiver got what it was owed, or a gap stands where it is missing; nobody
//! got what it did not ask for.
//!
//! A missing event is excused by a gap that stands between its neighbours in the stream (the
//! closest delivered events, before and behind, of its emitter and entry router) and names that
//! router, or all.

use std::collections::BTreeMap;

use millrace_proto::{PublisherId, RouterId};

use super::history::{EventRecord, History};
use super::interest::{Interest, Record};
use super::stream::{Checked, Stream};
use super::{Findings, Verdict, quench};
use crate::workload::WordMask;

/// The name of this checker in findings.
pub const NAME: &str = "completeness";

/// What one receiver was owed, and what it got.
#[derive(Debug, Clone, Copy)]
pub struct Receiver<'a> {
    /// Its number.
    pub number: u32,
    /// What it asked for.
    pub interest: &'a Interest,
    /// What it got.
    pub stream: &'a Stream,
    /// Where first copies stand in its stream.
    pub checked: &'a Checked,
}

/// Checks one receiver: fills the counters of deliveries, losses, excuses and unexpected events.
#[must_use]
pub fn check(receiver: Receiver<'_>, history: &History, settle_ns: u64, findings: &mut Findings) -> Verdict {
    let mut verdict = Verdict::default();
    let reached = reached(receiver.checked, history);
    for emitter in 0..history.emitters() {
        let matching = receiver.interest.matching(history.tags(emitter).borrow());
        let mut rows: BTreeMap<Option<RouterId>, Vec<Row>> = BTreeMap::new();
        for (n, event) in (0..).zip(history.events(emitter)) {
            let taking = Taking { matching: &matching, history, emitter, n, event };
            let place = receiver.checked.places.get(&(emitter, n)).copied();
            let from = event.entry.and_then(|entry| reached.get(&entry).copied());
            let owed = taking.records().any(|record| record.must_take(event, settle_ns, from));
            verdict.expected_deliveries += u64::from(owed);
            if let Some(place) = place {
                match taking.why_not(&receiver.stream.events()[place].matched) {
                    None => verdict.delivered += 1,
                    Some(why) => {
                        verdict.unexpected += 1;
                        findings.add(NAME, || {
                            format!("receiver {} got event {n} of emitter {emitter}: {why}", receiver.number)
                        });
                    }
                }
            }
            let left_out_by = event.left_out_by;
            rows.entry(event.entry).or_default().push(Row { n, place, owed, left_out_by });
        }
        for (entry, rows) in rows {
            let Some(entry) = entry else { continue };
            missing(&rows, entry, receiver, emitter, &mut verdict, findings);
        }
    }
    verdict.unexpected += never_published(receiver, history, findings);
    verdict
}

/// When the first of the delivered events was published, by the router that it entered.
pub(super) fn reached(checked: &Checked, history: &History) -> BTreeMap<RouterId, u64> {
    let mut reached = BTreeMap::new();
    let delivered = checked.places.keys().filter_map(|&(emitter, n)| history.event(emitter, n));
    for (entry, event) in delivered.filter_map(|event| Some((event.entry?, event))) {
        let first = reached.entry(entry).or_insert(event.published_at);
        *first = event.published_at.min(*first);
    }
    reached
}

/// One event of an emitter as one receiver saw it.
struct Row {
    n: u64,
    place: Option<usize>,
    owed: bool,
    /// The publisher that has not sent it.
    left_out_by: Option<PublisherId>,
}

/// Counts what is missing among the events of one emitter and entry router, in order of their
/// numbers.
fn missing(
    rows: &[Row],
    entry: RouterId,
    receiver: Receiver<'_>,
    emitter: u32,
    verdict: &mut Verdict,
    findings: &mut Findings,
) {
    let mut before = None;
    let mut rest = rows;
    while let Some((row, later)) = rest.split_first() {
        rest = later;
        if row.place.is_some() {
            before = row.place;
            continue;
        }
        // All that is missing up to the next delivered event shares its neighbours.
        let until = rest.iter().position(|row| row.place.is_some()).unwrap_or(rest.len());
        let behind = rest.get(until).and_then(|row| row.place);
        let (absent, later) = rest.split_at(until);
        rest = later;
        let owed = std::iter::once(row).chain(absent).filter(|row| row.owed);
        if receiver.stream.has_gap(before, behind, entry) {
            verdict.excused_by_gap += owed.count() as u64;
            continue;
        }
        for row in owed {
            verdict.lost += 1;
            if let Some(publisher) = row.left_out_by {
                quench::missed(receiver.number, (emitter, row.n), publisher, entry, findings);
                continue;
            }
            findings.add(NAME, || {
                format!(
                    "receiver {} lost event {} of emitter {emitter}, which entered through router {entry}",
                    receiver.number, row.n
                )
            });
        }
    }
}

/// Deliveries of events that nobody published.
fn never_published(receiver: Receiver<'_>, history: &History, findings: &mut Findings) -> u64 {
    let unknown = receiver.checked.places.keys().filter(|&&(emitter, n)| history.event(emitter, n).is_none());
    let mut count = 0;
    for (emitter, n) in unknown {
        count += 1;
        findings.add(NAME, || {
            format!(
                "receiver {} got event {n} of emitter {emitter}, which was never published",
                receiver.number
            )
        });
    }
    count
}

/// One event and the subscriptions of one receiver that match its tags.
struct Taking<'a> {
    matching: &'a [(&'a Record, WordMask)],
    history: &'a History,
    emitter: u32,
    n: u64,
    event: &'a EventRecord,
}

impl<'a> Taking<'a> {
    /// The subscriptions that take the event's word.
    fn records(&self) -> impl Iterator<Item = &'a Record> {
        let matching = self.matching.iter();
        let taking = matching.filter(|&&(_, words)| self.history.words().takes(words, self.emitter, self.n));
        taking.map(|&(record, _)| record)
    }

    /// Why the event should not have been delivered for the subscriptions that it came with, if it
    /// should not.
    fn why_not(&self, matched: &[u32]) -> Option<String> {
        let allowed = |number: Option<u32>| {
            let mut named =
                self.records().filter(|record| number.is_none_or(|number| record.number() == number));
            named.any(|record| record.may_take(self.event))
        };
        if !allowed(None) {
            return Some("it did not ask for it".into());
        }
        let wrong = matched.iter().find(|&&number| !allowed(Some(number)))?;
        Some(format!("subscription {wrong} does not take it"))
    }
}
