//! People who ask about the clients of a core get bounded, ranked answers.

use millrace_proto::control::OpenReceiver;

use super::world::{World, open};
use crate::core::SessionOrder;
use crate::transport::ConnKey;

/// A receiver that is never written to: what it wants waits.
fn stalled(world: &mut World, number: u64, selectors: &[&str]) -> ConnKey {
    world.receiver(number, OpenReceiver { grant: 0, ..open() }, selectors)
}

#[test]
fn sessions_are_ranked_counted_and_cut() {
    let mut world = World::new();
    let slowest = stalled(&mut world, 1, &["host=a", "host=b"]);
    let slow = stalled(&mut world, 2, &["host=b"]);
    for number in 3..20 {
        stalled(&mut world, number, &["host=c"]);
    }
    let publisher = world.client(20);
    world.publish(publisher, "host=a", 0, &["one"]);
    world.publish(publisher, "host=b", 1, &["two", "three"]);
    let by_queue = world.core.sessions(SessionOrder::Queue, 2);
    assert_eq!(by_queue.count, 20);
    let first: Vec<_> = by_queue.first.iter().map(|session| session.conn).collect();
    assert_eq!(first, [slowest, slow]);
    let slowest = &by_queue.first[0];
    assert_eq!((slowest.queued_events, slowest.receivers, slowest.selectors), (3, 1, 2));
    assert!(slowest.queued_bytes > 0 && slowest.queued_bytes < slowest.queue_bytes_max);
    let by_published = world.core.sessions(SessionOrder::Published, 1);
    assert_eq!(by_published.first[0].conn, publisher);
    assert!(by_published.first[0].publishes && by_published.first[0].published_bytes > 0);
    assert_eq!(world.core.sessions(SessionOrder::Drops, 0).first, []);
}

#[test]
fn receivers_that_want_a_tag_set_are_named_with_their_selectors() {
    let mut world = World::new();
    let wants = stalled(&mut world, 1, &["host=a", "host,payload ~ /x/"]);
    stalled(&mut world, 2, &["host=b"]);
    stalled(&mut world, 3, &["host=a"]);
    let tags = millrace_proto::TagSet::from_texts(["host=a"]).unwrap();
    let wanting = world.core.wanting(tags.borrow(), 1);
    assert_eq!((wanting.count, wanting.first.len()), (2, 1));
    let first = &wanting.first[0];
    assert_eq!(first.conn, wants);
    let mut selectors: Vec<_> =
        first.selectors.iter().map(|selector| (selector.text.as_str(), selector.has_pattern)).collect();
    selectors.sort_unstable();
    assert_eq!(selectors, [("host", true), ("host=a", false)]);
}
