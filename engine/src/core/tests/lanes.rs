//! Lanes: gaps where runs may be missing, and lanes that are closed.

use std::time::Duration;

use millrace_proto::data::{self, Gap, GapReason, HopHeader};
use millrace_proto::mesh::{self, PeerHello};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::LanePreamble;
use millrace_proto::{CloseCode, RouterId, TagSet};

use super::world::{CONTROL, KEY, World, lane, lane_of, open};
use crate::message::{CoreOutput, ToControl, ToCore};
use crate::transport::{ConnKey, StreamKey};

#[test]
fn a_lane_that_ends_before_its_stream_was_seen_is_a_gap_unless_the_peer_has_no_owner_on_it() {
    for incoming in [true, false] {
        let mut world = World::new();
        let receiver = world.receiver(1, open(), &["*"]);
        let conn = lane(&mut world, false, incoming);
        world.core.closed(world.now, &mut world.memory, conn, Some(CloseCode::GoingAway));
        world.settle();
        let gaps = if incoming { vec!["gap router_lost 0".to_owned()] } else { Vec::new() };
        assert_eq!(world.stream(receiver), gaps);
    }
}

#[test]
fn of_a_peer_that_proves_nothing_and_sends_nothing_nothing_is_missed() {
    for (has_sent, gaps) in [(false, 0), (true, 1)] {
        let mut world = World::new();
        let receiver = world.receiver(1, open(), &["*"]);
        let conn = lane_of(&mut world, false, true, false);
        let mut bytes = Vec::new();
        LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
        data::put_define_publisher(&mut bytes, 0, KEY);
        if has_sent {
            data::put_define_tags(&mut bytes, 0, TagSet::from_texts(["a=1"]).unwrap().borrow());
            let (mut run, mut body) = (RunBuilder::default(), Vec::new());
            run.start(0, 0, 5);
            run.push(5, b"x");
            run.finish(&mut body);
            data::put_run(&mut bytes, &HopHeader::numbered(0, 0), &body);
        }
        world.send(conn, StreamKey(2), &bytes);
        world.core.closed(world.now, &mut world.memory, conn, Some(CloseCode::Timeout));
        world.settle();
        let stream = world.stream(receiver);
        assert_eq!(stream.iter().filter(|line| *line == "gap router_lost 0").count(), gaps, "{stream:?}");
    }
}

#[test]
fn runs_of_another_epoch_than_the_lanes_close_it_and_are_counted() {
    for (epoch, closed) in [(3, vec![]), (2, vec![(ConnKey(9), CloseCode::Unexpected)])] {
        let mut world = World::new();
        let conn = lane(&mut world, false, true);
        let mut bytes = Vec::new();
        LanePreamble { first_seq: 0, epoch }.encode(&mut bytes);
        world.send(conn, StreamKey(2), &bytes);
        assert_eq!(world.core.metrics().lane_epochs_wrong, closed.len() as u64);
        assert_eq!(world.memory.closed, closed);
    }
}

#[test]
fn a_lane_whose_stream_is_stopped_is_closed_counted_and_leaves_a_gap() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let conn = lane(&mut world, true, true);
    assert!(world.memory.written.contains_key(&(conn, StreamKey(3))));
    world.core.stopped(world.now, &mut world.memory, conn, StreamKey(3));
    let told = std::iter::from_fn(|| world.core.poll_output());
    assert!(
        told.into_iter().any(|output| {
            matches!(output, CoreOutput::ToControl(ToControl::LaneClosed { orderly: false, .. }))
        }),
        "control has to dial it anew"
    );
    world.settle();
    assert_eq!(world.memory.closed, [(conn, CloseCode::Unexpected)]);
    assert_eq!(world.stream(receiver), ["gap router_lost 0"]);
    let metrics = world.core.metrics();
    assert_eq!((metrics.lane_stops, metrics.lanes), (1, 0));
}

#[test]
fn a_lane_whose_runs_are_reset_is_closed_counted_and_leaves_a_gap() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let conn = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    world.send(conn, StreamKey(2), &bytes);
    world.memory.reset.insert((conn, StreamKey(2)));
    world.core.readable(world.now, &mut world.memory, conn, StreamKey(2));
    world.settle();
    assert_eq!(world.memory.closed, [(conn, CloseCode::Unexpected)]);
    assert_eq!(world.stream(receiver), ["gap router_lost 0"]);
    assert_eq!(world.core.metrics().lane_stops, 1);
}

#[test]
fn a_peer_says_of_itself_alone_that_events_are_missing() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let conn = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    let (peer, another) = (RouterId(5), RouterId(0x7777_7777_7777_7777));
    Gap { reason: GapReason::RouterLost, events: 0, router: Some(another) }.encode(&mut bytes);
    world.send(conn, StreamKey(2), &bytes);
    world.settle();
    assert_eq!(world.stream(receiver), ["gap router_lost 0"]);
    let written = &world.memory.written[&(receiver, StreamKey(3))];
    let names = |router: RouterId| written.windows(8).any(|bytes| bytes == router.0.to_be_bytes());
    assert!(names(peer) && !names(another), "{written:?}");
}

#[test]
fn a_peer_that_does_not_read_its_mesh_frames_is_closed_with_busy() {
    let mut world = World::new();
    world.core.config.limits.lane_out_bytes = 10_000;
    let conn = lane(&mut world, false, true);
    world.memory.input.entry((conn, CONTROL)).or_default();
    world.core.stream_opened(world.now, &mut world.memory, conn, CONTROL);
    world.memory.room = Some(0);
    let interest = mesh::Interest {
        add: vec![mesh::InterestEntry { selector: "x".repeat(1000), ..Default::default() }],
        ..Default::default()
    };
    let mut told = 0;
    while world.memory.closed.is_empty() {
        let frame = mesh::LinkFrame::Interest(interest.clone());
        world.core.handle_message(world.now, &mut world.memory, ToCore::LinkFrame { conn, frame });
        told += 1;
        assert!(told < 100, "it grows without end");
    }
    assert_eq!(world.memory.closed, [(conn, CloseCode::Busy)]);
    assert_eq!(told, 10);
}

#[test]
fn a_peer_that_is_refused_hears_by_whom_and_is_closed_if_it_stays() {
    let refuse = |code| {
        let mut world = World::new();
        let conn = ConnKey(9);
        world.core.peer_connected(world.now, &mut world.memory, conn);
        world.memory.input.entry((conn, CONTROL)).or_default();
        world.core.stream_opened(world.now, &mut world.memory, conn, CONTROL);
        let hello = Some(PeerHello::default());
        world.core.handle_message(world.now, &mut world.memory, ToCore::CloseLane { conn, hello, code });
        assert!(world.memory.written.contains_key(&(conn, CONTROL)), "the hello");
        world
    };
    let world = refuse(CloseCode::Forbidden);
    assert_eq!(world.memory.closed, [(ConnKey(9), CloseCode::Forbidden)], "the code says everything");
    let mut world = refuse(CloseCode::Replaced);
    assert_eq!(world.memory.closed, [], "what is not sent goes with its connection");
    world.now = world.now + world.core.config.limits.hello_timeout + Duration::from_secs(1);
    world.settle();
    assert_eq!(world.memory.closed, [(ConnKey(9), CloseCode::Replaced)]);
}
