//! Sessions of clients: hello, errors, the end.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, Hello, Ping};
use millrace_proto::{CloseCode, PROTOCOL_VERSION};

use super::world::{CONTROL, World, open};
use crate::message::ToCore;
use crate::transport::ConnKey;

#[test]
fn bad_selectors_are_refused_with_the_column_and_disturb_nothing() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["host=a", "type in (a"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    assert_eq!(world.stream(receiver), ["0 x [0]"]);
    let refused = world.control_frames(receiver).into_iter().find_map(|frame| match frame {
        ControlFrame::Refused(refused) => Some(refused.message),
        _ => None,
    });
    assert!(refused.unwrap().contains("column"));
    assert_eq!(world.core.metrics().refused, 1);
}

#[test]
fn each_kind_of_bad_input_closes_its_connection_with_its_code_and_no_other() {
    let unknown_even = [0x7f, 0xfe, 0x00];
    let oversized = [0x24, 0xbf, 0xff, 0xff, 0xff];
    let malformed = [0x36, 0x03, 0x01, 0x05, 0x00];
    for (bytes, code) in [
        (&unknown_even[..], CloseCode::UnknownFrame),
        (&oversized, CloseCode::Limit),
        (&malformed, CloseCode::Malformed),
    ] {
        let mut world = World::new();
        let good = world.receiver(1, open(), &["*"]);
        let bad = world.client(2);
        world.send(bad, CONTROL, bytes);
        assert_eq!(world.memory.closed, [(bad, code)]);
        let publisher = world.client(3);
        world.publish(publisher, "host=a", 0, &["x"]);
        assert_eq!(world.stream(good), ["0 x [0]"]);
    }
}

#[test]
fn hello_comes_first_and_in_our_version() {
    let mut world = World::new();
    let early = ConnKey(1);
    world.core.client_connected(world.now, early);
    world.say(early, &ControlFrame::Ping(Ping { nonce: 1 }));
    let foreign = ConnKey(2);
    world.core.client_connected(world.now, foreign);
    world.say(foreign, &ControlFrame::Hello(Hello { version: 99, ..Hello::default() }));
    let silent = ConnKey(3);
    world.core.client_connected(world.now, silent);
    world.now = world.now + Duration::from_secs(6);
    world.settle();
    assert_eq!(
        world.memory.closed,
        [(early, CloseCode::Unexpected), (foreign, CloseCode::Version), (silent, CloseCode::Timeout)]
    );
}

#[test]
fn a_client_that_connects_while_the_router_leaves_is_welcomed_before_it_is_told() {
    let mut world = World::new();
    let early = ConnKey(9);
    world.core.client_connected(world.now, early);
    world.core.handle_message(world.now, &mut world.memory, ToCore::Drain { grace_us: u64::MAX });
    let hello = Hello { version: PROTOCOL_VERSION, ..Hello::default() };
    world.say(early, &ControlFrame::Hello(hello));
    let frames = world.control_frames(early);
    assert!(matches!(frames[..2], [ControlFrame::Welcome(_), ControlFrame::Goaway(_)]), "{frames:?}");
}

#[test]
fn a_client_that_stops_its_control_stream_has_ended_its_session() {
    let mut world = World::new();
    let client = world.client(1);
    world.core.stopped(world.now, &mut world.memory, client, CONTROL);
    assert_eq!(world.memory.closed, [(client, CloseCode::Done)]);
    assert_eq!(world.core.metrics().clients, 0);
}

#[test]
fn as_many_clients_as_wanted_are_asked_to_move_one_after_the_other_and_none_twice() {
    let mut world = World::new();
    let clients = [1, 2, 3, 4].map(|number| world.client(number));
    let newcomer = ConnKey(9);
    world.core.client_connected(world.now, newcomer);
    let ask = |world: &mut World, count, to: &str| {
        let order = ToCore::MoveClients { count, within_us: 10_000, to: to.to_owned() };
        world.core.handle_message(world.now, &mut world.memory, order);
        world.settle();
    };
    ask(&mut world, 3, "r1:1");
    ask(&mut world, 9, "r2:1");
    let told = clients.map(|client| {
        let frames = world.control_frames(client);
        let told = frames.into_iter().filter_map(|frame| match frame {
            ControlFrame::Goaway(goaway) => Some((goaway.delay_us, goaway.alternates.concat())),
            _ => None,
        });
        told.collect::<Vec<_>>()
    });
    let told: Vec<_> = told.iter().map(|told| (told.len(), told[0].0, told[0].1.as_str())).collect();
    assert_eq!(told, [(1, 0, "r1:1"), (1, 3_333, "r1:1"), (1, 6_666, "r1:1"), (1, 0, "r2:1")]);
    assert_eq!(world.core.metrics().clients_asked_to_move, 4, "who has not said Hello is not asked");
    assert_eq!(world.memory.closed, [], "the router stays, and so may they");
}
