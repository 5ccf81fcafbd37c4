//! Runs that come from another cluster, and runs that links take.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{ControlFrame, Demand, Hello};
use millrace_proto::data::{self, DataFrame, HopHeader, Packed, PublisherOnStream, TagsOnStream, flag};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::stream_kind;
use millrace_proto::{
    CloseCode, ClusterId, DecodeError, Incarnation, PROTOCOL_VERSION, RouterId, Selector, TagSet, feature,
};

use super::world::{KEY, PUBLISH, World, lane, open, tag_of};
use crate::core::CoreConfig;
use crate::core::metrics::DropReason;
use crate::forward::{Arrived, ClusterDemand, ClusterPath};
use crate::matching::{Index, Location};
use crate::message::{CoreOutput, ToControl, ToCore};
use crate::packing::Packer;
use crate::rights::{Accept, AllowList, Grant, Meters, Quota, Roll};
use crate::transport::{ConnKey, StreamKey};

const OWN: ClusterId = ClusterId(0xb);
const FAR: ClusterId = ClusterId(0xa);
const LINK: u16 = 3;

fn roll(select: &[&str]) -> Roll {
    let publish = Some(Arc::new(AllowList::read(select).unwrap()));
    let grant = Grant { publish, ..Grant::everything("edge-*") };
    let accept = Accept { cluster: Some(FAR), grant: Arc::new(grant) };
    Roll { cluster: OWN, accepts: vec![accept], ..Roll::default() }
}

/// A core, one of so many, whose cluster lets `edge-*` forward from [`FAR`], and that has a link.
fn world(cores: u16) -> World {
    let mut config = CoreConfig::new(RouterId(1), Incarnation(2), 0, cores);
    config.features = config.features.with(feature::FORWARDING);
    let mut world = World::with(config);
    world.core.set_roll(world.now, &mut world.memory, Arc::new(roll(&["*"])));
    let mut index = Index::new(2);
    index.insert(&Arc::new(Selector::parse("*").unwrap()), Location::Forward(LINK).into());
    let directory = ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() };
    world.core.handle_message(world.now, &mut world.memory, directory);
    world
}

fn hello(world: &mut World, number: u64, identity: &str, cluster: ClusterId) -> ConnKey {
    let conn = ConnKey(number);
    world.core.certified_client_connected(world.now, conn, Some(identity.to_owned()));
    let hello = Hello { version: PROTOCOL_VERSION, cluster, ..Hello::default() };
    world.say(conn, &ControlFrame::Hello(hello));
    conn
}

/// The beginning of a stream of who forwards.
fn beginning(tags: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
    data::put_define_publisher(&mut bytes, 0, KEY);
    data::put_define_tags(&mut bytes, 0, TagSet::from_texts(tags.split(',')).unwrap().borrow());
    bytes
}

/// One event as who forwards writes it, on a stream of its own.
fn crossed(path: &[ClusterId], tags: &str) -> Vec<u8> {
    [beginning(tags), run(path, 7)].concat()
}

/// One event that has crossed these clusters.
fn run(path: &[ClusterId], seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut run, mut body, mut fields) = (RunBuilder::default(), Vec::new(), Vec::new());
    run.start(seq, seq, 5);
    run.push(5, b"x");
    run.finish(&mut body);
    path.iter().fold(ClusterPath::EMPTY, |path, &id| path.with(id).unwrap()).put(&mut fields);
    let (tags, publisher) = (TagsOnStream::Number(0), PublisherOnStream::Number(0));
    let hop = HopHeader { tags, publisher, flags: flag::RESENT, lane_seq: None, fields: &fields };
    data::put_run(&mut bytes, &hop, &body);
    bytes
}

/// What the link is handed: events, each with its path.
fn handed(world: &mut World) -> Vec<(u64, Vec<ClusterId>)> {
    let mut all = Vec::new();
    while let Some(handed) = world.core.take_handed() {
        assert_eq!((handed.link, handed.lost), (LINK, 0));
        all.extend(handed.runs.into_iter().map(|run| (run.events, run.path.ids().to_vec())));
    }
    all
}

