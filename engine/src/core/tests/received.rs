//! When publishers are told what was received.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, Hello, Ping};
use millrace_proto::{CloseCode, PROTOCOL_VERSION, data};

use super::world::{PUBLISH, World};
use crate::message::ToCore;
use crate::time::Time;
use crate::transport::ConnKey;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl World {
    /// A publisher that can wait for so long.
    fn patient(&mut self, number: u64, received_within: Duration) -> ConnKey {
        let conn = ConnKey(number);
        self.core.client_connected(self.now, conn);
        let received_within_us = u64::try_from(received_within.as_micros()).unwrap();
        let hello = Hello { version: PROTOCOL_VERSION, received_within_us, ..Hello::default() };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    fn after(&mut self, time: Duration) {
        self.now = self.now + time;
        self.settle();
    }

    fn ask(&mut self, conn: ConnKey) {
        let mut bytes = Vec::new();
        data::put_report(&mut bytes);
        self.send(conn, PUBLISH, &bytes);
    }

    /// What a publisher was told.
    fn received(&self, conn: ConnKey) -> Vec<u64> {
        let next_seq = |frame| match frame {
            ControlFrame::Received(received) => Some(received.next_seq),
            _ => None,
        };
        self.control_frames(conn).into_iter().filter_map(next_seq).collect()
    }
}

#[test]
fn a_publisher_that_says_nothing_is_told_after_20_ms() {
    let mut world = World::new();
    let publisher = world.client(1);
    world.after(ms(6_000));
    world.publish(publisher, "host=a", 0, &["x", "y"]);
    world.after(ms(19));
    assert_eq!(world.received(publisher), [0_u64; 0]);
    assert_eq!(world.core.poll_timeout(), Some(world.now + ms(1)));
    world.after(ms(1));
    assert_eq!(world.received(publisher), [2]);
    assert_eq!(world.core.poll_timeout(), None);
}

#[test]
fn each_publisher_waits_as_long_as_it_can() {
    let mut world = World::new();
    let waits = [(1, 3_000), (2, 500), (3, 3_600_000), (4, 1)];
    let publishers = waits.map(|(number, wait)| (world.patient(number, ms(wait)), wait));
    for (publisher, _) in publishers {
        world.publish(publisher, "host=a", 0, &["x"]);
    }
    let begun = world.now;
    for at in [1, 499, 500, 2_999, 3_000, 9_999, 10_000] {
        world.now = begun + ms(at);
        world.settle();
        for (publisher, wait) in publishers {
            let told = world.received(publisher).len();
            assert_eq!(told, usize::from(at >= wait.min(10_000)), "at {at} ms of {wait}");
        }
    }
}

#[test]
fn many_bytes_are_told_at_once_however_long_the_publisher_can_wait() {
    let mut world = World::new();
    let publisher = world.patient(1, ms(10_000));
    world.publish(publisher, "host=a", 0, &["x"]);
    world.publish(publisher, "host=a", 1, &["x".repeat(64 * 1024).as_str()]);
    assert_eq!(world.received(publisher), [2]);
}

#[test]
fn who_asks_is_told_at_once_and_only_if_there_is_something_to_tell() {
    let mut world = World::new();
    let publisher = world.patient(1, ms(10_000));
    world.publish(publisher, "host=a", 0, &["x"]);
    world.ask(publisher);
    assert_eq!(world.received(publisher), [1]);
    world.ask(publisher);
    assert_eq!(world.received(publisher), [1]);
    // An answer given early changes nothing for what follows.
    world.publish(publisher, "host=a", 1, &["y"]);
    assert_eq!(world.received(publisher), [1]);
    world.after(ms(10_000));
    assert_eq!(world.received(publisher), [1, 2]);
    assert_eq!(world.core.metrics().frames_skipped, 0);
}

#[test]
fn a_pong_and_a_credit_carry_what_was_received() {
    let mut world = World::new();
    let publisher = world.patient(1, ms(10_000));
    world.publish(publisher, "host=a", 0, &["x"]);
    world.say(publisher, &ControlFrame::Ping(Ping { nonce: 1 }));
    assert_eq!(world.received(publisher), [1]);
    let payload = "x".repeat(60_000);
    for seq in 1..12 {
        world.publish(publisher, "host=a", seq, &[&payload]);
    }
    let credited =
        |frame: &ControlFrame| matches!(frame, ControlFrame::Credit(credit) if credit.bytes > 2 << 20);
    let frames = world.control_frames(publisher);
    let credit = frames.iter().position(credited).unwrap();
    assert!(matches!(frames[credit + 1], ControlFrame::Received(_)), "{frames:?}");
}

#[test]
fn a_publisher_that_is_gone_is_waited_for_no_longer() {
    let mut world = World::new();
    let publisher = world.patient(1, ms(10_000));
    world.after(ms(6_000));
    world.publish(publisher, "host=a", 0, &["x"]);
    assert_eq!(world.core.poll_timeout(), Some(world.now + ms(10_000)));
    world.core.closed(world.now, &mut world.memory, publisher, None);
    assert_eq!(world.core.poll_timeout(), None);
}

#[test]
fn publishers_that_are_due_within_a_millisecond_are_told_in_one_turn() {
    let mut world = World::new();
    let publishers = [1, 2, 3].map(|number| world.patient(number, ms(20)));
    for publisher in publishers {
        world.after(Duration::from_micros(300));
        world.publish(publisher, "host=a", 0, &["x"]);
    }
    let due = world.core.poll_timeout().unwrap();
    assert_eq!(due, Time(1_021_000_000));
    world.now = due;
    world.settle();
    assert_eq!(publishers.map(|publisher| world.received(publisher)), [[1], [1], [1]]);
    assert!(world.core.poll_timeout().is_none_or(|next| next > world.now + ms(1_000)));
}

#[test]
fn a_router_that_goes_away_tells_what_it_has_received_before_it_says_so() {
    let mut world = World::new();
    let publisher = world.patient(1, ms(10_000));
    world.publish(publisher, "host=a", 0, &["x"]);
    world.core.handle_message(world.now, &mut world.memory, ToCore::Drain { grace_us: 1_000_000 });
    world.settle();
    let frames = world.control_frames(publisher);
    assert!(matches!(frames[frames.len() - 2..], [ControlFrame::Received(_), ControlFrame::Goaway(_)]));
}

#[test]
fn clients_are_told_what_was_received_a_turn_before_they_are_closed_and_are_not_read_meanwhile() {
    let mut world = World::new();
    let publisher = world.patient(1, ms(10_000));
    world.publish(publisher, "host=a", 0, &["x"]);
    world.core.close_clients(world.now, &mut world.memory);
    assert_eq!(world.received(publisher), [1]);
    world.publish(publisher, "host=a", 1, &["y"]);
    assert_eq!(world.memory.closed, [], "what was told leaves with this turn");
    assert_eq!(world.core.poll_timeout(), Some(Time::ZERO));
    world.settle();
    assert_eq!(world.memory.closed, [(publisher, CloseCode::GoingAway)]);
    assert_eq!(world.core.metrics().events_in, 1);
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO));
}
