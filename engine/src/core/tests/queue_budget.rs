//! The budget of receivers' queues.

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{ControlFrame, Grant, OpenReceiver, OverflowPolicy};

use super::world::{World, open};
use crate::core::{CoreLimits, DropReason};

#[test]
fn the_largest_queue_gives_way_first_and_others_notice_nothing() {
    let mut world = World::new();
    let mut limits = CoreLimits::default();
    limits.queues.budget_bytes = 100_000;
    world.core.set_limits(limits);
    let still = |queue_bytes, policy| OpenReceiver { grant: 0, queue_bytes, policy, ..open() };
    let greedy = world.receiver(1, still(1 << 20, OverflowPolicy::DropOldest), &["a=1"]);
    let newest = world.receiver(2, still(1 << 20, OverflowPolicy::DropNewest), &["a=1"]);
    let modest = world.receiver(3, still(1 << 20, OverflowPolicy::DropOldest), &["b=1"]);
    let publisher = world.client(4);
    for seq in 0..5 {
        world.publish(publisher, "b=1", seq, &["x"]);
    }
    let large = "x".repeat(1_000);
    for seq in 5..200 {
        world.publish(publisher, "a=1", seq, &[&large]);
        assert!(world.core.queued().bytes <= 100_000);
    }
    for conn in [greedy, newest, modest] {
        world.say(conn, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 }));
    }
    assert_eq!(world.stream(modest).len(), 5);
    let of_greedy = world.stream(greedy);
    assert!(of_greedy[0].starts_with("gap overflow") && of_greedy.len() > 25, "{}", of_greedy.len());
    assert_eq!(of_greedy.last(), Some(&format!("199 {large} [0]")));
    let of_newest = world.stream(newest);
    assert_eq!(of_newest[0], format!("5 {large} [0]"));
    assert!(of_newest.iter().any(|line| line.starts_with("gap overflow")));
    let metrics = world.core.metrics();
    assert_eq!(metrics.dropped[DropReason::ReceiverOverflow as usize], metrics.queue_budget_drops);
    assert_eq!(world.core.queued().bytes, 0);
    world.core.closed(world.now, &mut world.memory, greedy, None);
}

#[test]
fn queues_of_small_runs_count_the_memory_that_they_reserve() {
    let mut world = World::new();
    let mut limits = CoreLimits::default();
    limits.queues.budget_bytes = 400_000;
    world.core.set_limits(limits);
    let still = OpenReceiver { grant: 0, queue_bytes: 1 << 20, ..open() };
    let receivers: Vec<_> = (1..9).map(|number| world.receiver(number, still.clone(), &["a=1"])).collect();
    let publisher = world.client(9);
    for seq in 0..1_000 {
        world.publish(publisher, "a=1", seq, &["x"]);
        assert!(world.core.queue_room() <= 400_000);
    }
    assert!(world.core.queue_room() > 300_000, "{}", world.core.queue_room());
    for conn in receivers {
        world.core.closed(world.now, &mut world.memory, conn, None);
    }
    assert_eq!(world.core.queue_room(), 0);
}
