//! Which selectors would have matched a tag set, had it been a little different: for people who ask
//! why an event did not arrive.
//!
//! Every selector is looked at, some 100 ns each: on a snapshot, by a thread that routes nothing.
//!
//! ```text
//! tags            host=web-1,service=pay
//! host=web-2      one requirement is not met: host
//! disk,host=web-1 one is not met, and its key is absent: behind the one above
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::selector::Requirement;
use millrace_proto::tag::INTERNAL_KEY;
use millrace_proto::{Selector, TagSetRef};

use super::{Index, Target};

/// A selector that a tag set does not meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    /// How many of its requirements are not met.
    pub unmet: usize,
    /// How many of those ask for a key that the tag set does not have.
    pub absent: usize,
    /// The selector.
    pub selector: Arc<Selector>,
}

impl Miss {
    fn of(selector: &Arc<Selector>, tags: TagSetRef<'_>) -> Option<Self> {
        let (mut unmet, mut absent) = (0, 0);
        for requirement in unmet_by(selector, tags) {
            unmet += 1;
            absent += usize::from(tags.get(requirement.key).is_none());
        }
        (unmet > 0).then(|| Self { unmet, absent, selector: Arc::clone(selector) })
    }
}

/// The requirements of a selector that a tag set does not meet.
pub fn unmet_by<'a>(
    selector: &'a Selector,
    tags: TagSetRef<'a>,
) -> impl Iterator<Item = Requirement<'a>> + use<'a> {
    selector.requirements().filter(move |requirement| !requirement.matches(tags))
}

/// For each place to which `place` assigns targets, the selectors that miss a tag set by the fewest
/// requirements: at most `most`, nearest first. Looks at the first `looks_max` selectors.
pub fn nearest<T: Target, P: Ord + Copy>(
    index: &Index<T>,
    tags: TagSetRef<'_>,
    (most, looks_max): (usize, usize),
    place: impl Fn(T) -> P,
) -> BTreeMap<P, Vec<Miss>> {
    let mut found: BTreeMap<P, Vec<Miss>> = BTreeMap::new();
    for (selector, targets) in index.entries().take(looks_max) {
        // Routers' own events explain nothing about others.
        if selector.requires(INTERNAL_KEY) && tags.get(INTERNAL_KEY).is_none() {
            continue;
        }
        let Some(miss) = Miss::of(selector, tags) else { continue };
        let mut before = None;
        for &target in targets {
            let at = place(target);
            if before == Some(at) {
                continue;
            }
            before = Some(at);
            let misses = found.entry(at).or_default();
            let Err(rank) = misses.binary_search(&miss) else { continue };
            if rank < most {
                misses.insert(rank, miss.clone());
                misses.truncate(most);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use millrace_proto::TagSet;

    use super::*;
    use crate::matching::{Location, Taker};

    #[test]
    fn selectors_that_miss_by_least_come_first_for_each_place() {
        let mut index: Index<Taker> = Index::new(7);
        let (here, there) = (Location::Core(0), Location::Peer(3));
        for (text, at) in [
            ("host=web-1", here),
            ("host=web-2", here),
            ("disk,host=web-1", here),
            ("host=web-2,service=shop", here),
            ("service!=pay", there),
            ("host=web-1,service=shop,zone=a", there),
        ] {
            index.insert(&Arc::new(Selector::parse(text).unwrap()), Taker::from(at));
        }
        let tags = TagSet::from_texts(["host=web-1", "service=pay"]).unwrap();
        let found = nearest(&index, tags.borrow(), (2, 1_000), Taker::location);
        let texts = |at| found[&at].iter().map(|miss| miss.selector.text()).collect::<Vec<_>>();
        assert_eq!(texts(here), ["host=web-2", "disk,host=web-1"]);
        assert_eq!(texts(there), ["service!=pay", "host=web-1,service=shop,zone=a"]);
        let unmet: Vec<_> = unmet_by(&found[&there][1].selector, tags.borrow()).map(|one| one.key).collect();
        assert_eq!(unmet, ["service", "zone"]);
        assert!(nearest(&index, tags.borrow(), (2, 1), Taker::location).len() <= 1, "it stops looking");
    }
}
