//! History: a receiver that asks for the past gets all of it that is kept, once, in order, and
//! joined with what is live, whichever routers and connections it has one after the other.
//!
//! A *reader* is one subscription of one receiver's application, over all its sessions: where the
//! others that judge streams begin anew with each session, this one does not. What it is owed
//! begins when it asked, or so much before as it asked back, and never lapses: what it misses
//! between two sessions is filled from history, from its cursor on.
//!
//! | rule | of |
//! |---|---|
//! | missing | each event that matches, has reached its router, and was published since the reader's beginning is there, or a gap stands in its place: between its neighbours of its emitter and entry router, so that what is evicted is said before what is kept |
//! | repeat | no event is given again, by a replay, a resumed cursor, or live behind its replay; one that its publisher has sent again may be, marked |
//! | disorder | events of one emitter that entered one router come in the order of their numbers, replayed and live ones together |
//! | unasked | nothing comes that does not match, or is older than what was asked for |
//!
//! Positions show through this: what joins one position too early is a repeat, one too late a loss.
//! Gaps count as they stand: a router that cannot be asked is named by one, and a router without
//! history begins with one of every router. Not judged: whether a gap was needed.
//!
//! What several readers of one receiver match comes with the replay of each. One whose publisher
//! has a confirm level comes once for a receiver that has had it live, so that what the library
//! removes counts as given. A run that is cut because of its payload advances a cursor with its
//! last piece only: a receiver of which any subscription has patterns may get pieces again, and
//! those behind them that it did not have; their order is judged within each session alone.

use std::collections::BTreeMap;

use millrace_proto::Selector;
use millrace_proto::data::{Gap, GapReason};

use super::history::History;
use super::interest::{Interest, LeftOut};
use super::repeats::{Repeats, Vouched};
use super::stream::{Stream, Taken};
use super::{Findings, Verdict, completeness};
use crate::oracle::PatternError;

/// The name of this checker in findings.
pub const NAME: &str = "history";

/// How a reader begins. Times are in ns.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// What it asks for.
    pub selectors: Vec<Selector>,
    /// Nothing comes that reached its router before.
    pub not_before: u64,
    /// Everything comes that was published from here on.
    pub all_from: u64,
}

/// An event that a reader's application was given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The receiver.
    pub owner: u32,
    /// Its subscriptions that it came for.
    pub matched: &'a [u32],
    /// Emitter and number.
    pub event: (u32, u64),
    /// Whether it comes once; looked at for events that are sent again.
    pub vouched: Vouched,
    /// It comes from history.
    pub replayed: bool,
    /// When.
    pub at: u64,
}

/// All readers, by receiver and subscription.
#[derive(Debug, Clone, Default)]
pub struct Readers(BTreeMap<(u32, u32), Reader>);

#[derive(Debug, Clone)]
struct Reader {
    interest: Interest,
    stream: Stream,
    all_from: u64,
    is_effective: bool,
    has_patterns: bool,
    given: Repeats,
}

impl Readers {
    /// A reader asks for the first time.
    ///
    /// # Errors
    /// [`PatternError`] when a payload pattern does not compile; nothing changes.
    pub fn begin(
        &mut self,
        owner: u32,
        subscription: u32,
        beginning: Beginning,
        history: &History,
    ) -> Result<(), PatternError> {
        let Beginning { selectors, not_before, all_from } = beginning;
        let has_patterns = selectors.iter().any(|selector| !selector.patterns().is_empty());
        let mut interest = Interest::default();
        interest.ask(subscription, selectors, not_before, history.words())?;
        let reader = Reader {
            interest,
            stream: Stream::default(),
            all_from,
            is_effective: false,
            has_patterns,
            given: Repeats::default(),
        };
        self.0.insert((owner, subscription), reader);
        Ok(())
    }

