//! Receivers that ask for the past: what is replayed and what is live become one order, whoever
//! owns the runs and however publishing, replaying and granting are interleaved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{
    ControlFrame, Grant, Hello, OpenReceiver, RefusedReason, SourcePosition, Subscribe, TableCapacity,
};
use millrace_proto::data::{self, DataFrame, flag, target_flag};
use millrace_proto::frame::FrameReader;
use millrace_proto::{DecodeError, Incarnation, PROTOCOL_VERSION, RouterId, Selector, feature};

use super::confirms::{DELIVERED, ROUTED};
use super::places::keeping;
use super::world::{World, open, tag_of};
use crate::core::CoreConfig;
use crate::matching::{Index, Location, Taker};
use crate::message::ToCore;
use crate::transport::{ConnKey, StreamKey};

const SINCE_LONG_AGO: u64 = 1_000_000_000_000;

/// A small generator: the same numbers for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a receiver's stream says, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Owner, position, seq, and whether it says that it comes from history.
    Event {
        owner: u16,
        position: u64,
        seq: u64,
        replayed: bool,
    },
    Begins {
        owner: u16,
        from: u64,
        to: u64,
        oldest: u64,
    },
    Joined {
        owner: u16,
        to: u64,
    },
    Gap(&'static str),
    Cursor(BTreeMap<u16, u64>),
}

/// Two cores of one router that keep history and want everything of each other.
pub(super) struct Router(pub(super) Vec<World>);

impl Router {
    pub(super) fn new() -> Self {
        let worlds = (0..2).map(|core| {
            let mut world = keeping(core, 2);
            let mut index = Index::new(2);
            index
                .insert(&Arc::new(Selector::parse("*").unwrap()), Taker::new(Location::Core(1 - core), None));
            let directory =
                ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() };
            world.core.handle_message(world.now, &mut world.memory, directory);
            world.settle();
            world
        });
        Self(worlds.collect())
    }

    /// Carries one word, or one batch, from one core to the other; words come first.
    pub(super) fn carry(&mut self, from: u16) -> bool {
        let (source, to) = (usize::from(from), 1 - from);
        let (word, target) = (self.0[source].core.next_to_sibling(to), usize::from(to));
        if let Some(word) = word {
            let now = self.0[target].now;
            self.0[target].core.sibling_told(now, from, word);
            return true;
        }
        let Some(batch) = self.0[source].core.next_batch(to) else { return false };
        let now = self.0[target].now;
        self.0[target].core.batch(now, from, &batch).unwrap();
        true
    }

    /// Goes on until nothing happens, twice: what a turn says is carried after it.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..10_000 {
            let has_more = (self.carry(0) | self.carry(1))
                || self.0.iter().any(|world| world.core.poll_timeout() == Some(crate::time::Time::ZERO));
            self.0.iter_mut().for_each(|world| world.turns(1));
            quiet = if has_more { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!("it never settles");
    }
}

/// A client that reads places and asks for the past with each subscription.
pub(super) fn asks(world: &mut World, deliveries: u64, grant: u64, subscribe: Subscribe) -> ConnKey {
    asks_as(world, 77, deliveries, grant, subscribe)
}

/// The same, of this number.
pub(super) fn asks_as(
    world: &mut World,
    number: u64,
    deliveries: u64,
    grant: u64,
    subscribe: Subscribe,
) -> ConnKey {
    let conn = ConnKey(number);
    world.core.client_connected(world.now, conn);
    let hello = Hello {
        version: PROTOCOL_VERSION,
        receivers: 8,
        tables: TableCapacity::CLIENT,
        deliveries,
        positions: true,
        ..Hello::default()
    };
    let features = hello.features.with(feature::HISTORY).with(feature::DELIVERIES);
    world.say(conn, &ControlFrame::Hello(Hello { features, ..hello }));
    world.say(conn, &ControlFrame::OpenReceiver(OpenReceiver { grant, ..open() }));
    world.say(conn, &ControlFrame::Subscribe(subscribe));
    conn
}

pub(super) fn since(selector: &str) -> Subscribe {
    Subscribe { selectors: vec![selector.to_owned()], since_us: SINCE_LONG_AGO, ..Subscribe::default() }
}

