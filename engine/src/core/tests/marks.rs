//! Marks: what stands before them, on every way on which runs come.

use millrace_proto::control::{ControlFrame, Grant, Move, OpenReceiver, RefusedReason};
use millrace_proto::data::{self, DataFrame, Mark};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::FrameReader;
use millrace_proto::mesh::{LaneFrame, MarkRequest, MeshFrame, PeerHello};
use millrace_proto::stream::LanePreamble;
use millrace_proto::{DecodeError, ReceiverNumber};

use super::confirms::run;
use super::confirms_between::{Cores, accept_lane, lane_to};
use super::world::{CONTROL, KEY, World, open, tag_of};
use crate::message::{DialId, ToCore};
use crate::transport::{ConnKey, StreamKey};

fn ask(world: &mut World, conn: ConnKey, mark: u64) {
    world.say(conn, &ControlFrame::Move(Move { mark, ..Move::default() }));
}

/// Numbers of the marks that peers were asked for on a lane, by its control stream.
fn requests(world: &World, conn: ConnKey, control: StreamKey) -> Vec<u64> {
    let mut requests = Vec::new();
    let written = world.memory.written.get(&(conn, control)).cloned().unwrap_or_default();
    FrameReader::new()
        .feed::<DecodeError>(&written, 65_536, |kind, body| {
            if let MeshFrame::Lane(LaneFrame::MarkRequest(request)) = MeshFrame::decode(kind, body)? {
                requests.push(request.number);
            }
            Ok(())
        })
        .unwrap();
    requests
}

/// The peer's stream of runs begins.
fn begin_runs(world: &mut World, conn: ConnKey) {
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    data::put_define_publisher(&mut bytes, 0, KEY);
    world.send(conn, StreamKey(2), &bytes);
}

