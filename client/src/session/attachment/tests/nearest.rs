//! Clients without zones: when they look for a nearer router, and when they move there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Named, Subject, dialled, drain, ms, new, routers, welcome};
use crate::session::attachment::nearest::is_nearer;
use crate::session::attachment::{Attachment, AttachmentConfig, AttemptId, Input, Output};
use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

/// A client that is attached over a slow handshake; its attempt, and when it will look.
fn attached_far() -> (Subject, AttemptId, Time) {
    let mut subject = new(&["1", "2"]);
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    subject.handle(Input::Measured { attempt, round_trip_ns: 40 * MILLISECOND_NS }, Time::ZERO);
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(1, &["1", "2"]) }, Time::ZERO);
    drain(&mut subject, Time::ZERO);
    let due = subject.poll_timeout().unwrap();
    (subject, attempt, due)
}

#[test]
fn a_connection_that_has_been_fast_since_its_handshake_is_no_reason_to_look() {
    let (mut subject, attempt, due) = attached_far();
    subject.handle(Input::Measured { attempt, round_trip_ns: MILLISECOND_NS }, due);
    assert!(drain(&mut subject, due).is_empty());
    assert_eq!(subject.poll_timeout(), None, "it never looks");
    let (mut subject, attempt, due) = attached_far();
    subject.handle(Input::Measured { attempt, round_trip_ns: 39 * MILLISECOND_NS }, due);
    assert_eq!(dialled(&drain(&mut subject, due)).len(), 1, "it is as far as it looked");
    // What is measured while it looks makes it neither move nor look on.
    subject.handle(Input::Measured { attempt, round_trip_ns: MILLISECOND_NS }, due);
    let (look, _) = dialled(&drain(&mut subject, due.after(250 * MILLISECOND_NS)))[0];
    subject.handle(Input::Welcomed { attempt: look, welcome: &welcome(2, &["1", "2"]) }, due);
    let outputs = drain(&mut subject, due.after(250 * MILLISECOND_NS));
    assert!(outputs.iter().all(|output| matches!(output, Output::Abandon { .. })), "{outputs:?}");
}

#[test]
fn a_look_that_is_put_off_comes_later() {
    let (mut subject, _, due) = attached_far();
    subject.look_later(due);
    assert!(drain(&mut subject, due).is_empty());
    let later = subject.poll_timeout().unwrap();
    assert!(later > due);
    assert_eq!(dialled(&drain(&mut subject, later)).len(), 1);
    subject.look_later(later);
    assert!(subject.is_searching(), "it has begun");
}

/// Routers by their addresses, each of its own process life, with their round trips.
struct World {
    round_trips_ms: BTreeMap<u32, u64>,
    now: Time,
    present: Option<u32>,
    /// Connections that were welcomed and neither taken nor abandoned.
    waiting: BTreeSet<AttemptId>,
    waiting_most: usize,
    dials: Vec<(Time, u32)>,
    moves: Vec<(Time, u32)>,
}

impl World {
    fn new(round_trips_ms: &[(u32, u64)]) -> Self {
        Self {
            round_trips_ms: round_trips_ms.iter().copied().collect(),
            now: Time::ZERO,
            present: None,
            waiting: BTreeSet::new(),
            waiting_most: 0,
            dials: Vec::new(),
            moves: Vec::new(),
        }
    }

    fn alternates(&self) -> Vec<String> {
        self.round_trips_ms.keys().map(u32::to_string).collect()
    }

