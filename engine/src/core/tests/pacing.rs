//! Publishers wait a little for receivers, and never in vain.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{ControlFrame, Grant, OpenReceiver};
use millrace_proto::{Incarnation, ReceiverNumber, RouterId, Selector};

use super::world::{World, open, tag_of};
use crate::core::{Core, CoreConfig, DropReason};
use crate::matching::{Index, Location};
use crate::message::ToCore;
use crate::transport::ConnKey;

/// Room for some thirty runs of one small event.
const QUEUE_BYTES: u64 = 4_800;

fn paced_world() -> World {
    let mut world = World::new();
    let config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
    world.core = Core::new(config, world.now);
    world.core.handle_message(world.now, &mut world.memory, ToCore::Synced(true));
    world
}

/// A receiver that may be written `grant` bytes.
pub(super) fn receiver(world: &mut World, number: u64, grant: u64) -> ConnKey {
    world.receiver(number, OpenReceiver { grant, queue_bytes: QUEUE_BYTES, ..open() }, &["*"])
}

fn publish(world: &mut World, publisher: ConnKey, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        world.publish(publisher, "host=a", seq, &["event"]);
    }
}

pub(super) fn dropped(world: &World) -> u64 {
    world.core.metrics().dropped[DropReason::ReceiverOverflow as usize]
}

pub(super) fn later(world: &mut World, time: Duration) {
    world.now = world.now + time;
    world.core.turn(world.now, &mut world.memory);
}

#[test]
fn a_publisher_is_left_unread_while_its_receiver_is_half_full_and_nothing_is_dropped() {
    let mut world = paced_world();
    let slow = receiver(&mut world, 1, 100);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    let read = world.core.metrics().events_in;
    assert!((10..30).contains(&read), "{read} of 60 were read: half of the queue");
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(slow, &ControlFrame::Grant(grant));
    later(&mut world, Duration::from_millis(1));
    assert_eq!(world.core.metrics().events_in, 60);
    assert_eq!(dropped(&world), 0);
    assert_eq!(world.stream(slow).len(), 60);
    assert!(world.core.metrics().publishers_paced > 0);
}

#[test]
fn a_publisher_is_left_unread_for_a_receiver_on_a_stream_that_its_connection_shares_too() {
    let mut world = paced_world();
    let slow = world.sharing(1);
    let opened = OpenReceiver { grant: 100, queue_bytes: QUEUE_BYTES, ..open() };
    world.open_with(slow, 0, opened, &["*"]);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    let read = world.core.metrics().events_in;
    assert!((10..40).contains(&read), "{read} of 60 were read: half of the queue");
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(slow, &ControlFrame::Grant(grant));
    later(&mut world, Duration::from_millis(1));
    assert_eq!(world.core.metrics().events_in, 60);
    assert_eq!(dropped(&world), 0);
    assert!(world.core.metrics().publishers_paced > 0);
}

#[test]
fn a_publisher_waits_for_a_receiver_that_takes_nothing_no_longer_than_the_limit() {
    let mut world = paced_world();
    receiver(&mut world, 1, 0);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    assert!(world.core.metrics().events_in < 30);
    assert!(world.core.poll_timeout().is_some(), "somebody has to look again");
    later(&mut world, Duration::from_millis(251));
    assert_eq!(world.core.metrics().events_in, 60);
    assert!(dropped(&world) > 0, "it overflows by its own policy");
    publish(&mut world, publisher, 60..100);
    assert_eq!(world.core.metrics().events_in, 100, "nobody waits for it again");
}

#[test]
fn nobody_waits_for_a_receiver_that_stalls_and_whose_queue_lasts_long_enough() {
    for is_shared in [false, true] {
        let mut world = paced_world();
        if is_shared {
            let conn = world.sharing(1);
            let opened = OpenReceiver { grant: 0, queue_bytes: QUEUE_BYTES, ..open() };
            world.open_with(conn, 0, opened, &["*"]);
        } else {
            receiver(&mut world, 1, 0);
        }
        let publisher = world.client(2);
        for seq in 0..60 {
            later(&mut world, Duration::from_millis(20));
            publish(&mut world, publisher, seq..seq + 1);
        }
        let metrics = world.core.metrics();
        assert_eq!(metrics.events_in, 60);
        assert_eq!(metrics.publishers_paced, 0, "its queue has given it 250 ms, shared: {is_shared}");
        assert!(dropped(&world) > 0, "it overflows by its own policy");
    }
}

#[test]
fn a_publisher_waits_for_a_receiver_that_takes_too_little_before_its_queue_is_full() {
    let mut world = paced_world();
    let slow = receiver(&mut world, 1, 0);
    let publisher = world.client(2);
    let mut granted = 0;
    for seq in 0..200 {
        later(&mut world, Duration::from_millis(20));
        publish(&mut world, publisher, seq..seq + 1);
        if seq % 4 == 0 {
            granted += 60;
            world.say(slow, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(0), bytes: granted }));
        }
    }
    assert!(world.core.metrics().publishers_paced > 0, "{} came", world.stream(slow).len());
    assert_eq!(dropped(&world), 0);
}

