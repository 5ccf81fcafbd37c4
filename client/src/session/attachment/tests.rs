//! What an attachment does, step by step and under chance.

mod lost;
mod nearest;
mod taken;
mod zones;

use millrace_proto::control::{Goaway, Welcome};
use millrace_proto::{CloseCode, Incarnation};
use proptest::prelude::*;

use super::*;
use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

/// A router for tests: a number is an address, all else a name.
#[derive(Debug, Clone, PartialEq)]
struct Named(String);

impl Router for Named {
    type Address = u32;

    fn address(&self) -> Option<u32> {
        self.0.parse().ok()
    }

    fn named(text: &str) -> Option<Self> {
        (!text.contains(' ')).then(|| Self(text.to_owned()))
    }
}

type Subject = Attachment<Named, &'static str>;
type Out = Output<Named, &'static str>;

fn routers(texts: &[&str]) -> Vec<Named> {
    texts.iter().map(|text| Named((*text).to_owned())).collect()
}

fn new(texts: &[&str]) -> Subject {
    Attachment::new(AttachmentConfig::default(), routers(texts), 1, Time::ZERO)
}

fn ms(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * MILLISECOND_NS)
}

fn welcome(incarnation: u64, alternates: &[&str]) -> Welcome {
    let alternates = alternates.iter().map(|text| (*text).to_owned()).collect();
    Welcome { incarnation: Incarnation(incarnation), alternates, ..Welcome::default() }
}

fn drain(subject: &mut Subject, now: Time) -> Vec<Out> {
    std::iter::from_fn(|| subject.poll_output(now)).collect()
}

fn dialled(outputs: &[Out]) -> Vec<(AttemptId, u32)> {
    let dial = |output: &Out| match output {
        Output::Dial { attempt, address, .. } => Some((*attempt, *address)),
        _ => None,
    };
    outputs.iter().filter_map(dial).collect()
}

/// Attaches to the first address that is dialled.
fn attach(subject: &mut Subject, incarnation: u64, alternates: &[&str], now: Time) -> (AttemptId, u32) {
    let outputs = drain(subject, now);
    let (attempt, address) = dialled(&outputs)[0];
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(incarnation, alternates) }, now);
    let outputs = drain(subject, now);
    assert!(matches!(outputs[..], [Output::Attached { .. }]), "{outputs:?}");
    (attempt, address)
}

#[test]
fn an_address_is_dialled_while_a_name_is_looked_up() {
    let mut subject = new(&["name", "7"]);
    let outputs = drain(&mut subject, Time::ZERO);
    assert!(outputs.contains(&Output::Resolve { router: Named("name".into()) }));
    assert_eq!(dialled(&outputs).len(), 1);
    assert_eq!(dialled(&outputs)[0].1, 7);
}