    fn turn(&mut self, subject: &mut Subject) {
        for output in drain(subject, self.now) {
            match output {
                Output::Dial { attempt, address, .. } => {
                    self.dials.push((self.now, address));
                    let Some(&round_trip_ms) = self.round_trips_ms.get(&address) else { continue };
                    let (names, round_trip_ns) = (self.alternates(), round_trip_ms * MILLISECOND_NS);
                    subject.handle(Input::Measured { attempt, round_trip_ns }, self.now);
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    self.waiting.insert(attempt);
                    self.waiting_most = self.waiting_most.max(self.waiting.len());
                    let welcome = welcome(u64::from(address), &names);
                    subject.handle(Input::Welcomed { attempt, welcome: &welcome }, self.now);
                }
                Output::Abandon { attempt } => {
                    self.waiting.remove(&attempt);
                }
                Output::Attached { attempt, address, nearer, .. } => {
                    assert!(self.waiting.remove(&attempt), "{attempt:?} was abandoned");
                    if let (Some(from), Some(nearer)) = (self.present, nearer) {
                        let (from, to) = (self.round_trips_ms[&from], self.round_trips_ms[&address]);
                        assert_eq!(
                            (nearer.from_ns / MILLISECOND_NS, nearer.to_ns / MILLISECOND_NS),
                            (from, to)
                        );
                        self.moves.push((self.now, address));
                    }
                    self.present = Some(address);
                }
                Output::Resolve { router } => {
                    let outcome = Ok(self.round_trips_ms.keys().copied().collect());
                    subject.handle(Input::Resolved { router: &router, outcome }, self.now);
                }
                Output::Leave { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, subject: &mut Subject, until: Time) {
        self.turn(subject);
        while let Some(due) = subject.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.turn(subject);
        }
        self.now = until;
    }
}

#[test]
fn a_client_of_a_far_router_moves_to_the_nearest_after_two_looks() {
    let mut subject = new(&["1"]);
    let mut world = World::new(&[(1, 80), (2, 30), (3, 1), (4, 50)]);
    world.run(&mut subject, ms(2_499));
    assert_eq!((world.present, world.dials.len()), (Some(1), 1), "it waits before it looks");
    world.run(&mut subject, ms(7_000));
    let [(at, 3)] = world.moves[..] else { panic!("{:?}", world.moves) };
    assert!(at >= ms(2_500) && at <= ms(6_250), "{at:?}");
    let dials = |address| world.dials.iter().filter(|(_, dialled)| *dialled == address).count();
    assert_eq!([1, 2, 3, 4].map(dials), [3, 2, 3, 2], "two looks at each, the present one included");
    assert_eq!((subject.poll_timeout(), world.waiting.len()), (None, 0), "no router could be nearer");
}

#[test]
fn where_all_are_near_nobody_looks() {
    let mut subject = new(&["1", "2"]);
    let mut world = World::new(&[(1, 1), (2, 0)]);
    world.run(&mut subject, ms(100_000));
    assert_eq!(world.dials.len(), 1);
    assert_eq!(subject.poll_timeout(), None);
}

#[test]
fn a_difference_that_is_too_small_moves_nobody_and_looks_grow_rare() {
    let mut subject = new(&["1"]);
    let mut world = World::new(&[(1, 30), (2, 16), (3, 29)]);
    world.run(&mut subject, Time::from_nanos(24 * 3600 * SECOND_NS));
    assert!(world.moves.is_empty() && world.present == Some(1));
    let looks = world.dials.iter().filter(|(_, address)| *address == 2).count();
    assert!((24..60).contains(&looks), "in a day: {looks}");
}

#[test]
fn a_present_router_that_was_slow_once_is_kept() {
    let mut subject = new(&["1"]);
    let mut world = World::new(&[(1, 90), (2, 1)]);
    world.run(&mut subject, ms(1));
    world.round_trips_ms.insert(1, 1);
    world.run(&mut subject, ms(100_000));
    assert_eq!((world.present, world.moves.len()), (Some(1), 0));
    assert!(world.dials.iter().filter(|(_, address)| *address == 2).count() <= 1, "{:?}", world.dials);
}

#[test]
fn one_look_tries_at_most_eight_others() {
    let mut subject = new(&["name"]);
    let all: Vec<(u32, u64)> = (1..40).map(|address| (address, 50)).collect();
    let mut world = World::new(&all);
    world.run(&mut subject, ms(5_200));
    assert!((8..=10).contains(&world.dials.len()), "{:?}", world.dials);
}

#[test]
fn silent_candidates_cost_one_attempt_each_and_move_nobody() {
    let mut subject = new(&["1", "7", "8", "9"]);
    let mut world = World::new(&[(1, 80)]);
    world.run(&mut subject, ms(20_000));
    assert_eq!((world.present, world.waiting.len()), (Some(1), 0));
    assert!(world.dials.len() <= 9, "{:?}", world.dials);
}

#[test]
fn a_router_that_asked_to_be_left_is_not_gone_back_to() {
    let mut subject = new(&["1"]);
    let mut world = World::new(&[(1, 10), (2, 90)]);
    world.run(&mut subject, ms(1));
    let goaway = millrace_proto::control::Goaway {
        alternates: vec!["2".to_owned()],
        grace_us: 1_000_000,
        ..Default::default()
    };
    // The first attempt.
    let attempt = AttemptId::default();
    subject.handle(Input::Goaway { attempt, goaway: &goaway }, ms(1));
    world.run(&mut subject, ms(600_000));
    assert_eq!((world.present, world.moves.len()), (Some(2), 0));
}

#[test]
fn a_connection_that_is_lost_during_a_look_ends_the_look() {
    let mut subject = new(&["1"]);
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    subject.handle(Input::Measured { attempt, round_trip_ns: SECOND_NS }, ms(1));
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(1, &["2"]) }, ms(1));
    drain(&mut subject, ms(1));
    let due = subject.poll_timeout().unwrap();
    let (present, address) = dialled(&drain(&mut subject, due))[0];
    assert_eq!(address, 1, "the present router is measured once more");
    let due = due.after(250 * MILLISECOND_NS);
    let (candidate, address) = dialled(&drain(&mut subject, due))[0];
    assert_eq!(address, 2);
    subject.handle(Input::Measured { attempt: candidate, round_trip_ns: 1 }, due);
    subject.handle(Input::Welcomed { attempt: candidate, welcome: &welcome(2, &[]) }, due);
    assert_eq!(drain(&mut subject, due), [Output::Abandon { attempt: candidate }], "it was measured");
    let verdict = crate::session::attachment::Verdict::Passing;
    subject.handle(Input::Lost { attempt, verdict }, due);
    assert_eq!(drain(&mut subject, due), [Output::Abandon { attempt: present }]);
    assert!(!subject.is_attached());
}

