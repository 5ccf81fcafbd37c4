//! Who holds a set, and who is next.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use millrace_proto::PublisherId;
use millrace_proto::control::Standing;
use millrace_proto::limits::SETS_MAX;
use proptest::prelude::*;

use super::cluster::{Cluster, SET, Word, joining, joining as anybody, key, router};
use crate::standby::{Handed, Joining, Refusal, SetBook, SetCount, Why};
use crate::time::Time;

#[test]
fn the_lowest_rank_claims_and_the_next_one_when_it_leaves() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 2, 2, false);
    cluster.join(1, 1, 1, false);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.holder(), (1, 1, Why::First));
    assert_eq!(cluster.standing(0, 2), Standing::Waiting);
    cluster.books[1].leave(cluster.now, key(1), Why::Died);
    cluster.told.remove(&(1, key(1)));
    cluster.gather();
    cluster.arrive_all();
    cluster.pass(Duration::from_millis(350));
    assert!(!cluster.picture(0).is_held, "rank 2 waits for 400 ms");
    cluster.pass(Duration::from_millis(50));
    assert_eq!(cluster.holder(), (2, 2, Why::Died));
}

#[test]
fn a_silent_holder_is_replaced_and_fenced_and_goes_on_where_nobody_replaced_it() {
    let mut cluster = Cluster::held(2);
    cluster.books[0].set_silent(cluster.now, key(1), true);
    cluster.pass(Duration::from_secs(9));
    assert!(!cluster.picture(1).is_held);
    cluster.books[0].set_silent(cluster.now, key(1), false);
    cluster.pass(Duration::from_millis(50));
    assert_eq!(cluster.holder(), (1, 1, Why::First), "its generation goes on");
    cluster.join(1, 2, 3, false);
    cluster.books[0].set_silent(cluster.now, key(1), true);
    cluster.pass(Duration::from_millis(650));
    assert_eq!(cluster.standing(0, 1), Standing::Fenced);
    cluster.books[0].set_silent(cluster.now, key(1), false);
    cluster.pass(Duration::from_secs(9));
    assert_eq!(cluster.holder(), (2, 2, Why::Died), "no preemption");
}

#[test]
fn a_member_that_preempts_waits_for_the_failback() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 2, 2, false);
    cluster.pass(Duration::from_secs(1));
    cluster.join(1, 1, 1, true);
    cluster.pass(Duration::from_millis(4_900));
    assert_eq!(cluster.holder(), (1, 2, Why::First));
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.holder(), (2, 1, Why::Preempted));
    assert_eq!(cluster.standing(0, 2), Standing::Fenced);
}

#[test]
fn a_member_that_preempts_lets_who_took_over_hold_the_set_for_the_failback_too() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 1, 1, true);
    cluster.join(1, 2, 2, false);
    cluster.pass(Duration::from_secs(9));
    assert_eq!(cluster.books[0].hand_over(cluster.now, SET), Handed::Asked);
    cluster.gather();
    cluster.pass(Duration::from_millis(500));
    assert_eq!(cluster.holder(), (2, 2, Why::HandedOver), "what it was asked to is not undone at once");
    cluster.pass(Duration::from_millis(4_800));
    assert_eq!(cluster.holder().0, 2);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.holder(), (3, 1, Why::Preempted));
}

#[test]
fn a_holder_hands_over_when_any_router_is_asked_and_somebody_is_there() {
    let mut cluster = Cluster::held(3);
    assert_eq!(cluster.books[0].hand_over(cluster.now, "other"), Handed::Unknown);
    assert_eq!(cluster.books[2].hand_over(cluster.now, SET), Handed::Alone);
    cluster.join(1, 5, 16, false);
    cluster.arrive_all();
    assert_eq!(cluster.books[2].hand_over(cluster.now, SET), Handed::Asked);
    cluster.gather();
    cluster.arrive_all();
    assert_eq!(cluster.standing(0, 1), Standing::Active, "it goes on until the other one does");
    cluster.pass(Duration::from_millis(3_250));
    assert_eq!(cluster.holder(), (2, 5, Why::HandedOver));
    assert_eq!(cluster.standing(0, 1), Standing::Waiting, "it was asked to, and is not fenced");
}

#[test]
fn a_holder_that_comes_back_goes_on_or_takes_the_next_generation_at_another_router() {
    let mut cluster = Cluster::held(2);
    let joining = Joining { known: 1, ..joining(1) };
    // Its new connection is there before the old one has ended.
    cluster.books[0].join(cluster.now, key(7), &joining).unwrap();
    cluster.books[0].leave(cluster.now, key(1), Why::Died);
    let words = cluster.books[0].take_words();
    let states: Vec<_> = words.states.iter().map(|(key, state)| (key.conn.0, state.standing)).collect();
    assert_eq!(states, [(7, Standing::Active)]);
    assert!(words.news.is_empty(), "nothing is new for cores");
    cluster.books[1].join(cluster.now, key(8), &joining).unwrap();
    let words = cluster.books[1].take_words();
    assert_eq!(words.states[0].1.standing, Standing::Active);
    assert_eq!(words.states[0].1.generation, 2);
    assert_eq!(cluster.picture(1).record.unwrap().why, Why::Moved);
}

