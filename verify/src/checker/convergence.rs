//! Convergence: once nothing changes any more, every router knows exactly what the receivers of
//! every other want.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::RouterId;
use millrace_proto::tag::INTERNAL_KEY;

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "convergence";

/// Canonical texts of selectors, without payload patterns: the form in which routers tell each
/// other.
pub type Selectors = BTreeSet<String>;

/// What stands for all selectors of a router that wants more than may be told.
const EVERYTHING: [&str; 2] = ["*", INTERNAL_KEY];

/// One live router's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// What its own receivers want, as it sees it.
    pub own: Selectors,
    /// What each peer's receivers want, as it was told.
    pub peers: BTreeMap<RouterId, Selectors>,
}

/// Compares the directories of all live routers with what the receivers attached to each `wanted`,
/// and with each other. Routers that are not in `directories` are dead: nobody may know of interest
/// there. With `may_be_coarse` a router may tell its peers that it wants everything, if it wants
/// anything.
pub fn check(
    directories: &BTreeMap<RouterId, Directory>,
    wanted: &BTreeMap<RouterId, Selectors>,
    may_be_coarse: bool,
    findings: &mut Findings,
) {
    let none = Selectors::new();
    for (router, directory) in directories {
        let want = wanted.get(router).unwrap_or(&none);
        compare(&format!("router {router} about its own receivers"), &directory.own, want, findings);
        let others = directories.keys().chain(directory.peers.keys()).filter(|&peer| peer != router);
        for peer in others.collect::<BTreeSet<_>>() {
            let known = directory.peers.get(peer).unwrap_or(&none);
            let want = directories.get(peer).and_then(|_| wanted.get(peer)).unwrap_or(&none);
            let is_coarse = || known.iter().map(String::as_str).eq(EVERYTHING);
            if may_be_coarse && !want.is_empty() && is_coarse() {
                continue;
            }
            compare(&format!("router {router} about router {peer}"), known, want, findings);
        }
    }
}

fn compare(who: &str, known: &Selectors, wanted: &Selectors, findings: &mut Findings) {
    for text in wanted.difference(known) {
        findings.add(NAME, || format!("{who}: does not know {text:?}"));
    }
    for text in known.difference(wanted) {
        findings.add(NAME, || format!("{who}: still has {text:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(texts: &[&str]) -> Selectors {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    /// Findings for two live routers of which 1 wants `a` and 2 wants `b`, after `change`.
    fn check_after(change: impl FnOnce(&mut BTreeMap<RouterId, Directory>)) -> u64 {
        let wanted = BTreeMap::from([(RouterId(1), selectors(&["a"])), (RouterId(2), selectors(&["b"]))]);
        let directory = |own: &str, peer, of_peer: &str| Directory {
            own: selectors(&[own]),
            peers: BTreeMap::from([(RouterId(peer), selectors(&[of_peer]))]),
        };
        let mut directories =
            BTreeMap::from([(RouterId(1), directory("a", 2, "b")), (RouterId(2), directory("b", 1, "a"))]);
        change(&mut directories);
        let mut findings = Findings::default();
        check(&directories, &wanted, false, &mut findings);
        findings.count
    }

    #[test]
    fn everything_stands_for_selectors_where_it_may() {
        let all = selectors(&EVERYTHING);
        let wanted = BTreeMap::from([(RouterId(1), selectors(&["a"])), (RouterId(2), Selectors::new())]);
        let first = Directory { own: selectors(&["a"]), ..Directory::default() };
        let of_peer = |known: &Selectors| Directory {
            peers: BTreeMap::from([(RouterId(1), known.clone())]),
            ..Directory::default()
        };
        let count = |known: &Selectors, first: &Directory, may_be_coarse| {
            let directories = BTreeMap::from([(RouterId(1), first.clone()), (RouterId(2), of_peer(known))]);
            let mut findings = Findings::default();
            check(&directories, &wanted, may_be_coarse, &mut findings);
            findings.count
        };
        assert_eq!(count(&all, &first, true), 0);
        assert_eq!(count(&all, &first, false), 3, "it lacks one, and has two");
        assert_eq!(count(&selectors(&["*"]), &first, true), 2, "routers' own events are missing");
        let idle = Directory { own: selectors(&["a"]), peers: BTreeMap::from([(RouterId(2), all.clone())]) };
        assert_eq!(count(&all, &idle, true), 2, "who wants nothing says so");
    }

    #[test]
    fn directories_that_agree_are_clean() {
        assert_eq!(check_after(|_| ()), 0);
    }

    #[test]
    fn lost_and_stale_interest_is_noticed() {
        let peers = |directories: &mut BTreeMap<RouterId, Directory>| {
            std::mem::take(&mut directories.get_mut(&RouterId(1)).unwrap().peers)
        };
        assert_eq!(check_after(|directories| drop(peers(directories))), 1, "lost");
        let stale = |directories: &mut BTreeMap<RouterId, Directory>| {
            directories.get_mut(&RouterId(2)).unwrap().own.insert("c".into());
        };
        assert_eq!(check_after(stale), 1);
    }

    #[test]
    fn interest_of_a_dead_router_is_noticed() {
        assert_eq!(check_after(|directories| drop(directories.remove(&RouterId(2)))), 1);
    }
}