    /// A reader's subscription is effective in the cluster, `left_out` excepted: from its beginning
    /// on, the first time.
    pub fn effective(&mut self, owner: u32, subscription: u32, left_out: &LeftOut, at: u64) {
        let Some(reader) = self.0.get_mut(&(owner, subscription)) else { return };
        if !std::mem::replace(&mut reader.is_effective, true) {
            reader.interest.effective(subscription, reader.all_from, left_out.clone());
        } else if left_out.is_unknown || !left_out.publishers.is_empty() {
            // Other routers that are left out are named by gaps.
            reader.interest.effective(subscription, at, LeftOut { routers: Vec::new(), ..left_out.clone() });
        }
    }

    /// A receiver's program has ended, and begins again with what it has saved of its cursor. What
    /// its library knew of events that are sent again is gone, and a router that the cursor does
    /// not name is read from its oldest event.
    pub fn restarted(&mut self, owner: u32) {
        for (_, reader) in self.0.range_mut((owner, 0)..=(owner, u32::MAX)) {
            reader.given = Repeats::default();
            reader.interest.reach_back();
        }
    }

    /// A receiver's application is given an event.
    pub fn given(&mut self, given: &Given<'_>, history: &History, findings: &mut Findings) {
        let &Given { owner, matched, event: (emitter, n), vouched, at, .. } = given;
        let may_come_again = self.comes_in_pieces(owner);
        for subscription in matched {
            let Some(reader) = self.0.get_mut(&(owner, *subscription)) else { continue };
            let is_resent = history.event(emitter, n).is_some_and(|event| event.is_resent);
            if may_come_again && reader.stream.has(emitter, n) {
                continue;
            }
            let mut wrong = Findings::default();
            reader.given.given(owner, (emitter, n), vouched, &mut wrong);
            // What was not sent again may not be repeated at all: its stream shows it.
            if is_resent && !may_come_again {
                findings.take(NAME, wrong);
            }
            reader.stream.event(Taken { emitter, n, matched: [*subscription].into(), at });
        }
    }

    /// Whether runs are cut for a receiver: by the patterns of any of its subscriptions.
    fn comes_in_pieces(&self, owner: u32) -> bool {
        self.0.range((owner, 0)..=(owner, u32::MAX)).any(|(_, reader)| reader.has_patterns)
    }

    /// A receiver's library removes an event that its application has had.
    pub fn removed(&mut self, owner: u32, matched: &[u32], (emitter, n): (u32, u64), at: u64) {
        for subscription in matched {
            let Some(reader) = self.0.get_mut(&(owner, *subscription)) else { continue };
            if !reader.stream.has(emitter, n) {
                reader.stream.event(Taken { emitter, n, matched: [*subscription].into(), at });
            }
        }
    }

    /// A receiver's application is told of a gap.
    pub fn gap(&mut self, owner: u32, gap: &Gap, at: u64) {
        for (_, reader) in self.0.range_mut((owner, 0)..=(owner, u32::MAX)) {
            reader.stream.gap(gap.router);
            if let (GapReason::Joined | GapReason::RouterLost, Some(router)) = (gap.reason, gap.router) {
                reader.stream.joined(router, at);
            }
        }
    }

