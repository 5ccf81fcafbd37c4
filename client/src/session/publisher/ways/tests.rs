//! Two ways against routers and a receiver of the model: each event once and in order, whatever
//! dies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use millrace_proto::control::{self, OutcomeKind, OutcomeReason, SeqRanges, TableCapacity};
use millrace_proto::data::{self, DataFrame, flag};
use millrace_proto::frame::FrameReader;
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};
use proptest::prelude::*;

use super::Ways;
use super::ends::WAIT_NS;
use crate::session::publisher::{ConfirmLevel, GivenUp, Outcome, PublishError, PublisherConfig};
use crate::session::receiver::Dedup;
use crate::session::{PublisherSession, SessionError, Side};
use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

const KEY: PublisherKey = PublisherKey { publisher: PublisherId(5), epoch: Epoch(2) };
/// Tag sets of the model.
const SETS: u64 = 3;

/// A run as a router has read it: its seqs, its floor and its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    seqs: Range<u64>,
    floor: u64,
    flags: u64,
}

/// One router of the model.
#[derive(Debug, Default)]
struct Router {
    is_up: bool,
    reader: FrameReader,
    /// What it has read and not routed.
    inbox: VecDeque<Read>,
    /// What it has routed and not confirmed.
    routed: Vec<Range<u64>>,
}

/// A publisher, its two routers, and a receiver that selects everything.
struct World {
    ways: Ways,
    routers: [Router; 2],
    now: Time,
    level: ConfirmLevel,
    dedup: Dedup,
    /// Seqs in the order in which the receiver's application gets them.
    delivered: Vec<u64>,
    ended: BTreeMap<u64, Outcome>,
}

fn ways(level: ConfirmLevel, buffer_bytes: usize) -> Ways {
    let mut config = PublisherConfig::new(KEY);
    (config.level, config.linger_ns, config.redundant) = (level, 0, true);
    config.buffer_bytes = buffer_bytes;
    Ways::two(PublisherSession::new(config.clone()), PublisherSession::new(config))
}

fn set_of(seq: u64) -> TagSet {
    TagSet::new([("n", (seq % SETS).to_string())]).unwrap()
}

fn outcome(kind: OutcomeKind, receivers: u64, seqs: Range<u64>) -> control::Outcome {
    let mut ranges = SeqRanges::new();
    assert!(ranges.push(seqs.start, seqs.end - seqs.start));
    let reasons = if kind == OutcomeKind::Partial { vec![OutcomeReason::Overflow] } else { Vec::new() };
    control::Outcome { kind, seqs: ranges, receivers, reasons, missed: 1, ..control::Outcome::default() }
}