#[test]
fn an_event_of_another_cluster_arrives_under_its_own_id_as_one_that_may_come_twice() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["*"]);
    let from = hello(&mut world, 2, "edge-1", FAR);
    world.send(from, PUBLISH, &crossed(&[FAR], "host=a"));
    assert_eq!(world.stream(receiver), ["7 x [0]"]);
    let (mut publishers, mut flags) = (Vec::new(), Vec::new());
    let mut each = |kind: u64, body: &[u8]| {
        if kind != stream_kind::DELIVER {
            match data::decode(kind, body)? {
                DataFrame::DefinePublisher { publisher, .. } => publishers.push(publisher),
                DataFrame::Run { hop, .. } => flags.push(hop.flags),
                _ => {}
            }
        }
        Ok(())
    };
    let written = &world.memory.written[&(receiver, StreamKey(3))];
    FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
    assert_eq!(publishers, [KEY]);
    assert!(flags.iter().all(|flags| flags & flag::MAYBE_DUPLICATE != 0));
    assert_eq!(world.core.metrics().events_from_clusters, 1);
    assert_eq!(
        world.core.arrivals().map(|(path, arrived)| (path.ids().len(), arrived)).collect::<Vec<_>>(),
        [(1, Arrived { events: 1, removed: 0 })]
    );
}

/// Events of one stream from [`FAR`], each a run of its own: the preamble, and what follows it.
fn crossing_frames(events: u64) -> (Vec<u8>, Vec<u8>) {
    let (mut preamble, mut frames, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    frame::put(&mut preamble, stream_kind::PUBLISH, |_| {});
    data::put_define_publisher(&mut frames, 0, KEY);
    data::put_define_tags(&mut frames, 0, TagSet::from_texts(["host=a"]).unwrap().borrow());
    ClusterPath::EMPTY.with(FAR).unwrap().put(&mut fields);
    let (tags, publisher) = (TagsOnStream::Number(0), PublisherOnStream::Number(0));
    let hop = HopHeader { tags, publisher, flags: flag::RESENT, lane_seq: None, fields: &fields };
    for seq in 0..events {
        let (mut run, mut body) = (RunBuilder::default(), Vec::new());
        run.start(seq, 0, 5);
        run.push(5, b"x");
        run.finish(&mut body);
        data::put_run(&mut frames, &hop, &body);
    }
    (preamble, frames)
}

fn packed(frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let packed = Packer::default().pack(frames).unwrap();
    Packed { plain_bytes: frames.len(), packed: &packed }.encode(&mut out);
    out
}

#[test]
fn packed_runs_arrive_as_they_would_plain() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["*"]);
    let from = hello(&mut world, 2, "edge-1", FAR);
    let (mut bytes, frames) = crossing_frames(40);
    bytes.extend(packed(&frames));
    // Cut anywhere.
    for piece in bytes.chunks(7) {
        world.send(from, PUBLISH, piece);
    }
    let expected: Vec<String> = (0..40).map(|seq| format!("{seq} x [0]")).collect();
    assert_eq!(world.stream(receiver), expected);
    assert!(world.memory.closed.is_empty());
}

#[test]
fn packed_runs_beyond_a_rate_wait_with_all_behind_them_in_order() {
    let mut world = world(1);
    let meters = Arc::<Meters>::default();
    let quota = Quota { events_per_second: Some(100), ..Quota::default() };
    let grant = Arc::new(Grant { quota, ..Grant::everything("edge-*") });
    meters.list(std::slice::from_ref(&grant));
    let accepts = vec![Accept { cluster: Some(FAR), grant }];
    let roll = Roll { cluster: OWN, accepts, meters, ..Roll::default() };
    world.core.set_roll(world.now, &mut world.memory, Arc::new(roll));
    let receiver = world.receiver(1, open(), &["*"]);
    let from = hello(&mut world, 2, "edge-1", FAR);
    let (mut bytes, frames) = crossing_frames(120);
    bytes.extend(packed(&frames));
    let (_, all) = crossing_frames(130);
    let definitions_and_some = crossing_frames(120).1.len();
    bytes.extend_from_slice(&all[definitions_and_some..]);
    world.send(from, PUBLISH, &bytes);
    assert!(world.core.metrics().events_in < 30, "{}", world.core.metrics().events_in);
    let end = world.now + Duration::from_secs(3);
    while let Some(due) = world.core.poll_timeout().filter(|&due| due <= end) {
        world.now = world.now.max(due);
        world.turns(1);
    }
    let expected: Vec<String> = (0..130).map(|seq| format!("{seq} x [0]")).collect();
    assert_eq!(world.stream(receiver), expected);
}

