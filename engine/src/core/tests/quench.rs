//! Publishers that are told that nobody wants their events, and again that somebody does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{ControlFrame, Hello, Quenched, Stage, Subscribe, TableCapacity, Unsubscribe};
use millrace_proto::feature::{self, Features};
use millrace_proto::{
    Incarnation, PROTOCOL_VERSION, ReceiverNumber, RouterId, Selector, SubscriptionNumber, TagSet,
};

use super::world::{World, open};
use crate::core::CoreConfig;
use crate::matching::{Index, Location, Taker};
use crate::message::{CoreOutput, ToControl, ToCore};
use crate::payload::Prefilter;
use crate::transport::ConnKey;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A directory with interest of a peer, version by version.
struct Directory {
    index: Index<Taker>,
    version: u64,
    selectors: Vec<Arc<Selector>>,
}

impl Directory {
    fn new() -> Self {
        let seed = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1).seed;
        Self { index: Index::new(seed), version: 0, selectors: Vec::new() }
    }

    /// The next version, in which the peer wants this and nothing else.
    fn next(&mut self, selectors: &[&str]) -> ToCore {
        let taker = Taker::new(Location::Peer(0), None);
        for selector in self.selectors.drain(..) {
            self.index.remove(&selector, taker);
        }
        self.selectors = selectors.iter().map(|text| Arc::new(Selector::parse(text).unwrap())).collect();
        for selector in &self.selectors {
            self.index.insert(selector, taker);
        }
        self.version += 1;
        let (version, index) = (self.version, self.index.clone());
        ToCore::Directory { version, index, prefilter: Arc::new(Prefilter::default()), joined: Vec::new() }
    }
}

/// What a publisher knows: the sets of these numbers are quenched.
#[derive(Debug, Default)]
struct Heard {
    quenched: BTreeSet<u64>,
    version: u64,
    quenches: usize,
    frames: usize,
}

impl Heard {
    /// Reads what the control stream says.
    fn hear(&mut self, world: &World, conn: ConnKey) {
        let frames = world.control_frames(conn);
        for frame in &frames[self.frames..] {
            match frame {
                ControlFrame::Quench(said) => {
                    self.quenched.extend(&said.tag_sets);
                    self.quenches += said.tag_sets.len();
                    assert_eq!(said.version, self.version + 1);
                    self.version = said.version;
                }
                ControlFrame::Unquench(said) => {
                    match said.tag_sets.is_empty() {
                        true => self.quenched.clear(),
                        false => self.quenched.retain(|number| !said.tag_sets.contains(number)),
                    }
                    assert_eq!(said.version, self.version + 1);
                    self.version = said.version;
                }
                _ => {}
            }
        }
        self.frames = frames.len();
    }
}

impl World {
    /// A world whose router knows all interest.
    fn knowing() -> Self {
        let mut world = Self::new();
        world.core.handle_message(world.now, &mut world.memory, ToCore::KnowsAllInterest(true));
        world
    }

    /// A publisher that can be quenched.
    fn quenchable(&mut self, number: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.core.client_connected(self.now, conn);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            features: Features::default().with(feature::QUENCH),
            receivers: 8,
            tables: TableCapacity::CLIENT,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    /// Lets time pass in steps of 100 ms.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + ms(100));
            self.settle();
        }
    }

    fn answer(&mut self, conn: ConnKey, version: u64) {
        self.say(conn, &ControlFrame::Quenched(Quenched { version }));
    }

    /// Gives the core a directory. Returns what it tells control.
    fn direct(&mut self, message: ToCore) -> Vec<String> {
        self.core.handle_message(self.now, &mut self.memory, message);
        self.words_to_control()
    }

    /// Ends the turn. Returns what control is told.
    fn words_to_control(&mut self) -> Vec<String> {
        self.core.turn(self.now, &mut self.memory);
        let mut told = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                CoreOutput::ToControl(ToControl::Applied { version, settled, .. }) => {
                    told.push(format!("applied {version} {settled}"));
                }
                CoreOutput::ToControl(ToControl::Settled { version, left_out }) => {
                    told.push(format!("settled {version} without {}", left_out.len()));
                }
                _ => {}
            }
        }
        told
    }

    /// Stages that a client's subscriptions have reached, and how many publishers were left out.
    fn stages(&self, conn: ConnKey) -> Vec<(Stage, usize)> {
        let stage = |frame| match frame {
            ControlFrame::Subscribed(said) => Some((said.stage, said.left_out_publishers.len())),
            _ => None,
        };
        self.control_frames(conn).into_iter().filter_map(stage).collect()
    }

    fn heard(&self, conn: ConnKey) -> Heard {
        let mut heard = Heard::default();
        heard.hear(self, conn);
        heard
    }
}

/// A publisher of `host=a` that was quenched.
fn quenched() -> (World, ConnKey) {
    let mut world = World::knowing();
    let publisher = world.quenchable(1);
    world.publish(publisher, "host=a", 0, &["x"]);
    world.wait(ms(3_100));
    assert_eq!(world.heard(publisher).quenched, [0].into());
    world.answer(publisher, 1);
    (world, publisher)
}