impl World {
    fn new(level: ConfirmLevel, buffer_bytes: usize) -> Self {
        Self {
            ways: ways(level, buffer_bytes),
            routers: <[Router; 2]>::default(),
            now: Time::from_nanos(1),
            level,
            dedup: Dedup::default(),
            delivered: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    fn start(&mut self, side: Side) {
        if !std::mem::replace(&mut self.routers[side as usize].is_up, true) {
            self.ways.stream_started(side, TableCapacity::CLIENT);
            self.ways.way_mut(side).on_credit(u64::MAX / 2);
        }
    }

    fn kill(&mut self, side: Side) {
        if std::mem::take(&mut self.routers[side as usize]).is_up {
            assert!(self.ways.stream_lost(side).is_empty(), "nothing is unknown");
            self.settle();
        }
    }

    fn publish(&mut self, count: u64) -> bool {
        for _ in 0..count {
            let seq = self.ways.next_seq();
            match self.ways.publish_addressed(self.now, &set_of(seq), seq, b"x", &[]) {
                Ok(published) => assert_eq!(published, seq),
                Err(PublishError::WouldBlock) => return false,
                Err(error) => panic!("{error}"),
            }
        }
        self.settle();
        true
    }

    /// A router reads what is due.
    fn write(&mut self, side: Side) {
        let Self { ways, routers, now, .. } = self;
        let Router { reader, inbox, .. } = &mut routers[side as usize];
        while let Some(chunk) = ways.take_output(side, *now) {
            let read = reader.feed::<SessionError>(&chunk, data::FRAME_BYTES_MAX, |kind, body| {
                if kind == data::kind::RUN
                    && let DataFrame::Run { hop, body } = data::decode(kind, body)?
                {
                    let first = body.first_seq();
                    let seqs = first..first + body.count();
                    inbox.push_back(Read { seqs, floor: body.floor(), flags: hop.flags });
                }
                Ok(())
            });
            read.unwrap();
        }
        self.settle();
    }

    /// A router routes so many of its runs.
    fn route(&mut self, side: Side, runs: usize) {
        for _ in 0..runs {
            let router = &mut self.routers[side as usize];
            let Some(Read { seqs, floor, flags }) = router.inbox.pop_front() else { break };
            router.routed.push(seqs.clone());
            let was_sent = flags & flag::RESENT != 0;
            let fresh = self.dedup.take(KEY, seqs.clone(), floor, was_sent);
            assert!(!fresh.maybe_duplicate);
            self.delivered.extend(seqs.clone().filter(|seq| fresh.contains(*seq)));
            self.ways.way_mut(side).on_received(seqs.end).unwrap();
        }
        self.settle();
    }

    /// A router says what became of all that it has routed.
    fn say(&mut self, side: Side, kind: OutcomeKind, receivers: u64) {
        for seqs in std::mem::take(&mut self.routers[side as usize].routed) {
            if self.level.is_confirmed() {
                self.ways.way_mut(side).on_outcome(&outcome(kind, receivers, seqs)).unwrap();
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(ended) = self.ways.poll_ended() {
            for seq in ended.seqs {
                assert!(self.ended.insert(seq, ended.outcome.clone()).is_none(), "{seq} ended twice");
            }
        }
    }

    /// Both routers are there and do their work.
    fn finish(&mut self) {
        for _ in 0..4 {
            for side in Side::BOTH {
                self.start(side);
                self.write(side);
                self.route(side, usize::MAX);
                self.say(side, OutcomeKind::Confirmed, 1);
            }
        }
    }

    /// Each event was delivered once, in its order, and ended.
    fn check(&self) {
        assert!(self.ways.is_flushed(), "{} of {}", self.ways.settled(), self.ways.next_seq());
        let all: BTreeSet<u64> = self.delivered.iter().copied().collect();
        assert_eq!(all.len(), self.delivered.len(), "an event came twice");
        assert_eq!(all, (0..self.ways.next_seq()).collect());
        for set in 0..SETS {
            let of_set: Vec<u64> = self.delivered.iter().copied().filter(|seq| seq % SETS == set).collect();
            assert!(of_set.is_sorted(), "disorder: {of_set:?}");
        }
        if self.level.is_confirmed() {
            assert_eq!(self.ended.len() as u64, self.ways.next_seq());
        }
    }
}

fn routed() -> World {
    let mut world = World::new(ConfirmLevel::Routed, 1 << 20);
    Side::BOTH.into_iter().for_each(|side| world.start(side));
    world
}

#[test]
fn each_router_gets_each_event_with_one_id() {
    for (level, flags) in [(ConfirmLevel::None, flag::RESENT), (ConfirmLevel::Routed, 1)] {
        let mut world = World::new(level, 1 << 20);
        Side::BOTH.into_iter().for_each(|side| world.start(side));
        world.publish(3);
        Side::BOTH.into_iter().for_each(|side| world.write(side));
        let runs: Vec<Read> = (0..3).map(|seq| Read { seqs: seq..seq + 1, floor: 0, flags }).collect();
        assert_eq!(
            world.routers.each_ref().map(|router| Vec::from(router.inbox.clone())),
            [runs.clone(), runs]
        );
        world.finish();
        world.check();
    }
}

#[test]
fn one_router_is_enough_while_the_other_one_is_away() {
    for level in [ConfirmLevel::None, ConfirmLevel::Routed] {
        let mut world = World::new(level, 1 << 20);
        world.start(Side::First);
        let round = |world: &mut World, side: Side| {
            world.publish(10);
            world.write(side);
            world.route(side, usize::MAX);
            world.say(side, OutcomeKind::Confirmed, 0);
            assert!(world.ways.is_flushed(), "it waits for a router that is not there");
        };
        round(&mut world, Side::First);
        world.start(Side::Second);
        world.publish(5);
        Side::BOTH.into_iter().for_each(|side| world.write(side));
        world.route(Side::Second, usize::MAX);
        world.kill(Side::First);
        world.say(Side::Second, OutcomeKind::Confirmed, 0);
        assert!(world.ways.is_flushed(), "it waits for a router that is lost");
        round(&mut world, Side::Second);
        world.kill(Side::Second);
        world.start(Side::First);
        assert_eq!(world.ways.by_one(), 10 + 5 + 10);
        round(&mut world, Side::First);
        world.check();
    }
}

#[test]
fn the_better_outcome_counts_and_the_best_is_told_at_once() {
    let mut world = routed();
    world.publish(1);
    Side::BOTH.into_iter().for_each(|side| world.write(side));
    Side::BOTH.into_iter().for_each(|side| world.route(side, 1));
    world.say(Side::First, OutcomeKind::Confirmed, 2);
    assert_eq!(world.ended[&0], Outcome::Confirmed { receivers: 2 });
    world.say(Side::Second, OutcomeKind::Partial, 1);

    // A router that knows no receiver waits for the other one.
    world.publish(2);
    Side::BOTH.into_iter().for_each(|side| world.write(side));
    Side::BOTH.into_iter().for_each(|side| world.route(side, 2));
    world.say(Side::First, OutcomeKind::Confirmed, 0);
    assert_eq!(world.ended.len(), 1);
    world.say(Side::Second, OutcomeKind::Partial, 3);
    let partial =
        |receivers| Outcome::Partial { receivers, missed: 1, reasons: vec![OutcomeReason::Overflow] };
    assert_eq!(world.ended[&1], partial(3));

    // A partial one waits for a router that is lost, too, but no longer than such a router is
    // counted on.
    world.publish(1);
    Side::BOTH.into_iter().for_each(|side| world.write(side));
    world.kill(Side::Second);
    world.route(Side::First, 1);
    world.say(Side::First, OutcomeKind::Partial, 3);
    assert_eq!(world.ended.len(), 3);
    assert!(world.ways.poll_timeout(Side::First) > Some(world.now));
    world.now = world.now.after(WAIT_NS);
    world.write(Side::First);
    assert_eq!(world.ended[&3], partial(3));
    world.publish(1);
    world.write(Side::First);
    world.route(Side::First, 1);
    world.say(Side::First, OutcomeKind::Partial, 3);
    assert_eq!(world.ended[&4], partial(3), "the lost router is given up");
    assert!(world.ways.is_flushed());
}

#[test]
fn a_router_that_reads_nothing_holds_up_the_other_one_by_no_more_than_a_buffer() {
    for level in [ConfirmLevel::None, ConfirmLevel::Routed] {
        let mut world = World::new(level, 16 * 1024);
        world.start(Side::First);
        world.routers[1].is_up = true;
        world.ways.stream_started(Side::Second, TableCapacity::CLIENT);
        for _ in 0..2_000 {
            assert!(world.publish(10));
            world.write(Side::First);
            world.write(Side::Second);
            world.route(Side::First, usize::MAX);
            world.say(Side::First, OutcomeKind::Confirmed, 1);
        }
        assert!(world.ways.is_flushed() && world.ways.by_one() > 15_000, "{}", world.ways.by_one());
        assert!(world.routers[1].inbox.is_empty());
        // When it reads again it goes on behind what it missed, in order.
        world.ways.way_mut(Side::Second).on_credit(u64::MAX / 2);
        world.publish(10);
        world.finish();
        world.check();
    }
}

#[test]
fn the_floor_stays_where_a_copy_may_still_come() {
    let mut world = routed();
    world.publish(10);
    Side::BOTH.into_iter().for_each(|side| world.write(side));
    world.route(Side::First, usize::MAX);
    world.say(Side::First, OutcomeKind::Confirmed, 1);
    world.route(Side::Second, 4);
    let floor = |world: &mut World| {
        world.publish(1);
        world.write(Side::First);
        world.routers[0].inbox.pop_back().unwrap().floor
    };
    assert_eq!(floor(&mut world), 4, "the other router has not received it");
    world.kill(Side::Second);
    assert_eq!(floor(&mut world), 4, "a lost one may have");
    world.now = world.now.after(WAIT_NS + SECOND_NS);
    world.write(Side::First);
    assert_eq!(floor(&mut world), 10, "it is given up");
}

#[test]
fn what_expires_on_one_way_has_ended_as_the_other_router_says() {
    for level in [ConfirmLevel::None, ConfirmLevel::Routed] {
        let mut world = World::new(level, 1 << 20);
        world.start(Side::First);
        world.routers[1].is_up = true;
        world.ways.stream_started(Side::Second, TableCapacity::CLIENT);
        world.publish(2);
        world.write(Side::First);
        world.publish(2);
        world.ways.expire_before(100);
        world.settle();
        let expired = Outcome::GivenUp { why: GivenUp::Expired };
        assert_eq!(world.ended.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert!(world.ended.values().all(|outcome| *outcome == expired));
        world.route(Side::First, usize::MAX);
        world.say(Side::First, OutcomeKind::Confirmed, 1);
        assert!(world.ways.is_flushed());
        let confirmed = world.ended.values().filter(|outcome| outcome.is_confirmed()).count();
        assert_eq!(confirmed, if level.is_confirmed() { 2 } else { 0 });
        assert_eq!(world.ended.values().filter(|outcome| **outcome == expired).count(), 2);
    }
}

#[test]
fn no_event_joins_a_run_behind_which_others_were_taken_out() {
    let mut world = routed();
    world.publish(SETS);
    world.write(Side::Second);
    world.route(Side::Second, 1);
    world.say(Side::Second, OutcomeKind::Partial, 0);
    world.kill(Side::First);
    world.route(Side::Second, usize::MAX);
    world.say(Side::Second, OutcomeKind::Confirmed, 1);
    // The first way holds event 0 alone, and the next one has the same tag set.
    assert_eq!(world.ways.way(Side::First).pending(), std::slice::from_ref(&(0..1)));
    world.publish(1);
    world.start(Side::First);
    world.write(Side::First);
    let seqs: Vec<Range<u64>> = world.routers[0].inbox.iter().map(|run| run.seqs.clone()).collect();
    assert_eq!(seqs, [0..1, SETS..SETS + 1]);
    world.finish();
    world.check();
}

#[test]
fn an_event_for_somebody_alone_is_refused() {
    let refused =
        ways(ConfirmLevel::Routed, 1 << 20).publish_addressed(Time::ZERO, &set_of(0), 0, b"x", &[7, 1, 0]);
    assert_eq!(refused, Err(PublishError::AddressedTwice));
}

proptest! {
    /// Whatever is written, routed, confirmed, killed and started in whatever order: each event is
    /// delivered once and in order, ends once, and all end when both routers work.
    #[test]
    fn each_event_comes_once_and_in_order_whatever_dies(
        level in prop::sample::select(vec![ConfirmLevel::None, ConfirmLevel::Routed, ConfirmLevel::Delivered]),
        buffer_bytes in prop::sample::select(vec![600_usize, 4_000, 1 << 20]),
        steps in prop::collection::vec((0_u8..7, any::<bool>(), 1_u64..12), 1..120),
    ) {
        let mut world = World::new(level, buffer_bytes);
        for (step, is_second, count) in steps {
            let side = if is_second { Side::Second } else { Side::First };
            match step {
                0 | 1 => drop(world.publish(count)),
                2 => world.write(side),
                3 => world.route(side, usize::try_from(count).unwrap()),
                4 => match count {
                    1 | 2 => world.say(side, OutcomeKind::Confirmed, 0),
                    3 => world.say(side, OutcomeKind::Partial, 1),
                    _ => world.say(side, OutcomeKind::Confirmed, 1),
                },
                5 => world.start(side),
                _ => match count {
                    1..4 => world.kill(side),
                    _ => world.now = world.now.after(count * 700 * MILLISECOND_NS),
                },
            }
        }
        world.finish();
        world.check();
    }
}
