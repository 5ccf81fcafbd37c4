//! When a member of a set can take over without loss, and what it says when it cannot.

use std::ops::Range;

use millrace_proto::control::{SetState, Standing};

use super::standby::{Member, SetWish};
use crate::time::{MILLISECOND_NS, Time};

const fn at(ms: u64) -> Time {
    Time::from_nanos(ms * MILLISECOND_NS)
}

fn member() -> Box<Member> {
    let mut member = Member::of(&Some(SetWish::new("feed")), false).unwrap();
    member.request(0, 0);
    member
}

fn hear(member: &mut Member, ms: u64, standing: Standing, (generation, next_source_seq): (u64, u64)) {
    let set = "feed".to_owned();
    let said = SetState { set, standing, generation, next_source_seq, ..SetState::default() };
    member.hear(at(ms), &said);
}

/// Its application gives these numbers.
fn gives(member: &mut Member, ms: u64, numbers: Range<u64>) {
    for number in numbers {
        if member.takes(at(ms), number) {
            member.note(number);
        }
    }
}

#[test]
fn a_member_is_abreast_when_what_it_began_with_has_been_at_routers_for_a_while() {
    let mut member = member();
    hear(&mut member, 0, Standing::Waiting, (1, 100));
    gives(&mut member, 0, 110..120);
    assert!(member.news(0, 0).is_none(), "it has not what came before 110");
    hear(&mut member, 500, Standing::Waiting, (1, 115));
    assert!(member.news(0, 0).is_none(), "what has entered may be fenced");
    hear(&mut member, 2_500, Standing::Waiting, (1, 200));
    assert!(member.news(0, 0).is_some_and(|news| news.abreast && !news.leave));
    assert!(member.news(0, 0).is_none(), "it is told once");
    assert!(member.request(0, 0).abreast, "and on each connection");
}

#[test]
fn who_takes_over_behind_what_routers_had_says_so_and_nobody_else() {
    for (first, is_behind_hole) in [(100, false), (99, false), (101, true)] {
        let mut member = member();
        hear(&mut member, 0, Standing::Waiting, (1, 100));
        hear(&mut member, 1_000, Standing::Active, (2, 105));
        gives(&mut member, 1_000, first..120);
        assert_eq!(member.stamp().map(|stamp| stamp.is_behind_hole), Some(is_behind_hole), "{first}");
    }
    let mut first = member();
    hear(&mut first, 0, Standing::Active, (1, 0));
    gives(&mut first, 0, 7..9);
    assert!(first.stamp().is_some_and(|stamp| !stamp.is_behind_hole), "nothing was before it");
}

#[test]
fn who_has_lost_its_set_has_no_more_what_it_had_published() {
    let mut member = member();
    hear(&mut member, 0, Standing::Active, (1, 0));
    gives(&mut member, 0, 0..50);
    hear(&mut member, 3_000, Standing::Waiting, (2, 45));
    hear(&mut member, 3_001, Standing::Active, (3, 50));
    assert!(
        member.stamp().is_some_and(|stamp| stamp.is_behind_hole),
        "45 to 49 have entered, and are fenced: nobody has published them again"
    );
    hear(&mut member, 9_000, Standing::Waiting, (4, 50));
    assert!(member.news(0, 0).is_some_and(|news| !news.abreast), "its router may not know yet");
    hear(&mut member, 12_000, Standing::Waiting, (4, 50));
    assert!(member.news(0, 0).is_none(), "they have entered, but nobody has published them again");
    hear(&mut member, 12_100, Standing::Waiting, (4, 51));
    hear(&mut member, 12_600, Standing::Waiting, (4, 51));
    assert!(member.news(0, 0).is_some_and(|news| news.abreast), "others have published them");
}

#[test]
fn who_held_its_set_says_on_a_new_connection_that_it_is_abreast_when_it_has_heard_that_it_still_does() {
    for (standing, generation, is_abreast) in [(Standing::Active, 1, true), (Standing::Waiting, 2, false)] {
        let mut member = member();
        hear(&mut member, 0, Standing::Active, (1, 0));
        gives(&mut member, 0, 0..50);
        assert!(member.news(0, 0).is_some_and(|news| news.abreast));
        member.disconnected();
        assert!(!member.request(0, 0).abreast, "another one may hold the set by now");
        hear(&mut member, 1_000, standing, (generation, 45));
        assert_eq!(member.news(0, 0).is_some_and(|news| news.abreast), is_abreast, "{standing:?}");
    }
}

#[test]
fn who_takes_over_publishes_what_it_keeps_however_long_that_takes() {
    let tags = millrace_proto::TagSet::from_texts(["kind=tick"]).unwrap();
    let mut member = member();
    hear(&mut member, 0, Standing::Waiting, (1, 5));
    for number in 0..10 {
        assert!(member.takes(at(0), number));
        assert!(member.keep(number, (&tags).into(), 0, b"x"));
        member.note(number);
    }
    // 5 to 7 entered last, and are fenced when this member takes over.
    hear(&mut member, 1_900, Standing::Waiting, (1, 8));
    hear(&mut member, 2_000, Standing::Active, (2, 8));
    assert!(member.takes(at(9_000), 10), "what it is given late, too");
    assert_eq!(member.next_kept().map(|kept| kept.source_seq), Some(5));
}

#[test]
fn what_entered_before_a_takeover_is_kept_until_the_new_holder_has_published_it() {
    let tags = millrace_proto::TagSet::from_texts(["kind=tick"]).unwrap();
    let mut member = member();
    hear(&mut member, 0, Standing::Waiting, (1, 8));
    member.takes(at(0), 7);
    assert!(member.keep(7, (&tags).into(), 0, b"x"));
    hear(&mut member, 1_900, Standing::Waiting, (2, 8));
    assert!(member.takes(at(2_100), 8));
    assert_eq!(member.kept(), 1, "another member has just taken over");
    assert!(member.takes(at(4_000), 9));
    assert_eq!(member.kept(), 0);
}
