//! Convergence: once nothing changes any more, every router knows exactly what the receivers of
//! every other want.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::RouterId;

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "convergence";

/// Canonical texts of selectors, without payload patterns: the form in which routers tell each
/// other.
pub type Selectors = BTreeSet<String>;

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
/// there.
pub fn check(
    directories: &BTreeMap<RouterId, Directory>,
    wanted: &BTreeMap<RouterId, Selectors>,
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
        check(&directories, &wanted, &mut findings);
        findings.count
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
