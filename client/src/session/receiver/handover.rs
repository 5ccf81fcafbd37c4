//! How the streams of one receiver on two routers become one, without a gap, a repeat or disorder.
//!
//! A receiver that moves has its subscriptions on the new router while the old one still delivers.
//! Marks say how the two streams hang together: a router writes a mark behind everything that any
//! router of the cluster had routed before the mark was asked for. Each mark is asked for when the
//! step before is done:
//!
//! ```text
//!   new router   subscribed with both ─────── asked ─── mark ┐
//!                dropped: comes on the old stream, too ───────┤ held ─────────────────────────▶ delivered, but
//!   old router                                                └ asked ─── mark ┐                for what came
//!                delivered ─────────────── delivered, and remembered ──────────┤ dropped        on the old one
//! ```
//!
//! What stands before the new stream's mark was routed before the old stream's was asked for, so
//! that the old router delivers it: a subscription that was asked for shortly before the move has
//! to be effective there, too, else what the old stream lacks would come behind what it brings.
//! What stands behind was routed after the new mark was asked for; if the old router has delivered
//! it, too, it did so after that moment, and its events were remembered. The new router may be far
//! behind, so that they are remembered for longer than the move takes ([`Echo`]). Nothing depends
//! on time, or on what else the routers know of each other.
//!
//! The old router delivers nothing new from its mark on, so that a last mark says when every run
//! for the receiver has come that its publisher wants acknowledged.

use std::ops::Range;

use millrace_proto::data::{Mark, Source};
use millrace_proto::{PublisherKey, SubscriptionNumber};

use super::dedup::Fresh;
use super::echo::Echo;
use crate::session::cursor::Passed;

/// One of the two sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// With the router that the receiver leaves.
    Old,
    /// With the router that it goes to.
    New,
}

/// What becomes of a run or gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Deliver,
    /// It is kept until the old stream has ended; [`Handover::fresh`] then says what of it is
    /// delivered.
    Hold,
    /// It is not delivered, because the other stream brings it or has brought it.
    Drop,
}

/// How far a receiver's move has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its subscriptions are not effective on both routers; the flags name those where they are.
    Subscribing { old: bool, new: bool },
    /// The first mark of the new stream is awaited; none before it was asked for.
    Joining(Option<u64>),
    /// The mark of the old stream is awaited.
    Draining(Option<u64>),
    /// The last mark of the old stream is awaited.
    Emptying(Option<u64>),
    /// The old stream brings nothing more.
    Over,
}

/// The move of one receiver.
#[derive(Debug)]
pub struct Handover {
    stage: Stage,
    /// Events that the old stream has brought since the new stream's mark was asked for.
    had: Echo,
    /// Some router could not be asked for what it had routed, or the old stream has dropped
    /// something.
    is_partial: bool,
}

impl Default for Handover {
    fn default() -> Self {
        let stage = Stage::Subscribing { old: false, new: false };
        Self { stage, had: Echo::default(), is_partial: false }
    }
}

impl Handover {
    /// The subscriptions that move are effective in the cluster of a session's router.
    pub const fn effective(&mut self, session: Session) {
        let Stage::Subscribing { old, new } = &mut self.stage else { return };
        match session {
            Session::Old => *old = true,
            Session::New => *new = true,
        }
        if *old && *new {
            self.stage = Stage::Joining(None);
        }
    }

    /// Whose router is to be asked for a mark now, if any is.
    #[must_use]
    pub const fn to_ask(&self) -> Option<Session> {
        match self.stage {
            Stage::Joining(None) => Some(Session::New),
            Stage::Draining(None) | Stage::Emptying(None) => Some(Session::Old),
            _ => None,
        }
    }

    /// That router was asked for a mark of this number.
    pub const fn asked(&mut self, number: u64) {
        match &mut self.stage {
            Stage::Joining(asked) | Stage::Draining(asked) | Stage::Emptying(asked) => *asked = Some(number),
            Stage::Subscribing { .. } | Stage::Over => {}
        }
    }

    /// A mark stands here in a stream. Others than the awaited one mean nothing.
    pub fn marked(&mut self, session: Session, mark: &Mark) {
        let next = match (self.stage, session) {
            (Stage::Joining(Some(number)), Session::New) if number == mark.number => Stage::Draining(None),
            (Stage::Draining(Some(number)), Session::Old) if number == mark.number => Stage::Emptying(None),
            (Stage::Emptying(Some(number)), Session::Old) if number == mark.number => Stage::Over,
            _ => return,
        };
        self.stage = next;
        self.is_partial |= mark.partial;
    }

