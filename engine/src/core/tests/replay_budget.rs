//! What receivers that ask for the past may take of a core: memory for what waits for their
//! replays and for what was read for them, and time beside live runs.

use millrace_proto::control::{ControlFrame, Grant, SourcePosition, Subscribe};
use millrace_proto::feature;
use millrace_proto::{Incarnation, RouterId, SubscriptionNumber};

use super::replays::{Said, asks_as, said, seqs, since};
use super::world::World;
use crate::core::CoreConfig;
use crate::core::allowance::PARTS;
use crate::time::Time;
use crate::transport::ConnKey;

/// A core that keeps this much history, and lets so much wait for receivers.
fn keeping(history_bytes: usize, queue_budget_bytes: u64) -> World {
    let mut config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
    config.limits.kept.history.bytes = history_bytes;
    config.limits.queues.budget_bytes = queue_budget_bytes;
    config.features = config.features.with(feature::HISTORY);
    World::with(config)
}

/// Receivers that ask for everything and take one run of it.
fn crowd(world: &mut World, count: u64) -> Vec<ConnKey> {
    (0..count).map(|number| asks_as(world, 100 + number, number % 2, 1, since("*"))).collect()
}

/// Lets them take everything.
fn release(world: &mut World, crowd: &[ConnKey]) {
    for &conn in crowd {
        world.say(conn, &ControlFrame::Grant(Grant { bytes: 1 << 30, ..Grant::default() }));
    }
    world.turns(2_000);
}

#[test]
fn what_waits_for_replays_is_a_part_of_the_queue_budget_and_nothing_is_missed() {
    let (receivers, budget, payload) = (8, 256 * 1024, "x".repeat(1_000));
    let mut world = keeping(4 << 20, budget);
    let publisher = world.client(1);
    (0..20).for_each(|seq| world.publish(publisher, "a=1", seq, &[&payload]));
    let crowd = crowd(&mut world, receivers);
    for seq in 20..300 {
        world.publish(publisher, "a=1", seq, &[&payload]);
        let held = world.core.metrics().replay_held;
        // A run is kept by who has less than its share.
        assert!(held <= budget / 8 + receivers * 1_500, "{held}");
    }
    assert!(world.core.metrics().events_left_to_replay > 0);
    release(&mut world, &crowd);
    for &conn in &crowd {
        let said = said(&world, conn);
        assert_eq!(seqs(&said, 0), (0..300).collect::<Vec<_>>());
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))));
    }
    let metrics = world.core.metrics();
    assert_eq!((metrics.replay_held, metrics.replay_read, world.core.queued().bytes), (0, 0, 0));
    // Who has joined gets what follows live.
    world.publish(publisher, "a=1", 300, &["live"]);
    assert_eq!(seqs(&said(&world, crowd[0]), 0).last(), Some(&300));
}

#[test]
fn what_is_read_for_receivers_that_do_not_take_it_is_bounded_and_read_again() {
    let payload = "x".repeat(1_000);
    let mut world = keeping(4 << 20, 1 << 20);
    let publisher = world.client(1);
    (0..100).for_each(|seq| world.publish(publisher, "a=1", seq, &[&payload]));
    let crowd = crowd(&mut world, 60);
    world.turns(200);
    let read = world.core.metrics().replay_read;
    assert!((1..=544 * 1024).contains(&read), "{read}");
    assert_eq!(world.core.poll_timeout().filter(|&due| due <= world.now), None, "it does not turn in vain");
    release(&mut world, &crowd);
    for &conn in &crowd {
        assert_eq!(seqs(&said(&world, conn), 0), (0..100).collect::<Vec<_>>());
    }
    assert_eq!(world.core.metrics().replay_read, 0);
}

#[test]
fn beside_live_runs_the_past_gets_a_quarter_of_the_time() {
    let mut world = keeping(4 << 20, 64 << 20);
    let publisher = world.client(1);
    (0..4_000).for_each(|seq| world.publish(publisher, "a=1", seq, &["x"]));
    let place = SourcePosition { router: RouterId(1), incarnation: Incarnation(2), owner: 0, position: 0 };
    let past = Subscribe { selectors: vec!["*".to_owned()], cursor: vec![place], ..Default::default() };
    let conn = asks_as(&mut world, 100, 1, 1 << 30, past);
    let begun = world.core.metrics().events_replayed;
    for turn in 0..1_000 {
        world.now = world.now.after(1_000);
        world.publish(publisher, "b=1", 4_000 + turn, &["live"]);
    }
    let beside = world.core.metrics().events_replayed - begun;
    // A millisecond earns 250, and what was left of a turn's most comes first.
    assert!((100..=250 + PARTS as u64).contains(&beside), "{beside}");
    assert!(world.core.poll_timeout().is_some_and(|due| due > Time::ZERO), "it waits for its time");
    world.turns(100);
    assert_eq!(seqs(&said(&world, conn), 0), (0..5_000).collect::<Vec<_>>(), "at once when nothing comes");
}

#[test]
fn cursors_of_those_who_do_not_take_their_past_are_bounded() {
    let mut world = keeping(4 << 20, 256 * 1024);
    let publisher = world.client(1);
    (0..20).for_each(|seq| world.publish(publisher, "a=1", seq, &["x"]));
    let conn = asks_as(&mut world, 100, 1, 0, since("*"));
    let at = |router| SourcePosition { router: RouterId(router), ..SourcePosition::default() };
    let cursor: Vec<SourcePosition> = (1_000..2_000).map(at).collect();
    let each = size_of_val(cursor.as_slice()) as u64;
    for number in 1..400 {
        let subscription = SubscriptionNumber(number);
        let asked = Subscribe { subscription, since_us: 0, cursor: cursor.clone(), ..since("*") };
        world.say(conn, &ControlFrame::Subscribe(asked));
    }
    let refused =
        world.control_frames(conn).into_iter().filter(|frame| matches!(frame, ControlFrame::Refused(_)));
    let taken = 399 - refused.count() as u64;
    assert!(taken * each < 8 << 20 && taken * each > 6 << 20, "{taken} cursors of {each} bytes");
}