#[test]
fn a_tag_set_that_nobody_wants_for_two_seconds_is_quenched() {
    let mut world = World::knowing();
    let publisher = world.quenchable(1);
    world.publish(publisher, "host=a", 0, &["x"]);
    world.wait(ms(2_900));
    assert_eq!(world.heard(publisher).version, 0, "the first look is a second after it was read");
    world.wait(ms(200));
    assert_eq!(world.heard(publisher).quenched, [0].into());
    assert_eq!(world.core.path.metrics.quenched_tag_sets, 1);
    world.answer(publisher, 1);
    world.publish(publisher, "host=b", 1, &["a new set has the number"]);
    world.wait(ms(4_000));
    assert_eq!(world.heard(publisher).version, 2);
    world.core.closed(world.now, &mut world.memory, publisher, None);
    assert_eq!(world.core.path.metrics.quenched_tag_sets, 0);
}

#[test]
fn a_set_with_a_taker_is_never_quenched_nor_is_any_while_interest_may_be_unknown() {
    for (wanted_by, knows) in [("host=a", true), ("host=b", false)] {
        let mut world = World::new();
        world.core.handle_message(world.now, &mut world.memory, ToCore::KnowsAllInterest(knows));
        world.receiver(2, open(), &[wanted_by]);
        let publisher = world.quenchable(1);
        world.publish(publisher, "host=a", 0, &["x"]);
        world.wait(ms(10_000));
        assert_eq!(world.heard(publisher).version, 0, "{wanted_by}");
    }
}

#[test]
fn history_and_clients_of_old_want_everything() {
    let mut config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
    config.limits.kept.history.bytes = 1 << 20;
    let mut world = World::with(config);
    world.core.handle_message(world.now, &mut world.memory, ToCore::KnowsAllInterest(true));
    let (publisher, old) = (world.quenchable(1), world.client(2));
    world.publish(publisher, "host=a", 0, &["x"]);
    world.publish(old, "host=a", 0, &["x"]);
    world.wait(ms(5_000));
    assert_eq!((world.heard(publisher).version, world.heard(old).version), (0, 0));
}

#[test]
fn a_subscription_is_effective_in_the_cluster_when_the_publisher_knows_of_it() {
    let (mut world, publisher) = quenched();
    let receiver = world.receiver(2, open(), &["host=a"]);
    assert!(world.heard(publisher).quenched.is_empty());
    assert_eq!(world.stages(receiver), [(Stage::Router, 0)]);
    world.wait(ms(200));
    world.answer(publisher, 1);
    assert_eq!(world.stages(receiver).len(), 1, "that was the answer to the quench");
    world.answer(publisher, 2);
    assert_eq!(world.stages(receiver), [(Stage::Router, 0), (Stage::Cluster, 0)]);
    let other = world.receiver(3, open(), &["host=a"]);
    assert_eq!(world.stages(other), [(Stage::Router, 0), (Stage::Cluster, 0)], "nothing is quenched");
}

#[test]
fn a_publisher_that_does_not_answer_is_waited_for_once_and_named() {
    let (mut world, publisher) = quenched();
    let receiver = world.receiver(2, open(), &["host=a"]);
    world.wait(ms(200));
    assert_eq!(world.stages(receiver).len(), 1);
    world.wait(ms(100));
    assert_eq!(world.stages(receiver), [(Stage::Router, 0), (Stage::Cluster, 1)]);
    assert_eq!(world.core.path.metrics.quench_left_out, 1);
    world.core.closed(world.now, &mut world.memory, receiver, None);
    world.publish(publisher, "host=a", 1, &["y"]);
    world.wait(ms(10_000));
    assert_eq!(world.heard(publisher).quenches, 1, "it has not answered");
}

#[test]
fn a_directory_is_settled_when_publishers_have_answered_or_are_gone() {
    let ((mut world, publisher), mut directory) = (quenched(), Directory::new());
    assert_eq!(world.direct(directory.next(&["host=b"])), ["applied 1 false", "settled 1 without 0"]);
    assert_eq!(world.direct(directory.next(&["host=*"])), ["applied 2 false"]);
    assert_eq!(world.direct(directory.next(&["host=*", "x"])), ["applied 3 false"], "rounds settle in order");
    let quenched = ControlFrame::Quenched(Quenched { version: 2 });
    let mut bytes = Vec::new();
    quenched.encode(&mut bytes);
    world.memory.input.entry((publisher, super::world::CONTROL)).or_default().extend(bytes);
    world.core.readable(world.now, &mut world.memory, publisher, super::world::CONTROL);
    assert_eq!(world.words_to_control(), ["settled 2 without 0", "settled 3 without 0"]);
    assert_eq!(world.direct(directory.next(&[])), ["applied 4 true"], "nothing is quenched");

    let ((mut world, publisher), mut directory) = (self::quenched(), Directory::new());
    assert_eq!(world.direct(directory.next(&["host=*"])), ["applied 1 false"]);
    world.core.closed(world.now, &mut world.memory, publisher, None);
    assert_eq!(world.words_to_control(), ["settled 1 without 0"]);

    let ((mut world, _), mut directory) = (self::quenched(), Directory::new());
    assert_eq!(world.direct(directory.next(&["host=*"])), ["applied 1 false"]);
    world.now = world.now + ms(250);
    assert_eq!(world.words_to_control(), ["settled 1 without 1"]);
}

