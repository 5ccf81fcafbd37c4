//! Clusters in which some tag sets are wanted by nobody, until somebody comes for a while: there
//! publishers are told so, and leave events out.
//!
//! Two of five seeds are so. Half of their tag sets are *lonely*: no receiver wants them at first,
//! and those that churn ask for few of them at a time. Most publishers are of level none, which
//! alone leave events out, and publish for longer.

use millrace_client::session::ConfirmLevel;
use millrace_proto::{PublisherId, Selector, TagSet};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::client::{PublisherSetup, ReceivingClient};

/// Lonely sets that each receiver may ask for by name, later.
const WISHES: usize = 3;

/// Most events at a time of a publisher that may leave some out.
const BURST: u64 = 3;

/// Makes receivers leave the lonely tag sets of a seed alone at first, if it has any.
pub(crate) fn quieten(
    seed: u64,
    tag_sets: &[TagSet],
    publishers: &mut [PublisherSetup],
    clients: &mut [ReceivingClient],
) {
    if seed % 5 > 1 {
        return;
    }
    for (number, publisher) in (1..).zip(publishers).filter(|(number, _)| number % 4 > 0) {
        publisher.config.level = ConfirmLevel::None;
        publisher.config.key.publisher = PublisherId(number);
        publisher.burst = BURST;
        (publisher.secret, publisher.disk) = (None, None);
    }
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x71_7569_6574);
    // Sets that are alike are lonely together.
    let (mut lonely, mut others): (Vec<&TagSet>, Vec<&TagSet>) = (Vec::new(), Vec::new());
    for tags in tag_sets {
        if !lonely.contains(&tags) && !others.contains(&tags) {
            if rng.random() { &mut lonely } else { &mut others }.push(tags);
        }
    }
    let wanted = |selectors: &[Selector]| {
        lonely.iter().filter(|tags| selectors.iter().any(|it| it.matches_tags(tags.borrow()))).count()
    };
    let by_name: Vec<Selector> = lonely.iter().filter_map(|tags| narrowest(tags, &lonely)).collect();
    for receiver in clients.iter_mut().flat_map(|client| &mut client.receivers) {
        receiver.first.retain(|selectors| wanted(selectors) == 0);
        receiver.pool.retain(|selectors| wanted(selectors) <= lonely.len() / 4);
        for _ in 0..WISHES.min(by_name.len()) {
            receiver.pool.push(vec![by_name[rng.random_range(0..by_name.len())].clone()]);
        }
    }
}

/// The selector of one tag that takes this set and as few of the others as can be.
fn narrowest(tags: &TagSet, all: &[&TagSet]) -> Option<Selector> {
    let selectors = tags.borrow().iter().filter_map(|(key, value)| {
        Selector::parse(&format!("{key}={value}")).ok().filter(|it| it.matches_tags(tags.borrow()))
    });
    let selectors: Vec<Selector> = selectors.collect();
    let taken = |selector: &Selector| all.iter().filter(|tags| selector.matches_tags(tags.borrow())).count();
    selectors.into_iter().min_by_key(taken)
}