#[test]
fn a_name_that_is_not_answered_ends_with_the_time_of_an_attempt() {
    let mut subject = new(&["name"]);
    drain(&mut subject, Time::ZERO);
    let due = subject.poll_timeout().unwrap();
    assert_eq!(due, ms(5_000));
    let outputs = drain(&mut subject, due);
    let [Output::GaveUp { failure }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(failure.cause, Cause::LookupTimeout);
    assert_eq!(subject.poll_timeout(), None);
}

#[test]
fn addresses_have_a_head_start_and_the_losers_are_abandoned() {
    let mut subject = new(&["1", "2", "3"]);
    let first = dialled(&drain(&mut subject, Time::ZERO));
    assert_eq!(first.len(), 1);
    assert!(drain(&mut subject, ms(249)).is_empty());
    let second = dialled(&drain(&mut subject, ms(250)));
    assert_eq!(second.len(), 1);
    subject.handle(Input::Welcomed { attempt: second[0].0, welcome: &welcome(1, &[]) }, ms(300));
    let outputs = drain(&mut subject, ms(300));
    assert_eq!(outputs[0], Output::Abandon { attempt: first[0].0 });
    assert!(matches!(outputs[1], Output::Attached { attempt, .. } if attempt == second[0].0));
    assert_eq!((outputs.len(), subject.poll_timeout()), (2, None));
}

#[test]
fn a_router_that_has_answered_keeps_its_head_start_longer() {
    let mut subject = new(&["1", "2"]);
    let first = dialled(&drain(&mut subject, Time::ZERO));
    for at in [100, 240] {
        subject.handle(Input::Answered { attempt: first[0].0 }, ms(at));
    }
    assert!(drain(&mut subject, ms(999)).is_empty());
    let second = dialled(&drain(&mut subject, ms(1_000)));
    assert_eq!(second.len(), 1, "it is not waited for longer than that");
}

#[test]
fn a_failed_attempt_makes_way_for_the_next_at_once() {
    let mut subject = new(&["1", "2"]);
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    subject.handle(Input::Failed { attempt, verdict: Verdict::Passing, error: "no" }, ms(1));
    assert_eq!(dialled(&drain(&mut subject, ms(1))).len(), 1);
}

#[test]
fn a_refusal_ends_the_first_search_however_patient() {
    for (verdict, ends) in [(Verdict::Refused, true), (Verdict::Passing, false)] {
        let config = AttachmentConfig { patience_ns: SECOND_NS, ..AttachmentConfig::default() };
        let mut subject = Attachment::new(config, routers(&["1"]), 1, Time::ZERO);
        let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
        subject.handle(Input::Failed { attempt, verdict, error: "because" }, ms(1));
        let outputs = drain(&mut subject, ms(1));
        let failure = match &outputs[..] {
            [Output::GaveUp { failure }] if ends => failure,
            [Output::Trouble { failure, .. }] if !ends => failure,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure.cause, Cause::Failed(verdict, "because"));
        assert_eq!((failure.router.clone(), failure.address), (Some(Named("1".into())), Some(1)));
    }
}

#[test]
fn patience_is_over_at_its_end() {
    let config = AttachmentConfig { patience_ns: SECOND_NS, ..AttachmentConfig::default() };
    let mut subject = Attachment::new(config, routers(&["1"]), 1, Time::ZERO);
    let mut now = Time::ZERO;
    for _ in 0..1_000 {
        now = subject.poll_timeout().map_or(now, |due| due.max(now));
        for output in drain(&mut subject, now) {
            match output {
                Output::Dial { attempt, .. } => {
                    subject.handle(Input::Failed { attempt, verdict: Verdict::Passing, error: "no" }, now);
                }
                Output::GaveUp { .. } => {
                    assert!(now >= ms(1_000));
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("it never gave up");
}

#[test]
fn the_failure_that_says_most_is_told() {
    let mut subject = new(&["1", "2", "name"]);
    let mut now = Time::ZERO;
    let mut errors = vec!["certificate", "reset"];
    loop {
        for output in drain(&mut subject, now) {
            match output {
                Output::Dial { attempt, .. } => {
                    let error = errors.pop().unwrap();
                    let verdict = if error == "certificate" { Verdict::Refused } else { Verdict::Passing };
                    subject.handle(Input::Failed { attempt, verdict, error }, now);
                }
                Output::GaveUp { failure } => {
                    assert_eq!(failure.cause, Cause::Failed(Verdict::Refused, "certificate"));
                    return;
                }
                _ => {}
            }
        }
        now = subject.poll_timeout().unwrap().max(now);
    }
}

#[test]
fn an_outage_is_told_once_per_interval_and_at_a_new_cause() {
    let mut subject = new(&["1"]);
    let (attempt, _) = attach(&mut subject, 1, &[], Time::ZERO);
    subject.handle(Input::Lost { attempt, verdict: Verdict::Passing }, ms(10_000));
    let (mut now, mut told) = (ms(10_000), Vec::new());
    while now < ms(130_000) {
        now = subject.poll_timeout().unwrap().max(now);
        let error = if now < ms(90_000) { "down" } else { "forbidden" };
        let verdict = if error == "down" { Verdict::Passing } else { Verdict::Refused };
        for output in drain(&mut subject, now) {
            match output {
                Output::Dial { attempt, .. } => {
                    subject.handle(Input::Failed { attempt, verdict, error }, now)
                }
                Output::Trouble { failure, .. } => told.push(failure.cause),
                other => panic!("{other:?}"),
            }
        }
    }
    let down = told.iter().filter(|cause| !cause.is_refusal()).count();
    assert!((2..=4).contains(&down), "{told:?}");
    assert!((1..=3).contains(&(told.len() - down)), "{told:?}");
}

#[test]
fn a_router_that_goes_away_is_left_behind_its_delay_and_not_taken_again() {
    let mut subject = new(&["1"]);
    let (attempt, _) = attach(&mut subject, 7, &["2"], Time::ZERO);
    let goaway = Goaway { delay_us: 100_000, grace_us: 1_000_000, ..Goaway::default() };
    subject.handle(Input::Goaway { attempt, goaway: &goaway }, ms(1_000));
    assert!(drain(&mut subject, ms(1_099)).is_empty());
    let outputs = drain(&mut subject, ms(1_100));
    assert_eq!(outputs[0], Output::Leave { latest: ms(4_000) });
    assert_eq!(dialled(&outputs)[0].1, 2, "alternates come first");
    assert!(subject.is_attached(), "the old connection still serves");
    let (attempt, _) = dialled(&outputs)[0];
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(7, &[]) }, ms(1_110));
    let outputs = drain(&mut subject, ms(1_110));
    assert_eq!(outputs[0], Output::Abandon { attempt }, "the same process life");
    let (attempt, _) = dialled(&outputs)[0];
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(8, &[]) }, ms(1_120));
    let outputs = drain(&mut subject, ms(1_120));
    assert!(matches!(outputs[..], [Output::Attached { away_ns: 0, .. }]), "{outputs:?}");
}

#[test]
fn a_lost_connection_that_was_replaced_means_nothing() {
    let mut subject = new(&["1"]);
    let (old, _) = attach(&mut subject, 1, &[], Time::ZERO);
    subject.handle(Input::Goaway { attempt: old, goaway: &Goaway::default() }, ms(10));
    attach_while_leaving(&mut subject, ms(10));
    subject.handle(Input::Lost { attempt: old, verdict: Verdict::Passing }, ms(20));
    assert!(subject.is_attached());
}

#[test]
fn the_goaway_of_a_connection_that_was_replaced_means_nothing() {
    let mut subject = new(&["1"]);
    let (attempt, _) = attach(&mut subject, 1, &[], Time::ZERO);
    subject.handle(Input::Goaway { attempt, goaway: &Goaway::default() }, ms(10));
    attach_while_leaving(&mut subject, ms(10));
    // The old router drains now, while its receivers move.
    subject.handle(Input::Goaway { attempt, goaway: &Goaway::default() }, ms(20));
    assert_eq!(drain(&mut subject, ms(100)), [], "the new router has not asked to be left");
}

fn attach_while_leaving(subject: &mut Subject, now: Time) {
    let outputs = drain(subject, now);
    let (attempt, _) = dialled(&outputs)[0];
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(2, &[]) }, now);
    drain(subject, now);
}