#[test]
fn a_client_that_does_not_measure_or_may_not_look_does_not() {
    for look_after_ns in [0, SECOND_NS] {
        let config = AttachmentConfig { look_after_ns, ..AttachmentConfig::default() };
        let mut subject: Subject = Attachment::new(config, routers(&["1", "2"]), 1, Time::ZERO);
        let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
        if look_after_ns == 0 {
            subject.handle(Input::Measured { attempt, round_trip_ns: SECOND_NS }, ms(1));
        }
        subject.handle(Input::Welcomed { attempt, welcome: &welcome(1, &["2"]) }, ms(1));
        drain(&mut subject, ms(1));
        assert_eq!(subject.poll_timeout(), None);
    }
}

proptest! {
    /// Whatever the round trips are: a client ends where no router is nearer, moves towards nearer
    /// ones only, and holds one connection beside its own while it looks.
    #[test]
    fn a_client_ends_where_no_router_is_nearer(
        seed: u64,
        round_trips in proptest::collection::vec(0u64..120, 1..9),
    ) {
        let all: Vec<(u32, u64)> = (1..).zip(round_trips.iter().copied()).collect();
        let names: Vec<Named> = all.iter().map(|(address, _)| Named(address.to_string())).collect();
        let mut subject = Attachment::new(AttachmentConfig::default(), names, seed, Time::ZERO);
        let mut world = World::new(&all);
        world.run(&mut subject, Time::from_nanos(24 * 3600 * SECOND_NS));
        let present = world.round_trips_ms[&world.present.unwrap()];
        for round_trip in &round_trips {
            prop_assert!(!is_nearer(round_trip * MILLISECOND_NS, present * MILLISECOND_NS));
        }
        let ways: Vec<u64> = world.moves.iter().map(|(_, to)| world.round_trips_ms[to]).collect();
        prop_assert!(ways.windows(2).all(|pair| pair[1] < pair[0]), "{ways:?}");
        prop_assert!(world.waiting_most <= 1 && world.waiting.is_empty());
    }
}