pub(super) fn said(world: &World, conn: ConnKey) -> Vec<Said> {
    let (mut said, mut sources) = (Vec::new(), BTreeMap::new());
    let Some(written) = world.memory.written.get(&(conn, StreamKey(3))) else { return said };
    let (mut is_preamble, mut pinned) = (true, BTreeMap::new());
    FrameReader::new()
        .feed::<DecodeError>(written, data::FRAME_BYTES_MAX, |kind, body| {
            if std::mem::take(&mut is_preamble) {
                return Ok(());
            }
            let frame = data::decode(kind, body)?;
            let flagged = match &frame {
                DataFrame::Deliver { targets, .. } => {
                    Some(targets.iter().all(|target| target.flags & target_flag::REPLAYED != 0))
                }
                _ => None,
            };
            match frame {
                DataFrame::DefineSource { number, source } => drop(sources.insert(number, source.owner)),
                DataFrame::Run { hop, body } | DataFrame::Deliver { hop, body, .. } => {
                    let (number, position) = hop.position()?.expect("it has a place");
                    let owner = sources[&number];
                    let seq = body.first_seq();
                    // A stream of one receiver says by the position which runs are replayed.
                    let replayed =
                        flagged.unwrap_or_else(|| pinned.get(&owner).is_some_and(|&to| position < to));
                    said.push(Said::Event { owner, position, seq, replayed });
                }
                DataFrame::Replay(replay) if replay.joined => {
                    said.push(Said::Joined { owner: replay.owner, to: replay.to });
                }
                DataFrame::Replay(replay) => {
                    pinned.insert(replay.owner, replay.to);
                    let (owner, from, to, oldest) =
                        (replay.owner, replay.from, replay.to, replay.oldest_kept);
                    said.push(Said::Begins { owner, from, to, oldest });
                }
                DataFrame::Gap(gap) => said.push(Said::Gap(gap.reason.name())),
                DataFrame::ReceiverGap(gap) => said.push(Said::Gap(gap.reason.name())),
                DataFrame::Cursor(cursor) => {
                    let of = |number| sources[number];
                    said.push(Said::Cursor(
                        cursor.sources.iter().map(of).zip(cursor.positions.iter().copied()).collect(),
                    ));
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    said
}

/// The seqs of one owner's events.
pub(super) fn seqs(said: &[Said], of: u16) -> Vec<u64> {
    let event = |said: &Said| match said {
        Said::Event { owner, seq, .. } if *owner == of => Some(*seq),
        _ => None,
    };
    said.iter().filter_map(event).collect()
}

#[test]
fn the_past_comes_first_flagged_and_live_runs_follow_at_once() {
    for deliveries in [0, 1] {
        let mut router = Router::new();
        let publisher = router.0[0].client(1);
        let tags = [tag_of(0, 2), tag_of(1, 2)];
        for seq in 0..10 {
            router.0[0].publish(publisher, &tags[usize::from(seq % 2 == 1)], seq, &["event"]);
        }
        router.settle();
        let receiver = asks(&mut router.0[1], deliveries, 1 << 20, since("*"));
        router.settle();
        for seq in 10..14 {
            router.0[0].publish(publisher, &tags[usize::from(seq % 2 == 1)], seq, &["event"]);
        }
        router.settle();
        let said = said(&router.0[1], receiver);
        for owner in 0..2 {
            let first = u64::from(owner);
            let of_owner: Vec<_> = said
                .iter()
                .filter(|said| match said {
                    Said::Event { owner: of, .. } | Said::Begins { owner: of, .. } => *of == owner,
                    Said::Joined { owner: of, .. } => *of == owner,
                    _ => true,
                })
                .cloned()
                .collect();
            let event = |position: u64| Said::Event {
                owner,
                position,
                seq: first + 2 * position,
                replayed: position < 5,
            };
            let mut expected = vec![Said::Begins { owner, from: 0, to: 5, oldest: 0 }];
            expected.extend((0..5).map(event));
            expected.push(Said::Joined { owner, to: 5 });
            expected.extend((5..7).map(event));
            assert_eq!(of_owner, expected, "deliveries {deliveries}");
        }
    }
}

#[test]
fn no_interleaving_of_publishing_replaying_and_granting_misses_repeats_or_reorders() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut router = Router::new();
        let publisher = router.0[0].client(1);
        let tags = [tag_of(0, 2), tag_of(1, 2)];
        let mut seq = 0;
        let mut publish = |router: &mut Router, random: &mut Random| {
            router.0[0].publish(publisher, &tags[usize::from(random.below(2) == 1)], seq, &["some event"]);
            seq += 1;
            seq
        };
        for _ in 0..random.below(200) {
            publish(&mut router, &mut random);
        }
        let deliveries = random.below(2);
        let mut granted = 200;
        let mut receiver = None;
        let mut last = 0;
        for _ in 0..600 {
            match random.below(12) {
                0..=2 => last = publish(&mut router, &mut random),
                3 | 4 => drop(router.carry(0)),
                5 | 6 => drop(router.carry(1)),
                7 => router.0[0].turns(1),
                8 | 9 => router.0[1].turns(1),
                _ => match receiver {
                    None => receiver = Some(asks(&mut router.0[1], deliveries, granted, since("*"))),
                    Some(conn) => {
                        granted += random.below(400);
                        let grant = Grant { bytes: granted, ..Grant::default() };
                        router.0[1].say(conn, &ControlFrame::Grant(grant));
                    }
                },
            }
        }
        let receiver = receiver.unwrap();
        router.0[1].say(receiver, &ControlFrame::Grant(Grant { bytes: 1 << 30, ..Grant::default() }));
        router.settle();
        let said = said(&router.0[1], receiver);
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "seed {seed}");
        let mut all = seqs(&said, 0);
        assert!(all.is_sorted(), "seed {seed}: {all:?}");
        let of_other = seqs(&said, 1);
        assert!(of_other.is_sorted(), "seed {seed}: {of_other:?}");
        all.extend(of_other);
        all.sort_unstable();
        assert_eq!(all, (0..last).collect::<Vec<_>>(), "seed {seed}, deliveries {deliveries}");
        let joined = said.iter().filter(|said| matches!(said, Said::Joined { .. })).count();
        assert_eq!(joined, 2, "seed {seed}");
    }
}

#[test]
fn what_is_gone_is_said_first() {
    let other = SourcePosition { router: RouterId(1), incarnation: Incarnation(2), owner: 1, position: 0 };
    let cursor_of_other = Subscribe { since_us: 0, cursor: vec![other], ..since("*") };
    for (deliveries, subscribe) in [(0, since("*")), (1, since("*")), (1, cursor_of_other)] {
        let mut router = Router::new();
        let publisher = router.0[0].client(1);
        let payload = "x".repeat(40_000);
        for seq in 0..60 {
            router.0[0].publish(publisher, &tag_of(0, 2), seq, &[&payload]);
        }
        router.settle();
        let receiver = asks(&mut router.0[1], deliveries, 1 << 30, subscribe);
        router.settle();
        let said = said(&router.0[1], receiver);
        let begin = said.iter().position(|said| matches!(said, Said::Begins { owner: 0, .. })).unwrap();
        let Said::Begins { from, to, oldest, .. } = said[begin] else { panic!() };
        assert!(from > 0 && from == oldest && to == 60, "{from} {to} {oldest}");
        assert_eq!(said[begin + 1], Said::Gap("evicted"));
        assert_eq!(seqs(&said, 0), (from..60).collect::<Vec<_>>());
    }
}

#[test]
fn what_goes_while_it_is_replayed_is_a_gap_where_it_was() {
    let mut router = Router::new();
    let publisher = router.0[0].client(1);
    let payload = "x".repeat(20_000);
    for seq in 0..30 {
        router.0[0].publish(publisher, &tag_of(0, 2), seq, &[&payload]);
    }
    router.settle();
    let receiver = asks(&mut router.0[0], 0, 100_000, since("*"));
    router.settle();
    for seq in 30..100 {
        router.0[0].publish(publisher, &tag_of(0, 2), seq, &[&payload]);
    }
    router.0[0].say(receiver, &ControlFrame::Grant(Grant { bytes: 1 << 30, ..Grant::default() }));
    router.settle();
    let said = said(&router.0[0], receiver);
    let seqs = seqs(&said, 0);
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    assert_eq!((seqs[0], seqs[seqs.len() - 1]), (0, 99));
    let gaps = said.iter().filter(|said| **said == Said::Gap("evicted")).count();
    let jumps = seqs.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(jumps <= gaps && gaps > 0, "{gaps} {jumps}: {seqs:?}");
}

#[test]
fn a_cursor_goes_on_where_it_was_and_quiet_receivers_get_newer_ones() {
    let mut router = Router::new();
    let publisher = router.0[0].client(1);
    for seq in 0..10 {
        router.0[0].publish(publisher, &tag_of(0, 2), seq, &["event"]);
    }
    let place = |position, incarnation| SourcePosition {
        router: RouterId(1),
        incarnation: Incarnation(incarnation),
        owner: 0,
        position,
    };
    let subscribe =
        |place| Subscribe { selectors: vec!["host".to_owned()], cursor: vec![place], ..Subscribe::default() };
    let receiver = asks(&mut router.0[0], 1, 1 << 20, subscribe(place(7, 2)));
    router.settle();
    assert_eq!(seqs(&said(&router.0[0], receiver), 0), [7, 8, 9]);
    for world in &mut router.0 {
        world.now = world.now + Duration::from_secs(2);
    }
    router.settle();
    for world in &mut router.0 {
        world.now = world.now + Duration::from_secs(2);
    }
    router.settle();
    let cursors = said(&router.0[0], receiver);
    let last = cursors.iter().rev().find_map(|said| match said {
        Said::Cursor(positions) => Some(positions.clone()),
        _ => None,
    });
    assert_eq!(last.unwrap()[&0], 10);
    // A cursor of an earlier life: what that life had is gone.
    let mut router = Router::new();
    let receiver = asks(&mut router.0[0], 1, 1 << 20, subscribe(place(7, 1)));
    router.settle();
    assert!(said(&router.0[0], receiver).contains(&Said::Gap("evicted")));
}

#[test]
fn payload_patterns_count_for_the_past_too() {
    let mut router = Router::new();
    let publisher = router.0[0].client(1);
    for (seq, payload) in (0..).zip(["good", "bad", "good", "bad"]) {
        router.0[0].publish(publisher, &tag_of(0, 2), seq, &[payload]);
    }
    router.settle();
    let receiver = asks(&mut router.0[1], 1, 1 << 20, since("payload ~ /bad/"));
    router.settle();
    router.0[0].publish(publisher, &tag_of(0, 2), 4, &["bad"]);
    router.settle();
    assert_eq!(seqs(&said(&router.0[1], receiver), 0), [1, 3, 4]);
}

#[test]
fn a_cursor_does_not_pass_what_waits_for_its_scan() {
    for deliveries in [0, 1] {
        let mut config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
        config.limits.kept.history.bytes = 1 << 20;
        config.limits.scans.work_per_turn = 1_000;
        config.features = config.features.with(feature::HISTORY);
        let mut world = World::with(config);
        let selectors = vec!["payload ~ /a.*b/".to_owned()];
        let receiver = asks(&mut world, deliveries, 1 << 20, Subscribe { selectors, ..Subscribe::default() });
        let publisher = world.client(1);
        world.publish(publisher, "host=x", 0, &[&("a".repeat(8_000) + "b")]);
        let passed = |world: &World| {
            let said = said(world, receiver);
            let last = said.iter().rev().find_map(|said| match said {
                Said::Cursor(positions) => positions.get(&0).copied(),
                _ => None,
            });
            (seqs(&said, 0), last.unwrap_or(0))
        };
        world.now = world.now + Duration::from_secs(2);
        world.turns(2);
        assert_eq!(passed(&world), (vec![], 0), "deliveries {deliveries}");
        for _ in 0..100 {
            world.settle();
        }
        world.now = world.now + Duration::from_secs(2);
        world.publish(publisher, "host=x", 1, &["c"]);
        world.settle();
        assert_eq!(passed(&world), (vec![0], 2), "deliveries {deliveries}");
    }
}

#[test]
fn what_is_replayed_is_known_as_something_that_may_come_again_and_asks_for_no_acknowledgement() {
    for deliveries in [0, 1] {
        let mut world = keeping(0, 1);
        let publisher = world.confirming(1, 0);
        for (seq, level) in (0..).zip([0, ROUTED, DELIVERED]) {
            world.publish_with(publisher, "host=x", seq, &["event"], level);
        }
        let receiver = asks(&mut world, deliveries, 1 << 20, since("*"));
        world.settle();
        let mut levels = Vec::new();
        let mut is_preamble = true;
        FrameReader::new()
            .feed::<DecodeError>(
                &world.memory.written[&(receiver, StreamKey(3))],
                data::FRAME_BYTES_MAX,
                |kind, body| {
                    if !std::mem::take(&mut is_preamble)
                        && let DataFrame::Run { hop, .. } | DataFrame::Deliver { hop, .. } =
                            data::decode(kind, body)?
                    {
                        levels.push(hop.flags & flag::LEVEL_MASK);
                    }
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(levels, [0, ROUTED, ROUTED], "deliveries {deliveries}");
    }
}

#[test]
fn who_keeps_nothing_refuses_and_says_why() {
    let mut world = World::new();
    let receiver = asks(&mut world, 1, 1 << 20, since("*"));
    let refused = world.control_frames(receiver).into_iter().find_map(|frame| match frame {
        ControlFrame::Refused(refused) => Some(refused),
        _ => None,
    });
    let refused = refused.unwrap();
    assert_eq!(refused.reason, RefusedReason::History);
    assert!(refused.message.contains("history.bytes"), "{}", refused.message);
}