#[test]
fn a_steady_connection_makes_pauses_small_again() {
    let pause_behind = |lived_ms: u64| {
        let mut subject = new(&["1"]);
        let mut now = Time::ZERO;
        // Many connections that die young let the pauses grow.
        for life in 0..12 {
            let lived = if life == 11 { lived_ms } else { 0 };
            let (attempt, _) = attach(&mut subject, life, &[], now);
            now = now.after(lived * MILLISECOND_NS);
            subject.handle(Input::Lost { attempt, verdict: Verdict::Passing }, now);
            let due = subject.poll_timeout().unwrap();
            if life == 11 {
                return due.nanos_since(now);
            }
            now = due;
        }
        unreachable!("the loop returns in its last turn")
    };
    assert!(pause_behind(1_001) <= 50 * MILLISECOND_NS);
    assert!(pause_behind(0) > 50 * MILLISECOND_NS, "with this seed");
}

#[test]
fn close_codes_tell_whether_another_attempt_makes_sense() {
    for code in [CloseCode::Forbidden, CloseCode::Version, CloseCode::Limit] {
        assert_eq!(Verdict::of_close(Some(code)), Verdict::Refused);
    }
    for code in [Some(CloseCode::Busy), Some(CloseCode::GoingAway), Some(CloseCode::Timeout), None] {
        assert_eq!(Verdict::of_close(code), Verdict::Passing);
    }
}

