//! Turns: who is left unread, and that nobody holds up others.

use millrace_proto::control::{ControlFrame, OpenReceiver, Ping, Subscribe, Unsubscribe};
use millrace_proto::data::{self, HopHeader};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::LanePreamble;
use millrace_proto::{ReceiverNumber, SubscriptionNumber, TagSet};

use super::world::{CONTROL, KEY, World, lane, open};
use crate::core::agenda::FRAMES_PER_TURN;
use crate::core::mail::OUTPUTS_MAX;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

#[test]
fn while_a_mailbox_is_above_half_publishers_wait_and_control_and_lanes_do_not() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    let peer = lane(&mut world, false, true);
    world.core.set_pressed(true);
    world.publish(publisher, "host=a", 0, &["waits"]);
    assert_eq!(world.core.metrics().events_in, 0);
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");

    world.say(publisher, &ControlFrame::Ping(Ping { nonce: 7 }));
    assert!(world.control_frames(publisher).iter().any(|frame| matches!(frame, ControlFrame::Pong(_))));
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    data::put_define_publisher(&mut bytes, 0, KEY);
    data::put_define_tags(&mut bytes, 0, TagSet::from_texts(["host=b"]).unwrap().borrow());
    let mut run = RunBuilder::default();
    run.start(5, 5, 5);
    run.push(5, b"passes");
    let mut body = Vec::new();
    run.finish(&mut body);
    data::put_run(&mut bytes, &HopHeader::numbered(0, 0), &body);
    world.send(peer, StreamKey(2), &bytes);
    assert_eq!(world.stream(receiver), ["5 passes [0]"]);
    assert!(world.core.metrics().paused_turns > 0);

    world.core.set_pressed(false);
    world.settle();
    assert_eq!(world.stream(receiver), ["5 passes [0]", "0 waits [0]"]);
}

#[test]
fn while_control_does_not_keep_up_control_streams_wait_and_nothing_grows() {
    let mut world = World::new();
    let clients: Vec<ConnKey> = (1..=4).map(|number| world.client(number)).collect();
    let mut subscribes = Vec::new();
    ControlFrame::OpenReceiver(open()).encode(&mut subscribes);
    for number in 0..600 {
        let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(number));
        let selectors = vec![format!("host=h{number}")];
        ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() })
            .encode(&mut subscribes);
    }
    // Nobody takes what is for control.
    for &client in &clients {
        world.memory.input.entry((client, CONTROL)).or_default().extend(&subscribes);
        world.core.readable(world.now, &mut world.memory, client, CONTROL);
    }
    for _ in 0..100 {
        world.core.turn(world.now, &mut world.memory);
    }
    assert!(world.core.metrics().control_paused > 2, "two clients and more have to wait");
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");
    let first = std::iter::from_fn(|| world.core.poll_output()).count();
    assert!((OUTPUTS_MAX..OUTPUTS_MAX + FRAMES_PER_TURN).contains(&first), "{first}");
    assert_eq!(world.core.poll_timeout(), Some(Time::ZERO));
    let mut rest = 0;
    for _ in 0..100 {
        world.core.turn(world.now, &mut world.memory);
        rest += std::iter::from_fn(|| world.core.poll_output()).count();
    }
    assert_eq!(first + rest, 4 * 600);
}

#[test]
fn a_flood_of_unsubscriptions_is_spread_over_turns_and_others_take_theirs() {
    let mut world = World::new();
    let (greedy, patient) = (world.client(1), world.client(2));
    world.say(greedy, &ControlFrame::OpenReceiver(open()));
    let receiver = ReceiverNumber(0);
    let mut unsubscribes = Vec::new();
    for number in 0..100 {
        let subscription = SubscriptionNumber(number);
        let selectors = (0..10).map(|n| format!("host=h{number}-{n}")).collect();
        world.say(
            greedy,
            &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
        );
        ControlFrame::Unsubscribe(Unsubscribe { receiver, subscription }).encode(&mut unsubscribes);
    }
    let mut ping = Vec::new();
    ControlFrame::Ping(Ping { nonce: 7 }).encode(&mut ping);
    for (client, bytes) in [(greedy, &unsubscribes), (patient, &ping)] {
        world.memory.input.entry((client, CONTROL)).or_default().extend(bytes);
        world.core.readable(world.now, &mut world.memory, client, CONTROL);
    }
    let mut left = 1000;
    for turn in 0.. {
        let before = left;
        world.core.turn(world.now, &mut world.memory);
        left = world.core.metrics().selectors;
        if turn == 0 {
            assert!(world.control_frames(patient).iter().any(|frame| matches!(frame, ControlFrame::Pong(_))));
        }
        if left == 0 {
            break;
        }
        assert!(left < before && before - left <= 2 * FRAMES_PER_TURN as u64, "{before} to {left}");
        assert_eq!(world.core.poll_timeout(), Some(Time::ZERO), "it goes on");
    }
    world.core.turn(world.now, &mut world.memory);
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");
}

#[test]
fn a_client_that_subscribes_faster_than_selectors_are_read_is_left_unread_meanwhile() {
    let mut world = World::new();
    let client = world.client(1);
    let mut bytes = Vec::new();
    for receiver in (0..4).map(ReceiverNumber) {
        ControlFrame::OpenReceiver(OpenReceiver { receiver, ..open() }).encode(&mut bytes);
        for number in 0..1000 {
            let (subscription, selectors) = (SubscriptionNumber(number), vec![format!("host=h{number}")]);
            ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() })
                .encode(&mut bytes);
        }
    }
    world.memory.input.entry((client, CONTROL)).or_default().extend(&bytes);
    world.core.readable(world.now, &mut world.memory, client, CONTROL);
    let mut asked = Vec::new();
    for _ in 0..100 {
        world.core.turn(world.now, &mut world.memory);
        asked.extend(std::iter::from_fn(|| world.core.poll_output()));
    }
    assert!((1000..2000).contains(&asked.len()), "{}", asked.len());
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");
    asked.into_iter().for_each(|output| world.core.mail.say_again(output));
    (0..200).for_each(|_| world.settle());
    assert_eq!((world.core.metrics().selectors, &world.memory.closed[..]), (4000, &[][..]));
}

#[test]
fn a_control_stream_that_always_has_more_holds_up_no_other() {
    let mut world = World::new();
    let (greedy, patient) = (world.client(1), world.client(2));
    let subscribes = |from: u32| {
        let mut bytes = Vec::new();
        for number in from..from + 600 {
            let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(number));
            let selectors = vec!["host=a".to_owned()];
            ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() })
                .encode(&mut bytes);
        }
        bytes
    };
    world.say(greedy, &ControlFrame::OpenReceiver(open()));
    world.core.mail.fill(OUTPUTS_MAX);
    let mut ping = Vec::new();
    ControlFrame::Ping(Ping { nonce: 7 }).encode(&mut ping);
    for (client, bytes) in [(patient, ping), (greedy, subscribes(0))] {
        world.memory.input.entry((client, CONTROL)).or_default().extend(&bytes);
        world.core.readable(world.now, &mut world.memory, client, CONTROL);
    }
    world.core.poll_output();
    world.core.turn(world.now, &mut world.memory);
    world.memory.input.entry((greedy, CONTROL)).or_default().extend(&subscribes(600)[..1000]);
    world.core.readable(world.now, &mut world.memory, greedy, CONTROL);
    world.core.mail.fill(OUTPUTS_MAX - 1);
    world.core.turn(world.now, &mut world.memory);
    assert!(world.control_frames(patient).iter().any(|frame| matches!(frame, ControlFrame::Pong(_))));
}
