//! Who takes over where not all members have all numbers.

use std::time::Duration;

use millrace_proto::PublisherId;
use millrace_proto::control::Standing;

use super::cluster::{Cluster, SET, joining, key, router};
use crate::standby::{Handed, Joining, SetBook, Why};

#[test]
fn a_member_that_began_too_late_leaves_the_set_to_one_that_lost_nothing_whatever_its_rank() {
    let mut cluster = Cluster::held_beside_one_abreast();
    // The holder is killed and back at once, under another id: it has not what came meanwhile.
    cluster.dies(0, 1);
    cluster.join(0, 3, 1, false);
    cluster.pass(Duration::from_millis(450));
    assert_eq!(cluster.holder(), (2, 2, Why::Died));
    assert_eq!(cluster.books[0].hand_over(cluster.now, SET), Handed::Behind);
    // Its source has come to where the set is.
    cluster.joins(0, 3, &Joining { is_abreast: true, ..joining(3) });
    cluster.arrive_all();
    assert_eq!(cluster.books[0].hand_over(cluster.now, SET), Handed::Asked);
    cluster.gather();
    cluster.pass(Duration::from_millis(300));
    assert_eq!(cluster.holder(), (3, 3, Why::HandedOver));
}

#[test]
fn where_nobody_has_everything_the_lowest_rank_claims_as_ever() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 1, 1, false);
    cluster.join(1, 2, 2, false);
    cluster.pass(Duration::from_secs(1));
    cluster.entered(0, 500);
    cluster.dies(0, 1);
    cluster.join(0, 3, 1, false);
    cluster.pass(Duration::from_millis(250));
    assert_eq!(cluster.holder(), (2, 3, Why::Died));
}

#[test]
fn one_that_could_take_over_without_loss_and_does_not_holds_up_the_others_for_a_while_only() {
    let mut cluster = Cluster::held_beside_one_abreast();
    // Its router is there, and does nothing.
    cluster.books[1] = SetBook::new(router(1));
    cluster.dies(0, 1);
    cluster.join(0, 3, 1, false);
    cluster.now = cluster.now + Duration::from_millis(3_550);
    cluster.books[0].claim_due(cluster.now);
    cluster.gather();
    assert_eq!(cluster.standing(0, 3), Standing::Waiting);
    cluster.now = cluster.now + Duration::from_millis(100);
    cluster.books[0].claim_due(cluster.now);
    cluster.gather();
    assert_eq!(cluster.standing(0, 3), Standing::Active);
}

#[test]
fn a_process_that_has_the_id_of_the_holder_and_began_since_waits_for_who_has_what_it_missed() {
    let mut cluster = Cluster::held_beside_one_abreast();
    // Before its router notices that the first process is gone.
    let again = Joining { publisher: PublisherId(1), ..joining(1) };
    cluster.joins(0, 7, &again);
    cluster.told.remove(&(0, key(1)));
    assert_eq!(cluster.standing(0, 7), Standing::Waiting, "it does not hold the set, though its id did");
    cluster.pass(Duration::from_millis(450));
    assert_eq!(cluster.holder(), (2, 2, Why::Died));
    // Alone it goes on, in a generation of its own.
    let mut alone = Cluster::held(1);
    alone.entered(0, 500);
    alone.joins(0, 7, &again);
    alone.pass(Duration::from_millis(250));
    assert_eq!(alone.told[&(0, key(7))], (Standing::Active, 2));
}

#[test]
fn who_has_lost_its_set_counts_as_behind_before_it_says_so() {
    // Router 2 hears both of the others, who do not hear each other.
    let mut cluster = Cluster::new(3);
    cluster.joins(0, 1, &Joining { is_abreast: true, ..joining(1) });
    cluster.joins(1, 2, &Joining { rank: 2, is_abreast: true, ..joining(2) });
    cluster.pass(Duration::from_secs(1));
    cluster.entered(0, 500);
    cluster.set_cut(0, 1, true);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.standing(1, 2), Standing::Active);
    assert_ne!(cluster.standing(0, 1), Standing::Active, "what it had on its way is nowhere else there");
    let is_abreast = |cluster: &Cluster| {
        [0, 2].map(|at| {
            let members = cluster.picture(at).members;
            members.iter().any(|member| member.publisher == PublisherId(1) && member.is_abreast)
        })
    };
    assert_eq!(is_abreast(&cluster), [false; 2]);
    for (known, has_heard) in [(1, false), (2, true)] {
        cluster.joins(0, 1, &Joining { is_abreast: true, known, ..joining(1) });
        cluster.arrive_all();
        assert_eq!(is_abreast(&cluster), [has_heard; 2], "said in generation {known}");
    }
    cluster.set_cut(0, 1, false);
    cluster.pass(Duration::from_millis(50));
    assert_eq!(cluster.holder(), (2, 2, Why::RouterLost));
}