/// What the world does to one attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Welcome(u64),
    Fail,
    Refuse,
    Silence,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![(0u64..4).prop_map(Fate::Welcome), Just(Fate::Fail), Just(Fate::Refuse), Just(Fate::Silence),]
}

proptest! {
    /// Whatever happens: attempts under way are bounded, each ends once, pauses end, and a world
    /// that heals attaches.
    #[test]
    fn every_attempt_ends_and_a_world_that_heals_attaches(
        seed: u64,
        fates in proptest::collection::vec(fate(), 0..60),
        ends in proptest::collection::vec(0u8..3, 0..60),
    ) {
        let mut subject = Attachment::new(AttachmentConfig::default(), routers(&["1", "2", "n"]), seed, Time::ZERO);
        let (mut now, mut fates, mut ends) = (Time::ZERO, fates.into_iter(), ends.into_iter());
        let (mut open, mut held, mut incarnation) = (Vec::new(), None, 100);
        let (attempt, _) = dialled(&drain(&mut subject, now))[0];
        subject.handle(Input::Welcomed { attempt, welcome: &welcome(99, &["3", "bad name"]) }, now);
        for _ in 0..10_000 {
            for output in drain(&mut subject, now) {
                match output {
                    Output::Dial { attempt, .. } => {
                        open.push(attempt);
                        prop_assert!(open.len() <= 64);
                        incarnation += 1;
                        match fates.next().unwrap_or(Fate::Welcome(incarnation)) {
                            Fate::Welcome(life) => {
                                subject.handle(Input::Welcomed { attempt, welcome: &welcome(life, &["3"]) }, now);
                            }
                            Fate::Fail | Fate::Refuse => {
                                open.retain(|other| *other != attempt);
                                subject.handle(Input::Failed { attempt, verdict: Verdict::Passing, error: "no" }, now);
                            }
                            Fate::Silence => {}
                        }
                    }
                    Output::Abandon { attempt } => open.retain(|other| *other != attempt),
                    Output::Attached { attempt, .. } => {
                        open.retain(|other| *other != attempt);
                        held = Some(attempt);
                    }
                    Output::Resolve { router } => {
                        subject.handle(Input::Resolved { router: &router, outcome: Ok(vec![8, 9]) }, now);
                    }
                    Output::Leave { latest } => prop_assert!(latest >= now),
                    Output::Trouble { .. } => prop_assert!(!subject.is_attached()),
                    Output::GaveUp { .. } => prop_assert!(false, "it was attached before"),
                }
            }
            match (subject.is_attached(), ends.next()) {
                (true, Some(0)) => {
                    let goaway = Goaway { grace_us: 1_000, ..Goaway::default() };
                    subject.handle(Input::Goaway { attempt: held.unwrap_or(attempt), goaway: &goaway }, now);
                }
                (true, Some(_)) => {
                    let attempt = held.unwrap_or(attempt);
                    subject.handle(Input::Lost { attempt, verdict: Verdict::Passing }, now);
                }
                (true, None) if subject.poll_timeout().is_none() => return Ok(()),
                (_, _) => {}
            }
            match subject.poll_timeout() {
                Some(due) => {
                    prop_assert!(due.nanos_since(now) <= 6 * SECOND_NS);
                    now = now.max(due);
                }
                None => prop_assert!(subject.is_attached()),
            }
        }
        prop_assert!(false, "never attached");
    }

    /// Equal inputs give equal outputs.
    #[test]
    fn a_seed_decides(seed: u64) {
        let run = || {
            let texts = ["1", "2", "3", "4"];
            let mut subject = Attachment::new(AttachmentConfig::default(), routers(&texts), seed, Time::ZERO);
            let mut outputs: Vec<Out> = Vec::new();
            let mut now = Time::ZERO;
            for _ in 0..40 {
                outputs.extend(drain(&mut subject, now));
                let Some(due) = subject.poll_timeout() else { break };
                now = now.max(due);
            }
            outputs
        };
        prop_assert_eq!(run(), run());
    }
}

/// A client with one router in each of two levels.
fn leveled() -> Subject {
    Attachment::leveled(AttachmentConfig::default(), vec![routers(&["1"]), routers(&["2"])], 1, Time::ZERO)
}