    /// Judges a run of these seqs.
    pub fn judge(&mut self, session: Session, publisher: PublisherKey, seqs: Range<u64>) -> Verdict {
        let verdict = self.verdict(session);
        let is_remembered = matches!(self.stage, Stage::Joining(Some(_)) | Stage::Draining(_));
        if verdict == Verdict::Deliver && is_remembered {
            self.had.remember(publisher, seqs);
        }
        verdict
    }

    /// Judges a gap. What the old stream has dropped since the new one's mark was asked for may be
    /// held from the new one, where it would come behind its successors: the move is not whole.
    pub const fn gap(&mut self, session: Session) -> Verdict {
        if matches!((session, self.stage), (Session::Old, Stage::Joining(Some(_)) | Stage::Draining(_))) {
            self.is_partial = true;
        }
        self.verdict(session)
    }

    /// Judges what is neither run nor gap.
    #[must_use]
    pub const fn verdict(&self, session: Session) -> Verdict {
        match (session, self.stage) {
            (Session::Old, Stage::Subscribing { .. } | Stage::Joining(_) | Stage::Draining(_)) => {
                Verdict::Deliver
            }
            (Session::New, Stage::Draining(_) | Stage::Emptying(_) | Stage::Over) => Verdict::Hold,
            (Session::Old, _) | (Session::New, _) => Verdict::Drop,
        }
    }

    /// The move ends, and the old stream has come so far.
    pub fn passed(&mut self, passed: Passed) {
        self.had.passed(passed);
    }

    /// What of a run that was held is to be delivered.
    #[must_use]
    pub fn fresh(&self, publisher: PublisherKey, seqs: Range<u64>) -> Fresh {
        self.had.fresh(publisher, seqs)
    }

    /// Whether a subscription has had what was held and stands at this place.
    #[must_use]
    pub fn has_passed(&self, subscription: SubscriptionNumber, place: &(Source, u64)) -> bool {
        self.had.has_passed(subscription, place)
    }

    /// What the new stream may bring again when the move is over, and what was held is delivered.
    #[must_use]
    pub fn into_echo(self) -> Echo {
        self.had
    }

    /// Whether the new stream has begun: what it brings is held.
    #[must_use]
    pub const fn has_joined(&self) -> bool {
        matches!(self.verdict(Session::New), Verdict::Hold)
    }

    /// Whether the old stream has brought everything that the new one does not.
    #[must_use]
    pub const fn has_drained(&self) -> bool {
        matches!(self.stage, Stage::Emptying(_) | Stage::Over)
    }

    /// Whether the old stream brings nothing more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether nothing is missing between the two streams.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.has_drained() && !self.is_partial
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use millrace_proto::{Epoch, Incarnation, PublisherId, RouterId};
    use proptest::prelude::*;

    use super::*;

    const SOURCES: usize = 3;
    const PUBLISHERS: usize = 2;

