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

#[test]
fn routers_that_were_lost_a_moment_ago_are_tried_behind_all_others() {
    for seed in 0..20 {
        let mut subject: Subject =
            Attachment::new(AttachmentConfig::default(), routers(&["1", "2", "3"]), seed, Time::ZERO);
        let (mut lost, mut now) = (Vec::new(), Time::ZERO);
        for incarnation in 0..2 {
            let (attempt, address) = attach(&mut subject, incarnation, &[], now);
            assert!(!lost.contains(&address), "{address} of {lost:?}");
            lost.push(address);
            now = now.after(2 * SECOND_NS);
            subject.handle(Input::Lost { attempt, verdict: Verdict::Passing }, now);
            now = subject.poll_timeout().unwrap();
        }
        let mut order = Vec::new();
        for _ in 0..3 {
            order.extend(dialled(&drain(&mut subject, now)).into_iter().map(|(_, address)| address));
            now = subject.poll_timeout().unwrap();
        }
        assert_eq!(order[1..], lost);
    }
}