/// Attaches to the second level because the first is silent: the attempt, and when that was.
fn attach_to_the_second(subject: &mut Subject) -> (AttemptId, Time) {
    assert_eq!(dialled(&drain(subject, Time::ZERO))[0].1, 1);
    assert!(drain(subject, ms(999)).is_empty(), "a longer head start than that of an address");
    let (attempt, address) = dialled(&drain(subject, ms(1_000)))[0];
    assert_eq!(address, 2);
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(2, &[]) }, ms(1_001));
    let outputs = drain(subject, ms(1_001));
    assert!(matches!(outputs[..], [Output::Abandon { .. }, Output::Attached { .. }]), "{outputs:?}");
    (attempt, ms(1_001))
}

#[test]
fn a_level_that_failed_makes_way_for_the_next_at_once() {
    let mut subject = leveled();
    let (attempt, address) = dialled(&drain(&mut subject, Time::ZERO))[0];
    assert_eq!(address, 1);
    subject.handle(Input::Failed { attempt, verdict: Verdict::Passing, error: "busy" }, ms(1));
    assert_eq!(dialled(&drain(&mut subject, ms(1)))[0].1, 2);
}

#[test]
fn a_name_of_the_first_level_has_a_head_start_too() {
    let levels = vec![routers(&["name"]), routers(&["2"])];
    let mut subject: Subject = Attachment::leveled(AttachmentConfig::default(), levels, 1, Time::ZERO);
    assert_eq!(dialled(&drain(&mut subject, Time::ZERO)), []);
    subject.handle(Input::Resolved { router: &Named("name".into()), outcome: Ok(vec![1]) }, ms(300));
    assert_eq!(dialled(&drain(&mut subject, ms(300)))[0].1, 1);
    assert_eq!(subject.poll_timeout(), Some(ms(1_300)));
}

#[test]
fn a_client_of_a_further_level_comes_back_when_the_first_is_back() {
    let mut subject = leveled();
    let (_, mut now) = attach_to_the_second(&mut subject);
    for round in 0..3 {
        let due = subject.poll_timeout().unwrap();
        let pause = due.nanos_since(now) / SECOND_NS;
        assert!((14..=30).contains(&pause), "round {round}: {pause} s");
        let (attempt, address) = dialled(&drain(&mut subject, due))[0];
        assert_eq!(address, 1);
        now = due;
        if round < 2 {
            subject.handle(Input::Failed { attempt, verdict: Verdict::Passing, error: "no" }, now);
            assert_eq!(drain(&mut subject, now), [], "the client is told nothing of it");
            continue;
        }
        subject.handle(Input::Welcomed { attempt, welcome: &welcome(1, &[]) }, now);
        let outputs = drain(&mut subject, now);
        assert!(
            matches!(outputs[..], [Output::Leave { .. }, Output::Attached { away_ns: 0, .. }]),
            "{outputs:?}"
        );
    }
    assert_eq!(subject.poll_timeout(), None, "it is where it belongs");
}

#[test]
fn a_connection_that_is_lost_during_the_way_back_is_followed_by_all_levels() {
    let mut subject = leveled();
    let (held, _) = attach_to_the_second(&mut subject);
    let due = subject.poll_timeout().unwrap();
    let (attempt, _) = dialled(&drain(&mut subject, due))[0];
    subject.handle(Input::Lost { attempt: held, verdict: Verdict::Passing }, due);
    assert_eq!(drain(&mut subject, due), [Output::Abandon { attempt }]);
    let mut now = subject.poll_timeout().unwrap();
    assert_eq!(dialled(&drain(&mut subject, now))[0].1, 1);
    now = subject.poll_timeout().unwrap();
    assert_eq!(dialled(&drain(&mut subject, now))[0].1, 2);
}

#[test]
fn the_router_that_serves_is_no_way_back() {
    let mut subject = leveled();
    attach_to_the_second(&mut subject);
    let due = subject.poll_timeout().unwrap();
    let (attempt, _) = dialled(&drain(&mut subject, due))[0];
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(2, &[]) }, due);
    assert_eq!(drain(&mut subject, due), [Output::Abandon { attempt }]);
    assert!(subject.poll_timeout().unwrap() > due);
}