#[test]
fn packed_frames_are_refused_from_clients_within_others_and_where_they_are_damaged() {
    let (preamble, frames) = crossing_frames(40);
    let whole = packed(&frames);
    let mut twice = whole.repeat(40);
    twice = packed(&twice);
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut cut = frames.clone();
    cut.pop();
    let cut = packed(&cut);
    for (identity, bytes, is_refused) in [
        ("edge-1", &whole, false),
        ("web", &whole, true),
        ("edge-1", &twice, true),
        ("edge-1", &damaged, true),
        ("edge-1", &cut, true),
    ] {
        let mut world = world(1);
        let cluster = if identity == "web" { ClusterId(0) } else { FAR };
        let from = hello(&mut world, 2, identity, cluster);
        world.send(from, PUBLISH, &[&preamble[..], bytes].concat());
        assert_eq!(!world.memory.closed.is_empty(), is_refused, "{identity}, {} bytes", bytes.len());
    }
}

#[test]
fn a_path_that_has_this_cluster_or_does_not_end_with_the_sender_keeps_an_event_out() {
    for path in [&[][..], &[OWN, FAR], &[FAR, ClusterId(9)]] {
        let mut world = world(1);
        let receiver = world.receiver(1, open(), &["*"]);
        let from = hello(&mut world, 2, "edge-1", FAR);
        world.send(from, PUBLISH, &crossed(path, "host=a"));
        assert_eq!(world.stream(receiver), [""; 0], "{path:?}");
        assert_eq!(world.core.metrics().dropped[DropReason::ClusterPath as usize], 1);
        assert_eq!(handed(&mut world), []);
        assert!(world.memory.closed.is_empty());
    }
}

#[test]
fn who_forwards_faster_than_its_entry_allows_waits_and_loses_nothing() {
    let mut world = world(1);
    let mut roll = roll(&["*"]);
    let limited = Quota { events_per_second: Some(100), ..Quota::default() };
    let grant = Grant { quota: limited, ..Grant::clone(&roll.accepts[0].grant) };
    roll.accepts[0].grant = Arc::new(grant);
    world.core.set_roll(world.now, &mut world.memory, Arc::new(roll));
    let receiver = world.receiver(1, open(), &["*"]);
    let from = hello(&mut world, 2, "edge-1", FAR);
    let other = world.client(3);
    let all: Vec<u8> = [beginning("host=a"), (0..300).flat_map(|seq| run(&[FAR], seq)).collect()].concat();
    world.send(from, PUBLISH, &all);
    assert_eq!(world.core.metrics().events_from_clusters, 11, "one, and a tenth of a second's");
    world.publish(other, "host=b", 0, &["x"; 100]);
    assert_eq!(world.stream(receiver).len(), 111, "who does not forward does not wait");
    let mut pass = |time: Duration| {
        let end = world.now + time;
        while let Some(due) = world.core.poll_timeout().filter(|&due| due <= end) {
            world.now = world.now.max(due);
            world.turns(1);
        }
        world.now = end;
        world.turns(1);
        world.core.metrics().events_from_clusters
    };
    let in_a_second = pass(Duration::from_secs(1));
    assert!((105..=112).contains(&in_a_second), "{in_a_second}");
    assert_eq!(pass(Duration::from_secs(3)), 300);
    assert_eq!(world.stream(receiver).len(), 400);
    assert!(world.memory.closed.is_empty());
}

#[test]
fn links_take_what_entered_here_with_its_path_and_nothing_of_peers() {
    let mut world = world(1);
    let client = world.client(1);
    world.publish(client, "host=a", 0, &["own", "too"]);
    assert_eq!(handed(&mut world), [(2, vec![])]);
    let from = hello(&mut world, 2, "edge-1", FAR);
    world.send(from, PUBLISH, &crossed(&[ClusterId(5), FAR], "host=a"));
    world.publish(client, "host=a", 2, &["own"]);
    assert_eq!(handed(&mut world), [(1, vec![ClusterId(5), FAR]), (1, vec![])]);
    let peer = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    millrace_proto::stream::LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    bytes.extend_from_slice(&crossed(&[], "host=a")[3..]);
    world.send(peer, StreamKey(2), &bytes);
    assert_eq!(world.core.metrics().events_from_peers, 1);
    assert_eq!(handed(&mut world), []);
}

