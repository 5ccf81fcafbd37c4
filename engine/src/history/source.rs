//! Sources and places: whose positions a core knows, and where a run stands among them.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::data::{Cursor, HopHeader, Source};
use millrace_proto::limits::SOURCES_MAX;

use super::far::FarOwners;

/// A source as one core knows it. Its number is the same on all delivery streams of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownSource {
    /// Its number on this core, below [`SOURCES_MAX`]. A later life of the same owner takes it
    /// over; when all are taken, an owner takes that of a router that is gone.
    pub number: u16,
    /// The source.
    pub source: Source,
}

/// Where a run stands in what its owner has routed.
#[derive(Debug, Clone)]
pub struct Place {
    /// The owner, in one life.
    pub source: Arc<KnownSource>,
    /// The run's position there.
    pub position: u64,
}

/// The sources that a stream's writer has numbers for, by number.
#[derive(Debug, Default)]
pub struct SourceTable(Vec<Option<Arc<KnownSource>>>);

impl SourceTable {
    /// A number stands for a source from here on; for none when this core does not know it.
    pub fn define(&mut self, number: u64, known: Option<Arc<KnownSource>>) {
        let Some(index) = usize::try_from(number).ok().filter(|_| number < SOURCES_MAX) else { return };
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = known;
    }

    /// The source that a number stands for.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Arc<KnownSource>> {
        self.0.get(usize::try_from(number).ok()?)?.as_ref()
    }

    /// The place that a run's header tells, if it tells one that is known here.
    #[must_use]
    pub fn place(&self, hop: &HopHeader<'_>) -> Option<Place> {
        if hop.fields.is_empty() {
            return None;
        }
        let (number, position) = hop.position().ok()??;
        Some(Place { source: Arc::clone(self.get(number)?), position })
    }

    /// Sees how far the writer says that it has come.
    pub fn see(&self, cursor: &Cursor, sources: &mut Sources) {
        for (&number, &position) in cursor.sources.iter().zip(&cursor.positions) {
            if let Some(source) = self.get(number) {
                sources.see(source, position);
            }
        }
    }
}

/// The sources that one core knows, and how far it has come with each.
#[derive(Debug, Default)]
pub struct Sources {
    known: Vec<Arc<KnownSource>>,
    /// By number: the position below which everything that is for this core has arrived.
    seen: Vec<u64>,
    /// What was told last, by number.
    told: Vec<u64>,
    numbers: HashMap<(RouterId, u16), u16, ahash::RandomState>,
    /// Numbers of routers that are gone, which others may take when there are no more.
    vacant: Vec<u16>,
}

impl Sources {
    /// A core that knows itself.
    #[must_use]
    pub fn of(own: Source) -> (Self, Arc<KnownSource>) {
        let known = Arc::new(KnownSource { number: 0, source: own });
        let numbers = [((own.router, own.owner), 0)].into_iter().collect();
        let (known_all, seen) = (vec![Arc::clone(&known)], vec![0]);
        (Self { known: known_all, seen, told: Vec::new(), numbers, vacant: Vec::new() }, known)
    }

    /// Hears which routers there are, before the first runs of those that come. Routers that come
    /// and go under ever new ids would otherwise use up the numbers of all that come later.
    pub fn hear(&mut self, far: &FarOwners) {
        if (self.known.len() as u64) < SOURCES_MAX / 2 {
            return;
        }
        let own = self.known[0].source.router;
        let is_gone =
            |known: &&Arc<KnownSource>| known.source.router != own && !far.knows(known.source.router);
        self.vacant = self.known.iter().filter(is_gone).map(|known| known.number).collect();
    }

    /// The source as this core knows it; `None` when it knows as many as a stream may name.
    pub fn know(&mut self, source: Source) -> Option<Arc<KnownSource>> {
        if let Some(&number) = self.numbers.get(&(source.router, source.owner)) {
            let known = self.known.get_mut(usize::from(number))?;
            if known.source != source {
                *known = Arc::new(KnownSource { number, source });
                self.seen[usize::from(number)] = 0;
            }
            return Some(Arc::clone(known));
        }
        let next = u16::try_from(self.known.len()).ok().filter(|&next| u64::from(next) < SOURCES_MAX);
        let number = next.or_else(|| self.vacant.pop())?;
        let known = Arc::new(KnownSource { number, source });
        self.numbers.insert((source.router, source.owner), number);
        if next.is_some() {
            self.known.push(Arc::clone(&known));
            self.seen.push(0);
        } else {
            let gone = std::mem::replace(&mut self.known[usize::from(number)], Arc::clone(&known)).source;
            self.numbers.remove(&(gone.router, gone.owner));
            self.seen[usize::from(number)] = 0;
        }
        Some(known)
    }

    /// A source of an earlier life, as this core tells it: under the number of the present one,
    /// which stays. `None` when it knows as many as a stream may name.
    pub fn know_past(&mut self, source: Source) -> Option<Arc<KnownSource>> {
        match self.numbers.get(&(source.router, source.owner)) {
            Some(&number) => Some(Arc::new(KnownSource { number, source })),
            None => self.know(source),
        }
    }

    /// Everything of a source below a position has arrived.
    pub fn see(&mut self, source: &KnownSource, position: u64) {
        let is_present = self.known.get(usize::from(source.number)).is_some_and(|known| **known == *source);
        if let Some(seen) = self.seen.get_mut(usize::from(source.number)).filter(|_| is_present) {
            *seen = position.max(*seen);
        }
    }

    /// The position below which everything of a source has arrived; 0 when it is not a present one.
    #[must_use]
    pub fn seen(&self, source: &Source) -> u64 {
        let number = self.numbers.get(&(source.router, source.owner)).map(|&number| usize::from(number));
        let present = number.filter(|&number| self.known[number].source == *source);
        present.map_or(0, |number| self.seen[number])
    }

    /// All sources with the position below which everything has arrived, if that has changed for
    /// any since this was asked last; otherwise none.
    pub fn take_news(&mut self) -> Vec<(Arc<KnownSource>, u64)> {
        if self.told == self.seen {
            return Vec::new();
        }
        self.told.clone_from(&self.seen);
        self.iter().map(|(known, seen)| (Arc::clone(known), seen)).collect()
    }

    /// The present sources, each with the position below which everything has arrived.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<KnownSource>, u64)> {
        self.known.iter().zip(self.seen.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::Incarnation;

    use super::super::far::FarOwner;
    use super::*;
    use crate::transport::ConnKey;

    #[test]
    fn numbers_of_routers_that_are_gone_are_given_again_and_those_of_others_stay() {
        let source = |router| Source { router: RouterId(router), incarnation: Incarnation(1), owner: 0 };
        let (mut sources, own) = Sources::of(source(1));
        let there = FarOwner { source: source(2), core: 0, conn: ConnKey(1) };
        let far = FarOwners { owners: vec![there], ..FarOwners::default() };
        let known = sources.know(source(2)).unwrap();
        for router in 3.. {
            let Some(_) = sources.know(source(router)) else { break };
        }
        sources.hear(&far);
        let mut numbers: Vec<u16> =
            (0..5_000).map_while(|n| sources.know(source(10_000 + n))).map(|k| k.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len() as u64, SOURCES_MAX - 2, "each of them once");
        assert_eq!(sources.know(source(2)), Some(known));
        assert_eq!(sources.know(source(1)), Some(own));
        assert_eq!(sources.know(source(3)), None, "all are there, and as many as may be");
        assert_eq!(sources.iter().count() as u64, SOURCES_MAX);
    }
}
