//! Forwarding between clusters: events cross links, and nothing else happens to them.
//!
//! Clusters are numbered; a link leads from one to another. Judged is what each link writes, and
//! what receivers' applications take:
//!
//! - **paths**: the path that a run carries begins where its event was published, ends where the
//!   link begins, follows links that there are, and crosses no cluster twice; nor does the link
//!   lead back into it, or exceed its hops. So an event reaches a cluster at most once on each
//!   simple path.
//! - **once by each path**: no link writes an event twice with one path, unless it or a link of the
//!   path was cut, or several links lead along the path.
//! - **demand**: a link that heeds demand writes nothing that nobody wants behind it.
//! - **once at most**: no application is given an event twice.
//! - **whole**: what was published once all was known reaches every receiver that wants it and that
//!   links lead to, or a gap says otherwise.
//!
//! ```text
//!      ┌──► B ──┐        an event of A reaches C by A C and by A B C: two copies, one of them given
//!      A ─────► C        to each receiver; C sends it to neither A nor B
//! ```

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::{Selector, TagSet};

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "forwarding";

/// A link from one cluster to another.
#[derive(Debug, Clone)]
pub struct Link {
    /// Where it begins.
    pub from: usize,
    /// Where it leads.
    pub to: usize,
    /// What it takes: one of these is enough.
    pub select: Vec<Selector>,
    /// Clusters that an event may have crossed when it arrives.
    pub hops_max: usize,
    /// Whether it takes only what is wanted behind it.
    pub demand: bool,
}

impl Link {
    fn takes(&self, tags: &TagSet) -> bool {
        self.select.iter().any(|selector| selector.matches_tags(tags.borrow()))
    }
}

/// A receiver, in a cluster.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its cluster.
    pub cluster: usize,
    /// What it wants.
    pub select: Selector,
}

/// Who publishes, in a cluster.
#[derive(Debug, Clone)]
pub struct Emitter {
    /// Its cluster.
    pub cluster: usize,
    /// The tags of its events.
    pub tags: TagSet,
}

/// Clusters, their links and clients, and what they have shown.
#[derive(Debug, Clone, Default)]
pub struct Forwarding {
    links: Vec<Link>,
    receivers: Vec<Receiver>,
    emitters: Vec<Emitter>,
    /// Links that were cut.
    cut: BTreeSet<usize>,
    /// What links have written, with each path.
    crossed: BTreeSet<(usize, u32, u64, Vec<usize>)>,
    given: BTreeSet<(usize, u32, u64)>,
    gaps: BTreeSet<usize>,
    /// What is owed: events that were published once all was known.
    owed: BTreeSet<(u32, u64)>,
    /// Events that links have written, each time counted.
    pub copies: u64,
}

impl Forwarding {
    /// A checker for these clusters.
    #[must_use]
    pub fn new(links: Vec<Link>, receivers: Vec<Receiver>, emitters: Vec<Emitter>) -> Self {
        Self { links, receivers, emitters, ..Self::default() }
    }

    /// An event is published when every link is up, and everybody knows what is wanted.
    pub fn owed(&mut self, emitter: u32, n: u64) {
        self.owed.insert((emitter, n));
    }

    /// The connection of a link has ended: it may write again what it has written.
    pub fn cut(&mut self, link: usize) {
        self.cut.insert(link);
    }

    /// A link writes an event, whose path names these clusters. `knows_demand` says that it has
    /// long been told what is wanted.
    pub fn crosses(
        &mut self,
        number: usize,
        (emitter, n): (u32, u64),
        path: &[usize],
        knows_demand: bool,
        findings: &mut Findings,
    ) {
        self.copies += 1;
        let (Some(link), Some(from)) = (self.links.get(number), self.emitters.get(emitter as usize)) else {
            findings.add(NAME, || format!("link {number} writes event {n} of emitter {emitter}: nobody's"));
            return;
        };
        let mut say = |what: &str| {
            let Link { from, to, .. } = link;
            findings.add(NAME, || {
                format!("link {number} from {from} to {to} writes event {n} of emitter {emitter}, path {path:?}: {what}")
            });
        };
        let follows = path.windows(2).all(|two| {
            self.links.iter().any(|link| (link.from, link.to) == (two[0], two[1]) && link.takes(&from.tags))
        });
        if path.first() != Some(&from.cluster) || path.last() != Some(&link.from) || !follows {
            say("no link leads so");
        }
        let crossed: BTreeSet<usize> = path.iter().copied().chain([link.to]).collect();
        if crossed.len() != path.len() + 1 {
            say("it crosses a cluster twice");
        }
        if path.len() > link.hops_max {
            say("it has crossed too many");
        }
        if !link.takes(&from.tags) {
            say("the link does not select it");
        }
        if link.demand && knows_demand && !self.is_wanted(link, &from.tags) {
            say("nobody wants it there");
        }
        // What one link sends again, all behind it do.
        let was_cut = self.cut.iter().filter_map(|&cut| Some((cut, self.links.get(cut)?)));
        let mut was_cut = was_cut.filter(|(cut, link)| *cut == number || follows_link(path, link));
        let is_again = was_cut.next().is_some();
        let is_new = self.crossed.insert((number, emitter, n, path.to_vec()));
        let links_between = |two: &[usize]| self.links.iter().filter(|link| follows_link(two, link)).count();
        let is_double = path.windows(2).any(|two| links_between(two) > 1);
        if !is_new && !is_again && !is_double {
            say("it has written it before");
        }
    }

