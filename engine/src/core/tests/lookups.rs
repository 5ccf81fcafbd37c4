//! Tag sets whose lookup takes long wait for their turn, and hold up nobody whose route is known.

use std::sync::Arc;

use millrace_proto::data::{self, HopHeader};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::LanePreamble;
use millrace_proto::{CloseCode, Incarnation, RouterId, Selector, TagSet};

use super::world::{KEY, PUBLISH, World, lane, open, tag_of};
use crate::core::{Core, CoreConfig};
use crate::matching::{Index, Location};
use crate::message::ToCore;

/// Selectors elsewhere that every lookup looks at: more than a turn has time for.
const COSTLY: u64 = 20_000;

fn costly_directory(seed: u64) -> ToCore {
    let mut index = Index::new(seed);
    for number in 0..COSTLY {
        let selector = Arc::new(Selector::parse(&format!("!absent{number}")).unwrap());
        index.insert(&selector, Location::Core(0).into());
    }
    ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() }
}

fn world(cores: u16) -> World {
    let mut world = World::new();
    let config = CoreConfig::new(RouterId(1), Incarnation(2), 0, cores);
    let seed = config.seed;
    world.core = Core::new(config, world.now);
    for message in [ToCore::Synced(true), costly_directory(seed)] {
        world.core.handle_message(world.now, &mut world.memory, message);
    }
    world.core.turn(world.now, &mut world.memory);
    world
}

#[test]
fn one_publisher_of_new_tag_sets_has_a_lookup_in_each_turn_and_others_go_on() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["keeps=on", "host=h9"]);
    let (costly, other) = (world.client(2), world.client(3));
    world.publish(other, "keeps=on", 0, &["before"]);
    world.turns(1);
    let before = world.core.metrics().events_in;
    world.publish_at_once(costly, (0..10).map(|number| format!("host=h{number}")));
    let read = world.core.metrics().events_in - before;
    assert!(read <= 3, "{read} lookups at once");
    assert!(world.core.metrics().lookups_put_off > 0);
    assert_eq!(world.core.poll_timeout(), Some(crate::time::Time::ZERO), "the next turn goes on");
    world.publish(other, "keeps=on", 1, &["meanwhile"]);
    assert_eq!(world.stream(receiver).len(), 2, "whose route is known is routed at once");
    world.turns(10);
    assert_eq!(world.core.metrics().events_in, before + 11);
    assert_eq!(world.stream(receiver).len(), 3, "nothing was lost on the way");
    assert_ne!(world.core.poll_timeout(), Some(crate::time::Time::ZERO));
}

#[test]
fn beside_known_routes_new_tag_sets_have_a_quarter_of_the_time_and_the_core_waits_for_it() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["keeps=on"]);
    let (costly, other) = (world.client(2), world.client(3));
    for seq in 0..2 {
        world.publish(other, "keeps=on", seq, &["before"]);
    }
    let before = world.core.metrics().events_in;
    world.publish_at_once(costly, (0..300).map(|number| format!("host=h{number}")));
    world.turns(300);
    let read = world.core.metrics().events_in - before;
    assert!((240..=260).contains(&read), "{read} of what is kept for a load that begins");
    assert!(world.core.poll_timeout().is_some_and(|due| due > world.now), "{:?}", world.core.poll_timeout());
    // A lookup takes a millisecond, and has one every four.
    for seq in 2..102 {
        world.now = world.now.after(1_000_000);
        world.publish(other, "keeps=on", seq, &["meanwhile"]);
        world.turns(1);
    }
    let read = world.core.metrics().events_in - before - 100 - read;
    assert!((20..=26).contains(&read), "{read}");
    assert_eq!(world.stream(receiver).len(), 102, "whose route is known is routed at once");
    world.now = world.now.after(11_000_000);
    world.turns(100);
    assert_eq!(world.core.metrics().events_in, before + 400, "without others it has all of the time");
}

#[test]
fn publishers_of_new_tag_sets_take_turns() {
    let mut world = world(1);
    let (first, second) = (world.client(2), world.client(3));
    let receiver = world.receiver(4, open(), &["host=other"]);
    world.publish_at_once(first, (0..40).map(|number| format!("host=h{number}")));
    world.publish_at_once(second, ["host=other".to_owned()].into_iter());
    world.turns(3);
    assert_eq!(world.stream(receiver).len(), 1);
    assert!(world.core.metrics().events_in < 40, "the first one still waits");
    world.turns(60);
    assert_eq!(world.core.metrics().events_in, 41);
}