#[test]
fn a_member_knows_the_generation_when_all_routers_have_forgotten_it() {
    let mut cluster = Cluster::new(1);
    let joining = Joining { known: 41, ..joining(1) };
    cluster.books[0].join(cluster.now, key(1), &joining).unwrap();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.holder().0, 42);
}

#[test]
fn after_a_partition_one_holder_is_left_and_its_generation_is_its_own() {
    let mut cluster = Cluster::new(2);
    cluster.set_cut(0, 1, true);
    cluster.join(0, 1, 1, false);
    cluster.join(1, 2, 2, false);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.standing(0, 1), Standing::Active);
    assert_eq!(cluster.standing(1, 2), Standing::Active);
    cluster.set_cut(0, 1, false);
    cluster.pass(Duration::from_millis(50));
    // Both held generation 1: the winner takes the next, so that its runs can be told from the
    // others'.
    assert_eq!(cluster.holder(), (2, 1, Why::Conflict));
    assert!(cluster.fenced.contains(&(1, key(2))));
}

#[test]
fn a_router_that_begins_anew_says_that_its_holder_is_gone() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 1, 1, false);
    cluster.join(1, 2, 2, false);
    cluster.pass(Duration::from_secs(1));
    cluster.books[0] = SetBook::new(router(0));
    cluster.told.remove(&(0, key(1)));
    let (records, _) = cluster.books[1].snapshot();
    cluster.links.entry((1, 0)).or_default().extend(records.into_iter().map(Word::Record));
    cluster.look();
    cluster.pass(Duration::from_millis(450));
    assert_eq!(cluster.holder().1, 2);
}

#[test]
fn a_set_belongs_to_an_identity_and_a_cluster_has_so_many() {
    let mut book = SetBook::new(router(0));
    let now = Time::from_nanos(5);
    fn joining<'a>(set: &'a str, identity: &'a str) -> Joining<'a> {
        Joining { set, identity, ..anybody(1) }
    }
    for number in 0..SETS_MAX as u64 {
        let name = format!("set {number}");
        let publisher = PublisherId(number.into());
        book.join(now, key(number), &Joining { publisher, ..joining(&name, "ops") }).unwrap();
    }
    assert_eq!(book.join(now, key(9_999), &joining("set 5", "web")), Err(Refusal::Identity));
    assert_eq!(book.join(now, key(9_999), &joining("another", "web")), Err(Refusal::Full));
    book.leave(now, key(5), Why::Left);
    book.join(now, key(9_999), &joining("another", "web")).unwrap();
    assert_eq!(book.len(), SETS_MAX);
}

proptest! {
    /// Members come and go, fall silent, and hand over, at routers between which words are late and
    /// ways are cut. When that is over, all routers name one holder, which alone is active, in a
    /// generation that nobody exceeds.
    #[test]
    fn in_the_end_all_agree(steps in prop::collection::vec((0_u8..10, 0_usize..3, 1_u64..5), 1..60)) {
        let mut cluster = Cluster::new(3);
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        for (step, at, number) in steps {
            match step {
                0 | 1 => {
                    if let Entry::Vacant(place) = places.entry(number) {
                        place.insert(at);
                        cluster.join(at, number, u8::try_from(number).unwrap(), number == 1);
                    }
                }
                2 => {
                    if let Some(at) = places.remove(&number) {
                        cluster.books[at].leave(cluster.now, key(number), Why::Died);
                        cluster.told.remove(&(at, key(number)));
                    }
                }
                3 | 4 => {
                    if let Some(&at) = places.get(&number) {
                        cluster.books[at].set_silent(cluster.now, key(number), step == 3);
                    }
                }
                8 => cluster.books[at].count(
                    cluster.now,
                    &SetCount { set: SET.into(), next_source_seq: 100 * number, fenced: 0 },
                ),
                9 => {
                    if let Some(&place) = places.get(&number) {
                        let rank = u8::try_from(number).unwrap();
                        let is_abreast = at > 0;
                        let joining = Joining { rank, preempt: number == 1, is_abreast, ..joining(number) };
                        cluster.joins(place, number, &joining);
                    }
                }
                5 => {
                    cluster.books[at].hand_over(cluster.now, SET);
                }
                6 => {
                    let other = (at + 1) % 3;
                    let is_cut = !cluster.is_cut(at, other);
                    cluster.set_cut(at, other, is_cut);
                }
                _ => {
                    cluster.arrive(at, (at + usize::try_from(number).unwrap()) % 3);
                }
            }
            cluster.gather();
            cluster.now = cluster.now + Duration::from_millis(100 * number);
            for book in &mut cluster.books {
                book.claim_due(cluster.now);
            }
            cluster.gather();
        }
        cluster.cut.clear();
        cluster.look();
        for (&number, &at) in &places {
            cluster.books[at].set_silent(cluster.now, key(number), false);
        }
        // A member that is always there, so that somebody holds the set.
        cluster.join(0, 9, 9, false);
        // Who has handed over rests for five seconds, and who preempts waits for as long behind
        // that.
        cluster.pass(Duration::from_secs(13));
        let (generation, ..) = cluster.holder();
        prop_assert!(cluster.active.iter().all(|&(other, _)| other <= generation));
    }
}