    /// A receiver's application is given an event.
    pub fn given(&mut self, receiver: usize, (emitter, n): (u32, u64), findings: &mut Findings) {
        if !self.given.insert((receiver, emitter, n)) {
            findings
                .add(NAME, || format!("receiver {receiver} is given event {n} of emitter {emitter} again"));
        }
    }

    /// A receiver's application is given a gap.
    pub fn gap(&mut self, receiver: usize) {
        self.gaps.insert(receiver);
    }

    /// Judges what receivers were owed.
    pub fn finish(&self, findings: &mut Findings) {
        let mut reach: BTreeMap<(u32, usize), bool> = BTreeMap::new();
        for &(emitter, n) in &self.owed {
            let Some(from) = self.emitters.get(emitter as usize) else { continue };
            for (number, receiver) in self.receivers.iter().enumerate() {
                let is_for_it = receiver.select.matches_tags(from.tags.borrow());
                if !is_for_it || self.gaps.contains(&number) || self.given.contains(&(number, emitter, n)) {
                    continue;
                }
                let reaches = *reach
                    .entry((emitter, receiver.cluster))
                    .or_insert_with(|| self.reaches(&mut vec![from.cluster], receiver.cluster, &from.tags));
                if reaches {
                    findings.add(NAME, || {
                        format!("receiver {number} misses event {n} of emitter {emitter}, without a gap")
                    });
                }
            }
        }
    }

    /// Whether links lead from the end of a path to a cluster.
    fn reaches(&self, path: &mut Vec<usize>, to: usize, tags: &TagSet) -> bool {
        if path.last() == Some(&to) {
            return true;
        }
        for link in &self.links {
            let is_next = path.last() == Some(&link.from) && !path.contains(&link.to);
            if is_next && link.takes(tags) && path.len() <= link.hops_max {
                path.push(link.to);
                let reaches = self.reaches(path, to, tags);
                path.pop();
                if reaches {
                    return true;
                }
            }
        }
        false
    }

    /// Whether somebody wants events of these tags behind a link: a receiver there, or one of that
    /// cluster's links that does not lead back.
    fn is_wanted(&self, link: &Link, tags: &TagSet) -> bool {
        let is_there =
            |receiver: &Receiver| receiver.cluster == link.to && receiver.select.matches_tags(tags.borrow());
        let leads_on = |next: &Link| next.from == link.to && next.to != link.from && next.takes(tags);
        self.receivers.iter().any(is_there) || self.links.iter().any(leads_on)
    }
}

/// Whether a path may have led over a link.
fn follows_link(path: &[usize], link: &Link) -> bool {
    path.windows(2).any(|two| (link.from, link.to) == (two[0], two[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    /// A, B and C with links A B, B C, A C and C A; a receiver of `kind=a` in C; an emitter in A.
    fn triangle(demand: bool) -> Forwarding {
        let link = |(from, to)| Link { from, to, select: vec![select("kind")], hops_max: 2, demand };
        let links = [(0, 1), (1, 2), (0, 2), (2, 0)].map(link).to_vec();
        let receiver = Receiver { cluster: 2, select: select("kind=a") };
        let emitter = |tags: &str| Emitter { cluster: 0, tags: TagSet::from_texts([tags]).unwrap() };
        Forwarding::new(links, vec![receiver], vec![emitter("kind=a"), emitter("kind=b")])
    }

    fn findings(demand: bool, crossings: &[(usize, u32, &[usize])]) -> u64 {
        let (mut checker, mut findings) = (triangle(demand), Findings::default());
        for (link, emitter, path) in crossings {
            checker.crosses(*link, (*emitter, 0), path, true, &mut findings);
        }
        findings.count
    }

    #[test]
    fn copies_take_simple_paths_and_each_once() {
        assert_eq!(findings(false, &[(0, 0, &[0]), (1, 0, &[0, 1]), (2, 0, &[0])]), 0);
        assert_eq!(findings(false, &[(3, 0, &[0, 2])]), 1, "back to where it came from");
        assert_eq!(findings(false, &[(1, 0, &[1])]), 1, "it did not begin there");
        assert_eq!(findings(false, &[(2, 0, &[0]), (2, 0, &[0])]), 1);
        assert_eq!(findings(true, &[(2, 1, &[0])]), 1, "nobody wants kind=b in C");
    }

    #[test]
    fn receivers_are_given_all_that_reaches_them_once() {
        let (mut checker, mut findings) = (triangle(true), Findings::default());
        (0..3).for_each(|n| checker.owed(0, n));
        checker.owed(1, 0);
        [0, 1, 1].into_iter().for_each(|n| checker.given(0, (0, n), &mut findings));
        assert_eq!(findings.count, 1);
        checker.finish(&mut findings);
        assert_eq!(findings.count, 2, "event 2 is missing");
    }
}