#[test]
fn a_mark_stands_behind_what_waits_for_its_receiver() {
    let mut world = World::new();
    let receiver = world.receiver(1, OpenReceiver { grant: 0, ..open() }, &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    ask(&mut world, receiver, 7);
    world.publish(publisher, "host=a", 1, &["y"]);
    assert_eq!(world.stream(receiver), [""; 0]);
    world.say(receiver, &ControlFrame::Grant(Grant { bytes: 1 << 20, ..Grant::default() }));
    assert_eq!(world.stream(receiver), ["0 x [0]", "mark 7", "1 y [0]"]);
}

#[test]
fn a_mark_waits_for_the_marks_of_all_lanes() {
    let mut world = World::new();
    let conn = lane_to(&mut world, Features::default().with(feature::MOVES), false);
    let receiver = world.receiver(1, open(), &["*"]);
    begin_runs(&mut world, conn);
    ask(&mut world, receiver, 1);
    assert_eq!(requests(&world, conn, CONTROL), [1]);
    world.send(conn, StreamKey(2), &run("host=a", 0, &["x"], 0));
    assert_eq!(world.stream(receiver), ["0 x [0]"], "the peer may have routed more");
    let mut mark = Vec::new();
    Mark { number: 1, ..Mark::default() }.encode(&mut mark);
    world.send(conn, StreamKey(2), &mark);
    assert_eq!(world.stream(receiver), ["0 x [0]", "mark 1"]);
    // A lane that ends brings nothing more.
    ask(&mut world, receiver, 2);
    world.core.closed(world.now, &mut world.memory, conn, None);
    world.settle();
    assert_eq!(world.stream(receiver)[2..], ["gap router_lost 0", "mark 2"]);
}

#[test]
fn a_mark_waits_for_a_lane_that_the_peer_may_have_accepted_already() {
    let mut world = World::new();
    let (conn, control) = (ConnKey(9), StreamKey(1));
    let hello = PeerHello { epoch: 3, ..PeerHello::default() };
    let dialled = ToCore::LaneDialled { dial: DialId(1), conn, hello };
    world.core.handle_message(world.now, &mut world.memory, dialled);
    let receiver = world.receiver(1, open(), &["*"]);
    ask(&mut world, receiver, 1);
    assert_eq!(world.stream(receiver), ["mark 1"], "the peer has no hello of this side");
    world.core.peer_connected(world.now, &mut world.memory, conn);
    ask(&mut world, receiver, 2);
    assert_eq!(world.stream(receiver).len(), 1, "the peer may have accepted the lane");
    // The peer has accepted the lane and routed a run before it was asked.
    begin_runs(&mut world, conn);
    world.send(conn, StreamKey(2), &run("host=a", 0, &["x"], 0));
    world.memory.input.entry((conn, control)).or_default();
    accept_lane(&mut world, (conn, control), Features::default().with(feature::MOVES), false);
    assert_eq!(requests(&world, conn, control), [2]);
    assert_eq!(world.stream(receiver)[1..], ["0 x [0]"]);
    let mut mark = Vec::new();
    Mark { number: 2, ..Mark::default() }.encode(&mut mark);
    world.send(conn, StreamKey(2), &mark);
    assert_eq!(world.stream(receiver)[2..], ["mark 2"]);
}

#[test]
fn a_half_open_lane_that_closes_may_have_had_runs_unless_the_peer_has_refused_it() {
    for (epoch, told) in [(None, "mark 1 partial"), (Some(0), "mark 1"), (Some(3), "mark 1 partial")] {
        let mut world = World::new();
        let (conn, control) = (ConnKey(9), StreamKey(1));
        let dialled = ToCore::LaneDialled { dial: DialId(1), conn, hello: PeerHello::default() };
        world.core.handle_message(world.now, &mut world.memory, dialled);
        world.core.peer_connected(world.now, &mut world.memory, conn);
        let receiver = world.receiver(1, open(), &["*"]);
        ask(&mut world, receiver, 1);
        if let Some(epoch) = epoch {
            world.memory.input.entry((conn, control)).or_default();
            let mut hello = Vec::new();
            MeshFrame::from(PeerHello { epoch, ..PeerHello::default() }).encode(&mut hello);
            world.send(conn, control, &hello);
        }
        assert_eq!(world.stream(receiver), [""; 0]);
        world.core.closed(world.now, &mut world.memory, conn, None);
        world.settle();
        assert_eq!(world.stream(receiver), [told], "{epoch:?}");
    }
}

#[test]
fn a_peer_without_marks_is_not_waited_for_and_that_is_told() {
    let mut world = World::new();
    lane_to(&mut world, Features::default(), false);
    let receiver = world.receiver(1, open(), &["*"]);
    ask(&mut world, receiver, 1);
    assert_eq!(world.stream(receiver), ["mark 1 partial"]);
}

#[test]
fn a_peer_that_asks_gets_its_mark_behind_the_runs_for_it() {
    let mut world = World::new();
    let conn = lane_to(&mut world, Features::default().with(feature::MOVES), true);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    let mut request = Vec::new();
    MarkRequest { number: 5 }.encode(&mut request);
    world.send(conn, CONTROL, &request);
    world.publish(publisher, "host=a", 1, &["y"]);
    let written = world.memory.written[&(conn, StreamKey(3))].clone();
    let (mut seen, mut is_preamble) = (Vec::new(), true);
    FrameReader::new()
        .feed::<DecodeError>(&written, data::FRAME_BYTES_MAX, |kind, body| {
            if std::mem::take(&mut is_preamble) {
                return Ok(());
            }
            match data::decode(kind, body)? {
                DataFrame::Run { body, .. } => seen.push(format!("run {}", body.first_seq())),
                DataFrame::Mark(mark) => seen.push(format!("mark {}", mark.number)),
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, ["run 0", "mark 5", "run 1"]);
}

#[test]
fn a_mark_stands_behind_what_sibling_cores_have_routed() {
    let mut cores = Cores::new(3);
    let receiver = cores.0[0].receiver(1, open(), &["*"]);
    let publishers: Vec<ConnKey> = (1..3).map(|core| cores.0[core].client(2)).collect();
    for (core, &publisher) in (1..3_u16).zip(&publishers) {
        let world = &mut cores.0[usize::from(core)];
        world.publish(publisher, &tag_of(core, 3), core.into(), &["x"]);
    }
    ask(&mut cores.0[0], receiver, 1);
    assert_eq!(cores.0[0].stream(receiver), [""; 0], "the siblings were not asked");
    cores.settle();
    let mut stream = cores.0[0].stream(receiver);
    assert_eq!(stream.pop().as_deref(), Some("mark 1"));
    stream.sort();
    assert_eq!(stream, ["1 x [0]", "2 x [0]"]);
    assert!(cores.0.iter().all(|world| world.core.poll_timeout() != Some(crate::time::Time::ZERO)));
}

#[test]
fn a_mark_that_crosses_the_end_of_its_receiver_means_nothing_and_one_of_number_0_is_refused() {
    let mut world = World::new();
    let conn = world.client(1);
    let told = world.control_frames(conn).len();
    world.say(conn, &ControlFrame::Move(Move { receiver: ReceiverNumber(4), mark: 1, ..Move::default() }));
    assert_eq!(world.control_frames(conn).len(), told);
    let conn = world.receiver(2, open(), &["*"]);
    ask(&mut world, conn, 0);
    let refused = world.control_frames(conn).pop();
    assert!(
        matches!(&refused, Some(ControlFrame::Refused(refused)) if refused.reason == RefusedReason::Unsupported),
        "{refused:?}"
    );
}
