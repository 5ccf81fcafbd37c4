//! Where a connection was lost is tried last.

use super::*;

/// Attached to the address that it returns, then lost.
fn lose(subject: &mut Subject, alternates: &[&str], now: Time) -> u32 {
    let (attempt, address) = attach(subject, 1, alternates, now);
    subject.handle(Input::Lost { attempt, verdict: Verdict::Passing }, now);
    address
}

/// The addresses of the next round, in the order in which they are dialled.
fn order(subject: &mut Subject) -> Vec<u32> {
    let mut all = Vec::new();
    while let Some(due) = subject.poll_timeout().filter(|_| all.len() < 3) {
        let outputs = drain(subject, due);
        all.extend(dialled(&outputs).into_iter().map(|(_, address)| address));
    }
    all
}

#[test]
fn the_router_that_was_lost_is_tried_behind_those_that_it_named() {
    for seed in 0..20 {
        let config = AttachmentConfig::default();
        let mut subject = Attachment::new(config, routers(&["1"]), seed, Time::ZERO);
        let lost = lose(&mut subject, &["2", "3"], Time::ZERO);
        let order = order(&mut subject);
        assert_eq!((order.len(), order.last()), (3, Some(&lost)), "{order:?}");
    }
}

#[test]
fn the_address_that_was_lost_is_tried_behind_the_others_of_its_name() {
    for seed in 0..20 {
        let config = AttachmentConfig::default();
        let mut subject = Attachment::new(config, routers(&["name"]), seed, Time::ZERO);
        let resolve = |subject: &mut Subject, now| {
            let outputs = drain(subject, now);
            let Some(Output::Resolve { router }) = outputs.first() else { panic!("{outputs:?}") };
            subject.handle(Input::Resolved { router, outcome: Ok(vec![4, 5, 6]) }, now);
        };
        resolve(&mut subject, Time::ZERO);
        let lost = lose(&mut subject, &[], Time::ZERO);
        let due = subject.poll_timeout().unwrap();
        resolve(&mut subject, due);
        let order = order(&mut subject);
        assert_eq!((order.len(), order.last()), (3, Some(&lost)), "{order:?}");
    }
}

#[test]
fn the_only_router_is_tried_at_once_when_it_was_lost() {
    let mut subject = new(&["1"]);
    assert_eq!(lose(&mut subject, &[], Time::ZERO), 1);
    let due = subject.poll_timeout().unwrap();
    assert_eq!(dialled(&drain(&mut subject, due)).len(), 1);
}
