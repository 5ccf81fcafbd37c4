//! Two sessions that are not to be on one router.

use super::{dialled, drain, ms, new, welcome};
use crate::session::attachment::{Cause, Input, Output};
use crate::time::Time;

#[test]
fn a_router_that_the_other_session_uses_names_those_that_are_free() {
    let mut subject = new(&["1"]);
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    subject.handle(Input::Taken { attempt, welcome: &welcome(1, &["2"]) }, ms(1));
    let outputs = drain(&mut subject, ms(1));
    let (attempt, address) = dialled(&outputs)[0];
    assert_eq!(address, 2);
    subject.handle(Input::Welcomed { attempt, welcome: &welcome(2, &["1"]) }, ms(2));
    let outputs = drain(&mut subject, ms(2));
    assert!(matches!(outputs[..], [Output::Attached { .. }]), "{outputs:?}");
}

#[test]
fn without_a_second_router_that_is_the_reason() {
    let mut subject = new(&["1"]);
    let (attempt, _) = dialled(&drain(&mut subject, Time::ZERO))[0];
    subject.handle(Input::Taken { attempt, welcome: &welcome(1, &[]) }, ms(1));
    let outputs = drain(&mut subject, ms(1));
    let [Output::GaveUp { failure }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(failure.cause, Cause::Taken);
}
