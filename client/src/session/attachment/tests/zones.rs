//! Clients with a zone: where they go, and when they go home.

use millrace_proto::Incarnation;
use millrace_proto::control::Welcome;

use super::{Out, Subject, dialled, drain, ms, new};
use crate::session::attachment::{AttemptId, Input, Output, Verdict};
use crate::time::Time;

/// A welcome of a router in a zone, which names others with theirs.
fn welcome_in(zone: &str, incarnation: u64, others: &[(&str, &str)]) -> Welcome {
    let part = |part: fn(&(&str, &str)) -> String| others.iter().map(part).collect();
    Welcome {
        incarnation: Incarnation(incarnation),
        zone: zone.to_owned(),
        alternates: part(|(address, _)| (*address).to_owned()),
        alternate_zones: part(|(_, zone)| (*zone).to_owned()),
        ..Welcome::default()
    }
}

/// Lets time pass until something is dialled: the first attempt, its address, and the time.
fn next_dial(subject: &mut Subject, mut now: Time) -> (AttemptId, u32, Time) {
    for _ in 0..100 {
        now = subject.poll_timeout().expect("it waits for something").max(now);
        if let Some(&(attempt, address)) = dialled(&drain(subject, now)).first() {
            return (attempt, address, now);
        }
    }
    panic!("nothing is dialled")
}

fn has_attached(outputs: &[Out], wanted: AttemptId) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Attached { attempt, .. } if *attempt == wanted))
}

#[test]
fn a_client_goes_home_at_once_when_it_hears_of_a_router_of_its_zone() {
    let mut subject = new(&["1"]).in_zone("b".to_owned());
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    let abroad = welcome_in("a", 1, &[("5", "c"), ("2", "b")]);
    subject.handle(Input::Welcomed { attempt, welcome: &abroad }, ms(1));
    assert!(has_attached(&drain(&mut subject, ms(1)), attempt), "any router is better than none");
    let (attempt, address, at) = next_dial(&mut subject, ms(1));
    assert!(address == 2 && at <= ms(1_001), "{address} at {at:?}");
    subject.handle(Input::Welcomed { attempt, welcome: &welcome_in("b", 2, &[("1", "a")]) }, at);
    let outputs = drain(&mut subject, at);
    assert!(matches!(outputs[0], Output::Leave { .. }) && has_attached(&outputs, attempt), "{outputs:?}");
    assert_eq!(subject.poll_timeout(), None, "it is at home");
}

#[test]
fn a_client_away_from_home_asks_one_router_now_and_then_who_is_there() {
    let mut subject = new(&["1"]).in_zone("b".to_owned());
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    subject.handle(Input::Welcomed { attempt, welcome: &welcome_in("a", 1, &[]) }, ms(1));
    drain(&mut subject, ms(1));
    let (scout, address, at) = next_dial(&mut subject, ms(1));
    assert_eq!(address, 1);
    assert!(at >= ms(15_001) && at <= ms(30_001), "{at:?}");
    // The router is the present one, and knows one of the zone by now.
    subject.handle(Input::Welcomed { attempt: scout, welcome: &welcome_in("a", 1, &[("3", "b")]) }, at);
    let outputs = drain(&mut subject, at);
    assert!(outputs.contains(&Output::Abandon { attempt: scout }));
    let home = dialled(&outputs).first().copied().unwrap_or_else(|| {
        let (attempt, address, _) = next_dial(&mut subject, at);
        (attempt, address)
    });
    assert_eq!(home.1, 3);
    subject.handle(Input::Welcomed { attempt: home.0, welcome: &welcome_in("b", 3, &[]) }, at);
    assert!(has_attached(&drain(&mut subject, at), home.0));
    // Gone again: what is known of the zone comes first, and any other takes it.
    subject.handle(Input::Lost { attempt: home.0, verdict: Verdict::Passing }, ms(60_000));
    let (attempt, address, at) = next_dial(&mut subject, ms(60_000));
    assert_eq!(address, 3);
    subject.handle(Input::Failed { attempt, verdict: Verdict::Passing, error: "gone" }, at);
    let (attempt, address, at) = next_dial(&mut subject, at);
    assert_eq!(address, 1);
    subject.handle(Input::Welcomed { attempt, welcome: &welcome_in("a", 1, &[]) }, at);
    assert!(has_attached(&drain(&mut subject, at), attempt));
    let (_, address, _) = next_dial(&mut subject, at);
    assert_eq!(address, 3, "where it was at home it looks first");
}

#[test]
fn without_zones_nobody_goes_anywhere() {
    for (own, theirs) in [("", "a"), ("b", "")] {
        let mut subject = new(&["1"]).in_zone(own.to_owned());
        let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
        let welcome = welcome_in(theirs, 1, &[("2", theirs)]);
        subject.handle(Input::Welcomed { attempt, welcome: &welcome }, ms(1));
        drain(&mut subject, ms(1));
        assert_eq!(subject.poll_timeout(), None, "{own:?} {theirs:?}");
    }
}