#[test]
fn a_stream_that_ends_while_some_of_it_waits_is_read_to_its_end() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["host"]);
    let publisher = world.client(2);
    world.memory.finish_when_drained = true;
    world.publish_at_once(publisher, (0..5).map(|number| format!("host=h{number}")));
    world.turns(10);
    assert_eq!(world.stream(receiver).len(), 5);
    assert_eq!(world.core.metrics().dropped.iter().sum::<u64>(), 0);
}

#[test]
fn what_a_sibling_hands_over_is_looked_up_in_half_of_each_turn() {
    let (mut reads, mut owns) = (world(2), world(2));
    let config = CoreConfig::new(RouterId(1), Incarnation(2), 1, 2);
    let seed = config.seed;
    owns.core = Core::new(config, owns.now);
    owns.core.handle_message(owns.now, &mut owns.memory, costly_directory(seed));
    owns.core.turn(owns.now, &mut owns.memory);
    let publisher = reads.client(1);
    let tags = (0..200).map(|number| format!("host=h{number}"));
    let owned: Vec<String> = tags.filter(|tag| tag_of_owner(tag) == 1).take(5).collect();
    assert_eq!(owned.len(), 5);
    reads.publish_at_once(publisher, owned.into_iter());
    assert_eq!(reads.core.metrics().lookups_put_off, 0, "who hands over looks nothing up");
    while let Some(batch) = reads.core.next_batch(1) {
        owns.core.batch(owns.now, 0, &batch).unwrap();
    }
    assert!(!owns.core.takes_batches(0));
    assert!(owns.core.position() < 3);
    owns.turns(10);
    assert!(owns.core.takes_batches(0));
    assert_eq!(owns.core.position(), 5);
    assert_ne!(tag_of(0, 2), tag_of(1, 2));
}

/// The runs of a lane, one event for each tag.
fn runs_of_a_lane(tags: impl Iterator<Item = String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    data::put_define_publisher(&mut bytes, 0, KEY);
    for (number, tag) in (0..).zip(tags) {
        data::put_define_tags(&mut bytes, number, TagSet::from_texts([tag.as_str()]).unwrap().borrow());
        let (mut run, mut body) = (RunBuilder::default(), Vec::new());
        run.start(number, number, 5);
        run.push(5, tag.as_bytes());
        run.finish(&mut body);
        data::put_run(&mut bytes, &HopHeader::numbered(number, 0), &body);
    }
    bytes
}

#[test]
fn what_a_peer_sends_has_its_lookups_in_turns_too_and_clients_go_on() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["keeps=on", "host=h9"]);
    let client = world.client(2);
    world.publish(client, "keeps=on", 0, &["before"]);
    let peer = lane(&mut world, false, true);
    world.turns(1);
    world.send(peer, PUBLISH, &runs_of_a_lane((0..10).map(|number| format!("host=h{number}"))));
    let read = world.core.metrics().events_from_peers;
    assert!(read <= 3, "{read} lookups at once");
    assert!(world.core.metrics().lookups_put_off > 0);
    assert_eq!(world.core.poll_timeout(), Some(crate::time::Time::ZERO), "the next turn goes on");
    world.publish(client, "keeps=on", 1, &["meanwhile"]);
    assert_eq!(world.stream(receiver).len(), 2, "whose route is known is routed at once");
    world.turns(10);
    assert_eq!(world.core.metrics().events_from_peers, 10);
    assert_eq!(world.stream(receiver).len(), 3, "nothing was lost on the way");
}

#[test]
fn a_lane_that_ends_while_some_of_it_waits_is_read_to_its_end_or_told_as_lost() {
    for (count, is_lost) in [(5, false), (100, true)] {
        let mut world = world(1);
        let receiver = world.receiver(1, open(), &["host"]);
        let peer = lane(&mut world, false, true);
        world.memory.finish_when_drained = true;
        world.send(peer, PUBLISH, &runs_of_a_lane((0..count).map(|number| format!("host=h{number}"))));
        assert!(world.core.metrics().events_from_peers < count);
        world.core.closed(world.now, &mut world.memory, peer, Some(CloseCode::GoingAway));
        world.settle();
        let stream = world.stream(receiver);
        assert_eq!(stream.contains(&"gap router_lost 0".to_owned()), is_lost, "{stream:?}");
        assert_eq!(stream.len() as u64 == count, !is_lost);
    }
}

fn tag_of_owner(tag: &str) -> u16 {
    let hash = TagSet::from_texts([tag]).unwrap().borrow().hash();
    millrace_proto::tag::Shard::of_hash(hash).owner(2)
}
