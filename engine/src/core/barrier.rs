//! Barriers: how a core learns that everything which any owner of the cluster had routed before a
//! moment has arrived here.
//!
//! Runs reach the receivers of a core on three ways, each of which keeps its order: from its own
//! shards at once, from sibling cores in batches, and from peers over the lanes of all cores. A
//! barrier puts a *mark* behind what each way holds, and is over when all marks have come:
//!
//! ```text
//! this core                    sibling core                  peer's core
//!   │ MarkRequest ──────────────────────────────────────────▶ │   on each lane's control stream
//!   │ ToSibling::Barrier ───────▶ │ MarkRequest ────────────▶ │
//!   │ ◀── runs, Mark ─────────────────────────────────────────┤   on each lane's data stream
//!   │                             │ ◀── runs, Mark ───────────┘
//!   │ ◀── batches, Mark ──────────┤
//!   ▼ Mark, in the streams of the receivers whose clients have asked
//! ```
//!
//! A barrier serves all receivers of the core that asked before it began. Those that ask meanwhile
//! wait for the next one: at most one of each core is under way, however many receivers move. A
//! lane that ends is not waited for, because what it had is told as a gap.
//!
//! A peer that this core has dialled accepts the lane before this core knows, and may write runs
//! behind its hello. So a barrier waits for such a *half-open* lane, too, and asks it as soon as it
//! is accepted here. One that closes before that may have had runs, and the barrier's marks say so.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::ReceiverNumber;
use millrace_proto::data::Mark;

use super::slot::ReceiverSlot;
use crate::message::CoreIndex;
use crate::transport::ConnKey;

/// A receiver whose client has asked for a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) conn: ConnKey,
    pub(super) receiver: ReceiverNumber,
    /// The client's number of the mark.
    pub(super) number: u64,
}

/// A lane that brings runs, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IncomingLane {
    pub(super) conn: ConnKey,
    pub(super) answer: LaneAnswer,
}

/// What a barrier can have of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneAnswer {
    /// A mark: its peer writes them.
    Mark,
    /// Nothing: its peer is of a version without marks.
    Nothing,
    /// Nobody knows: the lane is half open.
    Unknown,
}

/// A mark that is to be written to receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) slot: ReceiverSlot,
    pub(super) asker: Asker,
    pub(super) is_partial: bool,
}

/// This core's barrier that is under way.
#[derive(Debug)]
struct Present {
    /// By slot: at most the receivers of the core.
    askers: BTreeMap<ReceiverSlot, Asker>,
    /// Cores whose marks are awaited, this one among them: its lanes.
    cores: BTreeSet<CoreIndex>,
    is_partial: bool,
}

/// The lanes of this core whose marks a core waits for.
#[derive(Debug)]
struct Gathering {
    round: u64,
    request: u64,
    lanes: BTreeSet<ConnKey>,
    is_partial: bool,
}

/// The barriers that a core takes part in.
#[derive(Debug)]
pub(super) struct Barriers {
    own: CoreIndex,
    cores: CoreIndex,
    /// Receivers that wait for the next barrier, each with the newest mark that it was asked for.
    next: BTreeMap<ReceiverSlot, Asker>,
    present: Option<Present>,
    /// Number of this core's last barrier.
    round: u64,
    /// Barriers of siblings that have not begun here, one of each.
    asked: BTreeMap<CoreIndex, u64>,
    /// By the core whose barrier it is.
    gathering: BTreeMap<CoreIndex, Gathering>,
    /// Number of the last request to lanes.
    requests: u64,
    /// Siblings that were not asked yet.
    unasked: BTreeSet<CoreIndex>,
    /// Marks for receivers that cannot be written at once.
    passed: Vec<Passed>,
}

impl Barriers {
    pub(super) const fn new(own: CoreIndex, cores: CoreIndex) -> Self {
        Self {
            own,
            cores,
            next: BTreeMap::new(),
            present: None,
            round: 0,
            asked: BTreeMap::new(),
            gathering: BTreeMap::new(),
            requests: 0,
            unasked: BTreeSet::new(),
            passed: Vec::new(),
        }
    }

    /// The client of a receiver asks for a mark.
    pub(super) fn ask(&mut self, slot: ReceiverSlot, asker: Asker) {
        self.next.insert(slot, asker);
    }

    /// A sibling asks for this core's part of its barrier.
    pub(super) fn asked_by(&mut self, core: CoreIndex, round: u64) {
        self.asked.insert(core, round);
    }

    /// The next word for a sibling: the barrier that it is asked for.
    pub(super) fn next_word(&mut self, to: CoreIndex) -> Option<u64> {
        self.unasked.remove(&to).then_some(self.round)
    }

    /// Whether something can be done without waiting.
    pub(super) fn has_work(&self) -> bool {
        !self.asked.is_empty()
            || (self.present.is_none() && !self.next.is_empty())
            || self.gathering.values().any(|gathering| gathering.lanes.is_empty())
            || self.present.as_ref().is_some_and(|present| present.cores.is_empty())
    }