#[test]
fn nobody_waits_for_a_receiver_that_stalls_beside_one_that_does_not() {
    let mut world = paced_world();
    receiver(&mut world, 1, 0);
    let fast = receiver(&mut world, 2, 1 << 20);
    let publisher = world.client(3);
    publish(&mut world, publisher, 0..60);
    assert_eq!(world.core.metrics().events_in, 60);
    assert_eq!(world.stream(fast).len(), 60);
    assert_eq!(world.core.metrics().publishers_paced, 0);
}

#[test]
fn a_publisher_that_leaves_while_it_waits_leaves_no_timer() {
    let mut world = paced_world();
    receiver(&mut world, 1, 0);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    world.core.closed(world.now, &mut world.memory, publisher, None);
    later(&mut world, Duration::from_secs(1));
    assert!(world.core.metrics().events_in < 30);
}

/// Two cores of one router, and what they say to each other.
struct Pair([World; 2]);

impl Pair {
    /// Both want everything of what the other owns.
    fn new() -> Self {
        let world = |core: u16| {
            let mut world = World::new();
            let config = CoreConfig::new(RouterId(1), Incarnation(2), core, 2);
            let mut index = Index::new(config.seed);
            index.insert(&Arc::new(Selector::parse("*").unwrap()), Location::Core(1 - core).into());
            world.core = Core::new(config, world.now);
            let directory =
                ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() };
            for message in [ToCore::Synced(true), directory] {
                world.core.handle_message(world.now, &mut world.memory, message);
            }
            world
        };
        Self([world(0), world(1)])
    }

    /// Hands over what each has for the other until nothing is left.
    fn settle(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for (from, to) in [(0_u16, 1_u16), (1, 0)] {
                let (one, other) = self.0.split_at_mut(1);
                let [one, other] =
                    if from == 0 { [&mut one[0], &mut other[0]] } else { [&mut other[0], &mut one[0]] };
                while let Some(word) = one.core.next_to_sibling(to) {
                    is_quiet = false;
                    other.core.sibling_told(other.now, from, word);
                }
                while let Some(batch) = one.core.next_batch(to) {
                    is_quiet = false;
                    other.core.batch(other.now, from, &batch).unwrap();
                }
                other.settle();
            }
        }
    }

    fn later(&mut self, time: Duration) {
        for world in &mut self.0 {
            later(world, time);
        }
        self.settle();
    }

    fn publish(&mut self, core: usize, publisher: ConnKey, tag: &str, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            self.0[core].publish(publisher, tag, seq, &["event"]);
            self.settle();
        }
    }
}

/// A receiver on core `has` that takes some of what core `reads` reads and core `owns` owns, and
/// then no more.
fn crowded_pair([reads, owns, has]: [usize; 3]) -> (Pair, ConnKey, ConnKey) {
    let mut pair = Pair::new();
    let slow = receiver(&mut pair.0[has], 1, 100);
    let publisher = pair.0[reads].client(2);
    let tag = tag_of(u16::try_from(owns).unwrap(), 2);
    pair.publish(reads, publisher, &tag, 0..16);
    pair.0[has].say(slow, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(0), bytes: 400 }));
    pair.publish(reads, publisher, &tag, 16..60);
    let read = pair.0[reads].core.metrics().events_in;
    let case = format!("read by {reads}, owned by {owns}, received by {has}");
    assert!((20..45).contains(&read), "{read} of 60 were read: {case}");
    (pair, slow, publisher)
}

#[test]
fn a_publisher_waits_for_a_receiver_on_another_core_and_nothing_is_dropped() {
    for case @ [reads, _, has] in [[0, 0, 1], [0, 1, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0]] {
        let (mut pair, slow, _) = crowded_pair(case);
        let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
        pair.0[has].say(slow, &ControlFrame::Grant(grant));
        pair.later(Duration::from_millis(1));
        pair.later(Duration::from_millis(1));
        assert_eq!(pair.0[reads].core.metrics().events_in, 60, "{case:?}");
        assert_eq!((dropped(&pair.0[has]), pair.0[has].stream(slow).len()), (0, 60), "{case:?}");
    }
}

#[test]
fn a_publisher_waits_for_a_receiver_on_another_core_no_longer_than_the_limit() {
    let (mut pair, _, publisher) = crowded_pair([0, 0, 1]);
    assert!(pair.0[0].core.poll_timeout().is_some(), "somebody has to look again");
    pair.later(Duration::from_millis(251));
    pair.later(Duration::from_millis(251));
    assert_eq!(pair.0[0].core.metrics().events_in, 60);
    pair.publish(0, publisher, &tag_of(0, 2), 60..100);
    assert_eq!(pair.0[0].core.metrics().events_in, 100, "nobody waits for it again");
    assert!(dropped(&pair.0[1]) > 0, "it overflows by its own policy");
}

#[test]
fn others_on_the_core_do_not_wait_for_another_cores_receiver() {
    let (mut pair, ..) = crowded_pair([0, 0, 1]);
    let other = pair.0[0].client(3);
    let read = pair.0[0].core.metrics().events_in;
    // The core makes ids of clients that show no secret: these two are different publishers.
    pair.publish(0, other, &tag_of(1, 2), 0..1);
    assert_eq!(pair.0[0].core.metrics().events_in, read + 1);
}