    /// What stands in a stream, or travels towards it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Thing {
        /// A run of a publisher, and the source that routed it.
        Run(usize, u64, Range<u64>),
        Mark(u64),
    }

    /// A router of the receiver: what is on its way from each source, in order, and its stream.
    #[derive(Debug, Default)]
    struct Router {
        ways: [VecDeque<Thing>; SOURCES],
        /// Sources whose mark has not arrived, and the mark.
        barrier: Option<(Vec<usize>, u64)>,
        stream: VecDeque<Thing>,
        wants: [bool; SOURCES],
    }

    impl Router {
        /// One thing arrives from a source.
        fn arrive(&mut self, source: usize) {
            match self.ways[source].pop_front() {
                Some(Thing::Mark(number)) => {
                    if let Some((waiting, asked)) = &mut self.barrier
                        && *asked == number
                    {
                        waiting.retain(|other| *other != source);
                        if waiting.is_empty() {
                            self.stream.push_back(Thing::Mark(number));
                            self.barrier = None;
                        }
                    }
                }
                Some(run) => self.stream.push_back(run),
                None => {}
            }
        }

        fn ask(&mut self, number: u64) {
            self.barrier = Some(((0..SOURCES).collect(), number));
            self.ways.iter_mut().for_each(|way| way.push_back(Thing::Mark(number)));
        }
    }

    fn key(publisher: u64) -> PublisherKey {
        PublisherKey { publisher: PublisherId(publisher.into()), epoch: Epoch(1) }
    }

    /// A receiver that moves, in a world where everything may take its time.
    #[derive(Debug, Default)]
    struct World {
        old: Router,
        new: Router,
        handover: Handover,
        marks: u64,
        next_seq: [u64; PUBLISHERS],
        routed: Vec<(usize, u64, u64)>,
        held: Vec<(usize, u64, Range<u64>)>,
        /// Behind the move, until the new stream's last mark.
        echo: Option<Echo>,
        has_moved: bool,
        is_whole: bool,
        delivered: Vec<(usize, u64, u64)>,
    }

    impl World {
        fn publish(&mut self, source: usize, publisher: u64, count: u64) {
            let next = &mut self.next_seq[usize::try_from(publisher).unwrap()];
            let seqs = *next..*next + count;
            *next = seqs.end;
            // What nobody matched yet is not owed.
            if self.old.wants[source] {
                self.routed.extend(seqs.clone().map(|seq| (source, publisher, seq)));
            }
            for router in [&mut self.old, &mut self.new] {
                if router.wants[source] {
                    router.ways[source].push_back(Thing::Run(source, publisher, seqs.clone()));
                }
            }
        }

        fn read(&mut self, session: Session) {
            let stream = if session == Session::Old { &mut self.old.stream } else { &mut self.new.stream };
            let thing = stream.pop_front();
            if self.has_moved && session == Session::Old {
                return;
            }
            match thing {
                Some(Thing::Mark(number)) if self.has_moved => {
                    self.echo.take_if(|echo| echo.ends_at(&Mark { number, ..Mark::default() }));
                }
                Some(Thing::Run(source, publisher, seqs)) if self.has_moved => {
                    self.deliver_fresh(source, publisher, seqs);
                }
                Some(Thing::Mark(number)) => {
                    self.handover.marked(session, &Mark { number, ..Mark::default() });
                }
                Some(Thing::Run(source, publisher, seqs)) => {
                    match self.handover.judge(session, key(publisher), seqs.clone()) {
                        Verdict::Deliver => {
                            self.delivered.extend(seqs.map(|seq| (source, publisher, seq)));
                        }
                        Verdict::Hold => self.held.push((source, publisher, seqs)),
                        Verdict::Drop => {}
                    }
                }
                None => {}
            }
        }

        fn step(&mut self, kind: u8, at: usize) {
            match kind {
                0..=3 => self.publish(at % SOURCES, (at % PUBLISHERS) as u64, 1 + at as u64 % 3),
                4..=5 => self.old.arrive(at % SOURCES),
                6..=7 => self.new.arrive(at % SOURCES),
                8 => self.read(Session::Old),
                9 => self.read(Session::New),
                10 => self.new.wants[at % SOURCES] = true,
                11 => self.old.wants[at % SOURCES] = true,
                _ => {}
            }
            for (session, router) in [(Session::Old, &self.old), (Session::New, &self.new)] {
                // The router may say so later.
                if kind == 12 && router.wants == [true; SOURCES] && !self.has_moved {
                    self.handover.effective(session);
                }
            }
            if let Some(session) = self.handover.to_ask() {
                self.marks += 1;
                self.handover.asked(self.marks);
                if session == Session::Old { &mut self.old } else { &mut self.new }.ask(self.marks);
            }
            if self.handover.is_over() && !self.has_moved {
                self.take_over();
            }
        }

        fn deliver_fresh(&mut self, source: usize, publisher: u64, seqs: Range<u64>) {
            let fresh = self.echo.as_ref().map(|echo| echo.fresh(key(publisher), seqs.clone()));
            let seqs = seqs.filter(|&seq| fresh.as_ref().is_none_or(|fresh| fresh.contains(seq)));
            self.delivered.extend(seqs.map(|seq| (source, publisher, seq)));
        }

        /// The new stream is taken as it comes, behind what was held of it.
        fn take_over(&mut self) {
            self.has_moved = true;
            self.is_whole = self.handover.is_whole();
            let mut echo = std::mem::take(&mut self.handover).into_echo();
            self.marks += 1;
            echo.asked(self.marks);
            self.new.ask(self.marks);
            self.echo = Some(echo);
            for (source, publisher, seqs) in std::mem::take(&mut self.held) {
                self.deliver_fresh(source, publisher, seqs);
            }
        }

        fn has_more(&self) -> bool {
            let has_more =
                |router: &Router| !router.stream.is_empty() || router.ways.iter().any(|way| !way.is_empty());
            has_more(&self.old) || has_more(&self.new)
        }

        /// Everything arrives and is read.
        fn finish(&mut self) {
            self.old.wants = [true; SOURCES];
            self.new.wants = [true; SOURCES];
            for _ in 0..5 {
                self.step(12, 0);
                while self.has_more() {
                    (0..SOURCES).for_each(|source| self.old.arrive(source));
                    (0..SOURCES).for_each(|source| self.new.arrive(source));
                    self.read(Session::Old);
                    self.read(Session::New);
                }
            }
        }
    }

    fn by_source(events: &[(usize, u64, u64)]) -> BTreeMap<usize, Vec<(u64, u64)>> {
        let mut sources = BTreeMap::<_, Vec<_>>::new();
        for &(source, publisher, seq) in events {
            sources.entry(source).or_default().push((publisher, seq));
        }
        sources
    }

    proptest! {
        /// Whatever takes how long: the receiver gets what each source has routed, in its order,
        /// once, also of subscriptions that are young on the old router.
        #[test]
        fn a_move_has_no_gap_no_repeat_and_no_disorder(
            is_young: bool,
            steps in prop::collection::vec((0_u8..13, 0_usize..60), 0..400),
        ) {
            let mut world = World::default();
            world.old.wants = [!is_young; SOURCES];
            steps.into_iter().for_each(|(kind, at)| world.step(kind, at));
            world.finish();
            prop_assert!(world.is_whole && world.echo.is_none());
            prop_assert_eq!(by_source(&world.delivered), by_source(&world.routed));
        }
    }

    #[test]
    fn marks_that_nobody_waits_for_mean_nothing() {
        let mut handover = Handover::default();
        let mark = |number| Mark { number, partial: number == 9, ..Mark::default() };
        handover.marked(Session::New, &mark(0));
        handover.effective(Session::New);
        assert_eq!(handover.to_ask(), None, "the old router does not match yet what the new one does");
        handover.effective(Session::Old);
        assert_eq!(handover.to_ask(), Some(Session::New));
        handover.asked(4);
        handover.marked(Session::Old, &mark(4));
        handover.marked(Session::New, &mark(3));
        assert!(!handover.has_joined());
        handover.marked(Session::New, &mark(4));
        assert!(handover.has_joined() && !handover.has_drained());
        handover.asked(9);
        handover.marked(Session::Old, &mark(9));
        assert!(handover.has_drained() && !handover.is_whole(), "a router could not be asked");
    }

    #[test]
    fn a_move_in_which_the_old_stream_drops_something_is_not_whole() {
        let moved = |gap_at: usize| {
            let mut handover = Handover::default();
            [Session::Old, Session::New].into_iter().for_each(|session| handover.effective(session));
            for (step, session) in [Session::New, Session::Old, Session::Old].into_iter().enumerate() {
                handover.asked(step as u64);
                if step == gap_at {
                    handover.gap(Session::Old);
                }
                handover.marked(session, &Mark { number: step as u64, ..Mark::default() });
            }
            assert!(handover.is_over());
            handover.is_whole()
        };
        assert_eq!([0, 1, 2, 3].map(moved), [false, false, true, true]);
    }

    #[test]
    fn what_the_old_stream_had_passed_comes_once_though_a_router_could_not_be_asked() {
        let source = Source { router: RouterId(1), incarnation: Incarnation(1), owner: 0 };
        let mut handover = Handover::default();
        handover.effective(Session::Old);
        handover.effective(Session::New);
        // Behind the mark the new router brings what the old one has brought before.
        assert_eq!(handover.judge(Session::Old, key(1), 0..3), Verdict::Deliver);
        handover.asked(1);
        handover.marked(Session::New, &Mark { number: 1, partial: true, ..Mark::default() });
        assert_eq!(handover.judge(Session::New, key(1), 0..3), Verdict::Hold);
        let (one, two) = (SubscriptionNumber(1), SubscriptionNumber(2));
        let mut passed = Passed::default();
        passed.live.pass(source, 8);
        passed.behind.entry(two).or_default().pass(source, 3);
        handover.passed(passed);
        let had = [3, 7, 8].map(|position| handover.has_passed(one, &(source, position)));
        assert_eq!(had, [true, true, false]);
        let had = [2, 3, 7].map(|position| handover.has_passed(two, &(source, position)));
        assert_eq!(had, [true, false, false], "its replay is under way");
        let echo = handover.into_echo();
        assert!(!echo.is_empty() && echo.has_passed(one, &(source, 7)));
    }
}