    /// Whether anything is under way.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.next.is_empty() && self.gathering.is_empty() && self.asked.is_empty() && self.is_settled()
    }

    fn is_settled(&self) -> bool {
        self.present.is_none() && self.passed.is_empty()
    }

    /// The barriers that begin on this core now.
    pub(super) fn take_due(&mut self) -> Vec<(CoreIndex, u64)> {
        let mut due: Vec<_> = std::mem::take(&mut self.asked).into_iter().collect();
        if self.present.is_none() && !self.next.is_empty() {
            self.round += 1;
            let askers = std::mem::take(&mut self.next);
            self.present = Some(Present { askers, cores: (0..self.cores).collect(), is_partial: false });
            self.unasked = (0..self.cores).filter(|&core| core != self.own).collect();
            due.push((self.own, self.round));
        }
        due
    }

    /// Begins to wait for the lanes of this core. Returns the number of the request to those that
    /// write marks.
    pub(super) fn gather(&mut self, core: CoreIndex, round: u64, lanes: &[IncomingLane]) -> u64 {
        self.requests += 1;
        let waited_for = lanes.iter().filter(|lane| lane.answer != LaneAnswer::Nothing);
        let gathering = Gathering {
            round,
            request: self.requests,
            lanes: waited_for.map(|lane| lane.conn).collect(),
            is_partial: lanes.iter().any(|lane| lane.answer == LaneAnswer::Nothing),
        };
        self.gathering.insert(core, gathering);
        self.requests
    }

    /// A lane is accepted on which no runs were known to come; `lane` says what it brings. The
    /// number of the request that it is to be asked with, if a barrier waits for it.
    pub(super) fn lane_accepted(&mut self, conn: ConnKey, lane: Option<IncomingLane>) -> Option<u64> {
        let answer = lane.map(|lane| lane.answer);
        let waiting = self.gathering.values_mut().filter(|gathering| gathering.lanes.contains(&conn));
        let mut request = None;
        for gathering in waiting {
            if answer == Some(LaneAnswer::Mark) {
                request = request.max(Some(gathering.request));
            } else {
                gathering.lanes.remove(&conn);
                gathering.is_partial |= answer.is_some();
            }
        }
        request
    }

    /// The mark of a request has come over a lane; it stands for earlier ones, too.
    pub(super) fn lane_marked(&mut self, conn: ConnKey, request: u64) {
        for gathering in self.gathering.values_mut().filter(|gathering| gathering.request <= request) {
            gathering.lanes.remove(&conn);
        }
    }

    /// A lane brings nothing more.
    pub(super) fn lane_ended(&mut self, conn: ConnKey) {
        self.lane_marked(conn, u64::MAX);
    }

    /// A lane is closed. What one that was half open had is told by nobody.
    pub(super) fn lane_closed(&mut self, conn: ConnKey, was_half_open: bool) {
        if was_half_open {
            let waiting = self.gathering.values_mut().filter(|gathering| gathering.lanes.contains(&conn));
            waiting.for_each(|gathering| gathering.is_partial = true);
        }
        self.lane_ended(conn);
    }

    /// The mark of a sibling has come.
    pub(super) fn sibling_marked(&mut self, core: CoreIndex, mark: &Mark) {
        if let Some(present) = self.present.as_mut().filter(|_| mark.number == self.round) {
            present.cores.remove(&core);
            present.is_partial |= mark.partial;
        }
    }

    /// Siblings for whom this core's part is done, each with the mark to put into its batches.
    pub(super) fn take_gathered(&mut self) -> Vec<(CoreIndex, Mark)> {
        let done = self.gathering.extract_if(.., |_, gathering| gathering.lanes.is_empty());
        let mark = |(core, Gathering { round, is_partial, .. })| {
            (core, Mark { number: round, partial: is_partial, receivers: Vec::new() })
        };
        let mut marks: Vec<(CoreIndex, Mark)> = done.map(mark).collect();
        let own = marks.iter().position(|(core, _)| *core == self.own).map(|at| marks.remove(at));
        if let Some((core, mark)) = own {
            self.sibling_marked(core, &mark);
        }
        marks
    }

    /// The receivers whose barrier is over, and those that were put back.
    pub(super) fn take_passed(&mut self) -> Vec<Passed> {
        let mut passed = std::mem::take(&mut self.passed);
        if let Some(Present { askers, is_partial, .. }) =
            self.present.take_if(|present| present.cores.is_empty())
        {
            passed.extend(askers.into_iter().map(|(slot, asker)| Passed { slot, asker, is_partial }));
        }
        passed
    }

    /// A receiver's mark waits for what stands before it.
    pub(super) fn put_back(&mut self, passed: Passed) {
        self.passed.push(passed);
    }
}