#[test]
fn a_subscriber_that_flaps_at_10_hz_quenches_at_most_once_in_2_s() {
    let (mut world, publisher) = quenched();
    let receiver = world.receiver(2, open(), &[]);
    let (receiver_number, subscription) = (ReceiverNumber(0), SubscriptionNumber(0));
    for seq in 0..300 {
        let frame = match seq % 2 {
            0 => ControlFrame::Subscribe(Subscribe {
                receiver: receiver_number,
                subscription,
                selectors: vec!["host=a".to_owned()],
                ..Subscribe::default()
            }),
            _ => ControlFrame::Unsubscribe(Unsubscribe { receiver: receiver_number, subscription }),
        };
        world.say(receiver, &frame);
        world.now = world.now + ms(50);
        world.publish(publisher, "host=a", seq + 1, &["y"]);
        let version = world.heard(publisher).version;
        world.answer(publisher, version);
    }
    // 15 s.
    assert!(world.heard(publisher).quenches <= 1 + 7, "{}", world.heard(publisher).quenches);
}

#[test]
fn a_thousand_changes_are_told_in_a_second_at_most() {
    let mut world = World::knowing();
    let publisher = world.quenchable(1);
    world.publish_at_once(publisher, (0..1_200).map(|number| format!("host=h{number}")));
    let mut heard = Heard::default();
    let mut second = Vec::new();
    for _ in 0..80 {
        world.wait(ms(100));
        heard.hear(&world, publisher);
        world.answer(publisher, heard.version);
        second.push(heard.quenches);
    }
    assert_eq!(heard.quenches, 1_200);
    assert!(second.windows(10).all(|window| window[9] - window[0] <= 1_000));
    let receiver = world.receiver(2, open(), &["*"]);
    heard.hear(&world, publisher);
    assert!(heard.quenched.is_empty(), "all at once");
    world.answer(publisher, heard.version);
    assert_eq!(world.stages(receiver).last(), Some(&(Stage::Cluster, 0)));
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Publishers answer late or never, receivers come and go, and a peer's interest changes: whenever
/// a subscription is effective in the cluster, no publisher that has answered leaves out what it
/// wants.
#[test]
fn no_event_is_left_out_that_an_effective_subscription_wants() {
    let mut unquenches = 0;
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut world = World::knowing();
        let publishers: Vec<ConnKey> = (1..4).map(|number| world.quenchable(number)).collect();
        let mut heard: BTreeMap<ConnKey, Heard> = BTreeMap::new();
        for &publisher in &publishers {
            world.publish_at_once(publisher, (0..6).map(|number| format!("host=h{number}")));
        }
        let mut receivers: BTreeMap<ConnKey, String> = BTreeMap::new();
        let (mut next, mut directory) = (10, Directory::new());
        for _ in 0..200 {
            match dice.below(8) {
                0 => {
                    let text = match dice.below(5) {
                        4 => "*".to_owned(),
                        number => format!("host=h{number}"),
                    };
                    next += 1;
                    receivers.insert(world.receiver(next, open(), &[text.as_str()]), text);
                }
                1 | 2 => {
                    if let Some((receiver, _)) = receivers.pop_first() {
                        world.core.closed(world.now, &mut world.memory, receiver, None);
                    }
                }
                3 => {
                    let text = format!("host=h{}", dice.below(6));
                    let selectors = if dice.below(2) == 0 { vec![text.as_str()] } else { Vec::new() };
                    world.core.handle_message(world.now, &mut world.memory, directory.next(&selectors));
                    world.settle();
                }
                4 | 5 => {
                    let publisher = publishers[usize::try_from(dice.below(3)).unwrap()];
                    let heard = heard.entry(publisher).or_default();
                    let before = heard.quenched.len();
                    heard.hear(&world, publisher);
                    unquenches += usize::from(heard.quenched.len() < before);
                    let version = heard.version;
                    world.answer(publisher, version);
                }
                _ => world.wait(ms(100 * (1 + dice.below(8)))),
            }
            for (receiver, text) in &receivers {
                let Some(&(Stage::Cluster, left_out)) = world.stages(*receiver).last() else { continue };
                let selector = Selector::parse(text).unwrap();
                let wanted: BTreeSet<u64> = (0..6)
                    .filter(|number| {
                        let tags = TagSet::from_texts([format!("host=h{number}")]).unwrap();
                        selector.matches_tags(tags.borrow())
                    })
                    .collect();
                let unaware = heard.values().filter(|heard| !heard.quenched.is_disjoint(&wanted)).count();
                assert!(unaware <= left_out, "seed {seed}: {text} {heard:?}");
            }
        }
    }
    assert!(unquenches > 20, "{unquenches}");
}