    /// Judges all of them.
    pub fn check(&self, history: &History, settle_ns: u64, findings: &mut Findings) -> Verdict {
        let mut verdict = Verdict::default();
        for (&(owner, subscription), reader) in &self.0 {
            let mut wrong = Findings::default();
            let Reader { interest, stream, .. } = reader;
            // A piece may come before those of the same run that a lost connection had.
            let mut ignored = Findings::default();
            let in_pieces = self.comes_in_pieces(owner);
            let of_stream = if in_pieces { &mut ignored } else { &mut wrong };
            let checked = stream.check(owner, history, of_stream);
            let receiver = completeness::Receiver { number: owner, interest, stream, checked: &checked };
            verdict += completeness::check(receiver, history, settle_ns, &mut wrong);
            if !in_pieces {
                verdict.duplicated += checked.duplicated;
                verdict.reordered += checked.reordered;
            }
            wrong.first.iter_mut().for_each(|finding| {
                finding.what = format!("{} (subscription {subscription})", finding.what);
            });
            findings.take(NAME, wrong);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::{RouterId, TagSet};

    use super::*;
    use crate::workload::Words;

    const A: RouterId = RouterId(1);

    /// What a reader that wants everything from time 100 on is found to have, of ten events that
    /// are published at times 0, 50, 100 and so on: it is given these, and a gap before the place
    /// `gap`.
    fn found(numbers: &[u64], gap: Option<usize>) -> Vec<String> {
        let mut history = History::new(Words::default(), vec![TagSet::from_texts(["a=b"]).unwrap()]);
        for n in 0..10 {
            history.publish(0, n * 50, Some(A));
            history.received(0, n, A, n * 50 + 10);
        }
        let mut readers = Readers::default();
        let selectors = vec![Selector::parse("*").unwrap()];
        readers.begin(3, 0, Beginning { selectors, not_before: 100, all_from: 100 }, &history).unwrap();
        readers.effective(3, 0, &LeftOut::default(), 300);
        let mut findings = Findings::default();
        for (place, &n) in numbers.iter().enumerate() {
            if gap == Some(place) {
                let evicted = Gap { reason: GapReason::Evicted, events: 0, router: Some(A) };
                readers.gap(3, &evicted, 400);
            }
            let given = Given {
                owner: 3,
                matched: &[0],
                event: (0, n),
                vouched: Vouched::No,
                replayed: n < 6,
                at: 400,
            };
            readers.given(&given, &history, &mut findings);
        }
        readers.check(&history, 0, &mut findings);
        assert!(findings.first.iter().all(|finding| finding.checker == NAME));
        findings.first.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn the_past_and_what_is_live_are_one_stream() {
        assert!(found(&[2, 3, 4, 5, 6, 7, 8, 9], None).is_empty());
        let late = found(&[2, 3, 4, 5, 7, 8, 9], None);
        assert!(late.len() == 1 && late[0].contains("lost event 6"), "{late:?}");
        let twice = found(&[2, 3, 4, 5, 6, 6, 7, 8, 9], None);
        assert!(twice.len() == 1 && twice[0].contains("and again"), "{twice:?}");
        let swapped = found(&[2, 3, 4, 6, 5, 7, 8, 9], None);
        assert!(swapped.len() == 1 && swapped[0].contains("behind its event 6"), "{swapped:?}");
        let old = found(&[1, 2, 3, 4, 5, 6, 7, 8, 9], None);
        assert!(old.len() == 1 && old[0].contains("did not ask"), "{old:?}");
    }

    #[test]
    fn pieces_of_a_run_may_come_again_to_all_subscriptions_of_a_receiver_with_patterns() {
        let mut history = History::new(Words::default(), vec![TagSet::from_texts(["a=b"]).unwrap()]);
        for n in 0..3 {
            history.publish(0, n * 50, Some(A));
            history.received(0, n, A, n * 50 + 10);
        }
        for (pattern, expected) in [("*", 1), ("payload ~ /x/", 0)] {
            let mut readers = Readers::default();
            for (subscription, text) in [(0, "*"), (1, pattern)] {
                let selectors = vec![Selector::parse(text).unwrap()];
                let beginning = Beginning { selectors, not_before: 0, all_from: 0 };
                readers.begin(3, subscription, beginning, &history).unwrap();
            }
            readers.effective(3, 0, &LeftOut::default(), 0);
            let mut findings = Findings::default();
            for n in [0, 1, 1, 2] {
                let (matched, event) = (&[0_u32][..], (0, n));
                let given = Given { owner: 3, matched, event, vouched: Vouched::No, replayed: true, at: 400 };
                readers.given(&given, &history, &mut findings);
            }
            readers.check(&history, 0, &mut findings);
            assert_eq!(findings.count, expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_evicted_is_said_before_what_is_kept() {
        assert!(found(&[5, 6, 7, 8, 9], Some(0)).is_empty());
        assert_eq!(found(&[5, 6, 7, 8, 9], Some(1)).len(), 3, "too late");
        assert_eq!(found(&[5, 6, 7, 8, 9], None).len(), 3, "never");
    }
}