#[cfg(test)]
mod tests {
    use super::LaneAnswer::{Mark as Answers, Nothing, Unknown};
    use super::*;

    fn asker(number: u64) -> Asker {
        Asker { conn: ConnKey(1), receiver: ReceiverNumber(2), number }
    }

    const fn lane(conn: u64, answer: LaneAnswer) -> IncomingLane {
        IncomingLane { conn: ConnKey(conn), answer }
    }

    fn numbers(barriers: &mut Barriers) -> Vec<(u64, bool)> {
        barriers.take_passed().iter().map(|passed| (passed.asker.number, passed.is_partial)).collect()
    }

    #[test]
    fn a_barrier_is_over_when_all_lanes_and_siblings_have_brought_their_marks() {
        let mut barriers = Barriers::new(0, 2);
        barriers.ask(5, asker(1));
        assert_eq!(barriers.take_due(), [(0, 1)]);
        let request = barriers.gather(0, 1, &[lane(7, Answers), lane(8, Answers)]);
        assert_eq!((barriers.next_word(1), barriers.next_word(1)), (Some(1), None));
        barriers.ask(5, asker(2));
        barriers.lane_marked(ConnKey(7), request);
        barriers.sibling_marked(1, &Mark { number: 1, ..Mark::default() });
        assert_eq!((barriers.take_gathered(), numbers(&mut barriers)), (vec![], vec![]));
        barriers.lane_ended(ConnKey(8));
        assert_eq!(barriers.take_gathered(), []);
        assert_eq!(numbers(&mut barriers), [(1, false)]);
        assert!(barriers.has_work(), "the second mark has a barrier of its own");
        assert_eq!(barriers.take_due(), [(0, 2)]);
        barriers.gather(0, 2, &[]);
        barriers.sibling_marked(1, &Mark { number: 1, ..Mark::default() });
        barriers.take_gathered();
        assert_eq!(numbers(&mut barriers), [], "the mark of the first barrier does not end the second");
        barriers.sibling_marked(1, &Mark { number: 2, partial: true, ..Mark::default() });
        assert_eq!(numbers(&mut barriers), [(2, true)]);
        assert!(barriers.is_idle());
    }

    #[test]
    fn a_sibling_gets_its_mark_when_the_lanes_of_this_core_have_brought_theirs() {
        let mut barriers = Barriers::new(1, 3);
        barriers.asked_by(0, 4);
        barriers.asked_by(2, 9);
        assert_eq!(barriers.take_due(), [(0, 4), (2, 9)]);
        let first = barriers.gather(0, 4, &[lane(7, Answers)]);
        let second = barriers.gather(2, 9, &[lane(7, Answers), lane(8, Nothing)]);
        assert!(barriers.take_gathered().is_empty() && first < second);
        barriers.lane_marked(ConnKey(7), first);
        assert_eq!(barriers.take_gathered(), [(0, Mark { number: 4, ..Mark::default() })]);
        barriers.lane_marked(ConnKey(7), second);
        let partial = Mark { number: 9, partial: true, ..Mark::default() };
        assert_eq!(barriers.take_gathered(), [(2, partial)], "a peer without marks was not asked");
        assert!(barriers.is_idle() && !barriers.has_work());
    }
    #[test]
    fn a_dialled_lane_is_waited_for_until_it_is_known_what_it_brings() {
        let accepted = [Some(lane(7, Answers)), Some(lane(7, Nothing)), None];
        for (accepted, partial) in accepted.into_iter().zip([false, true, false]) {
            let mut barriers = Barriers::new(0, 1);
            barriers.asked_by(1, 3);
            barriers.take_due();
            let request = barriers.gather(1, 3, &[lane(7, Unknown), lane(8, Unknown)]);
            barriers.lane_closed(ConnKey(8), false);
            assert_eq!(barriers.take_gathered(), [], "the peer may have written to it");
            let asked = barriers.lane_accepted(ConnKey(7), accepted);
            assert_eq!(asked, accepted.is_some_and(|lane| lane.answer == Answers).then_some(request));
            if let Some(asked) = asked {
                assert_eq!(barriers.take_gathered(), []);
                barriers.lane_marked(ConnKey(7), asked);
            }
            assert_eq!(barriers.take_gathered(), [(1, Mark { number: 3, partial, ..Mark::default() })]);
        }
        let mut barriers = Barriers::new(0, 1);
        assert_eq!(barriers.lane_accepted(ConnKey(7), accepted[0]), None, "nobody waits");
        barriers.asked_by(1, 3);
        barriers.take_due();
        barriers.gather(1, 3, &[lane(7, Unknown)]);
        barriers.lane_closed(ConnKey(7), true);
        let partial = Mark { number: 3, partial: true, ..Mark::default() };
        assert_eq!(barriers.take_gathered(), [(1, partial)], "what it had is lost, and nobody says so");
    }
}
