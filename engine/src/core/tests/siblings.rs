//! Two cores of one router: what one hands over, and what it is told about it.

use millrace_proto::control::OpenReceiver;

use super::world::{World, open};
use crate::core::DropReason;
use crate::message::ToSibling;

#[test]
fn a_core_is_told_how_many_events_that_it_handed_over_were_lost() {
    let (mut first, mut second) = (World::of(0, 2), World::of(1, 2));
    let receiver = OpenReceiver { grant: 0, queue_bytes: 600, ..open() };
    second.receiver(1, receiver, &["*"]);
    let publisher = first.client(1);
    for seq in 0..100 {
        first.publish(publisher, &format!("host=h{seq}"), seq, &["event"]);
    }
    let handed_over = first.core.metrics().events_to_siblings;
    assert!((20..80).contains(&handed_over), "{handed_over} of 100");
    assert_eq!(second.core.next_to_sibling(0), None, "nothing has arrived");
    while let Some(batch) = first.core.next_batch(1) {
        second.core.batch(second.now, 0, &batch).unwrap();
    }
    let lost = second.core.metrics().dropped[DropReason::ReceiverOverflow as usize];
    assert!(lost > 0 && lost < handed_over, "{lost} of {handed_over}");
    let told = second.core.next_to_sibling(0);
    assert_eq!(told, Some(ToSibling::Missed { events: lost }));
    assert_eq!(second.core.next_to_sibling(0), None, "it is told once");
    first.core.sibling_told(first.now, 1, told.unwrap());
    assert_eq!(first.core.metrics().events_missed_by_siblings, lost);
}

#[test]
fn a_core_is_told_nothing_of_events_that_another_brought_in() {
    let mut world = World::of(1, 2);
    let receiver = OpenReceiver { grant: 0, queue_bytes: 600, ..open() };
    world.receiver(1, receiver, &["*"]);
    let publisher = world.client(2);
    for seq in 0..100 {
        world.publish(publisher, &format!("host=h{seq}"), seq, &["event"]);
    }
    assert!(world.core.metrics().dropped[DropReason::ReceiverOverflow as usize] > 0);
    assert_eq!((world.core.next_to_sibling(0), world.core.next_to_sibling(1)), (None, None));
}