#[test]
fn copies_of_a_second_way_are_counted_by_their_path() {
    let mut world = world(1);
    let receiver = world.receiver(1, open(), &["*"]);
    let from = hello(&mut world, 2, "edge-1", FAR);
    let around = [ClusterId(5), FAR];
    let direct: Vec<u8> = (0..3).flat_map(|seq| run(&[FAR], seq)).collect();
    let second: Vec<u8> = (1..5).flat_map(|seq| run(&around, seq)).collect();
    world.send(from, PUBLISH, &[beginning("host=a"), direct, second].concat());
    assert_eq!(world.stream(receiver).len(), 7, "receivers remove them");
    let arrived: Vec<_> =
        world.core.arrivals().map(|(path, arrived)| (path.ids().to_vec(), arrived)).collect();
    let [direct, second] = [(3, 0), (4, 2)].map(|(events, removed)| Arrived { events, removed });
    assert_eq!(arrived.len(), 2);
    assert!(arrived.contains(&(vec![FAR], direct)) && arrived.contains(&(around.to_vec(), second)));
}

#[test]
fn the_path_goes_with_a_run_to_the_core_that_owns_it() {
    let mut pair = [world(2), World::of(1, 2)];
    let directory = |world: &mut World| {
        let mut index = Index::new(2);
        index.insert(&Arc::new(Selector::parse("*").unwrap()), Location::Forward(LINK).into());
        let directory =
            ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() };
        world.core.handle_message(world.now, &mut world.memory, directory);
    };
    directory(&mut pair[1]);
    let from = hello(&mut pair[0], 2, "edge-1", FAR);
    pair[0].send(from, PUBLISH, &crossed(&[FAR], &tag_of(1, 2)));
    assert_eq!(handed(&mut pair[0]), []);
    let batch = pair[0].core.next_batch(1).unwrap();
    let now = pair[1].now;
    pair[1].core.batch(now, 0, &batch).unwrap();
    assert_eq!(handed(&mut pair[1]), [(1, vec![FAR])]);
}

#[test]
fn who_may_not_forward_is_told_why() {
    for (identity, cluster) in [("web", FAR), ("edge-1", ClusterId(0xc)), ("edge-1", OWN)] {
        let mut world = world(1);
        let conn = hello(&mut world, 2, identity, cluster);
        assert_eq!(world.memory.closed, [(conn, CloseCode::Forbidden)], "{identity} {cluster}");
    }
}

#[test]
fn who_forwards_is_told_what_is_let_in_and_what_is_wanted() {
    let mut world = world(1);
    world.core.set_roll(world.now, &mut world.memory, Arc::new(roll(&["host=a", "host=b"])));
    let conn = ConnKey(2);
    world.core.certified_client_connected(world.now, conn, Some("edge-1".to_owned()));
    let hello = Hello { version: PROTOCOL_VERSION, cluster: FAR, ..Hello::default() };
    let mut bytes = Vec::new();
    ControlFrame::Hello(hello).encode(&mut bytes);
    world.memory.input.entry((conn, super::world::CONTROL)).or_default().extend(bytes);
    world.core.stream_opened(world.now, &mut world.memory, conn, super::world::CONTROL);
    world.core.readable(world.now, &mut world.memory, conn, super::world::CONTROL);
    let mut asked = false;
    while let Some(output) = world.core.poll_output() {
        asked |= matches!(output, CoreOutput::ToControl(ToControl::DemandAsked));
    }
    assert!(asked, "control is asked for the demand");
    let here = Some(vec!["host=a".to_owned()]);
    let links = vec![(Some(ClusterId(5)), vec!["host=a".to_owned(), "host=b".to_owned()])];
    let demand = Arc::new(ClusterDemand { version: 1, here, links });
    world.core.handle_message(world.now, &mut world.memory, ToCore::Demand(demand));
    world.settle();
    let told: Vec<Demand> = world
        .control_frames(conn)
        .into_iter()
        .filter_map(|frame| if let ControlFrame::Demand(demand) = frame { Some(demand) } else { None })
        .collect();
    let [Demand { version: 1, reset: true, more: false, add, accept, links, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    let both = ["host=a", "host=b"];
    assert_eq!((&add[..], &accept[..]), (&both.map(str::to_owned)[..], &both.map(str::to_owned)[..]));
    assert_eq!(links[..], ["host=b"], "what no receiver wants");
}
