//! Names of receivers: which routers and cores claim them, and which claim holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::selector::Claim;

use crate::matching::Location;
use crate::names::{Holder, NameNews};

/// All claims of names, this router's and those that peers have told.
#[derive(Debug, Default)]
pub(super) struct NameBook {
    /// By name; never empty.
    claims: BTreeMap<Box<str>, Vec<(Location, Arc<Claim>)>>,
    /// Names whose claims have changed since cores were told.
    changed: BTreeSet<Box<str>>,
}

impl NameBook {
    /// A receiver at a location claims a name.
    pub(super) fn insert(&mut self, location: Location, claim: &Arc<Claim>) {
        self.changed.insert(claim.name.clone());
        self.claims.entry(claim.name.clone()).or_default().push((location, Arc::clone(claim)));
    }

    /// A receiver at a location claims a name no more.
    pub(super) fn remove(&mut self, location: Location, claim: &Claim) {
        let Some(claims) = self.claims.get_mut(&claim.name) else { return };
        claims.retain(|(other, held)| (*other, &**held) != (location, claim));
        if claims.is_empty() {
            self.claims.remove(&claim.name);
        }
        self.changed.insert(claim.name.clone());
    }

    /// Who holds a name: of all claims the one of the highest rank.
    pub(super) fn holder(&self, name: &str, router_of: &impl Fn(Location) -> RouterId) -> Option<Holder> {
        let claims = self.claims.get(name)?.iter();
        let holder = |(location, claim): &(Location, Arc<Claim>)| Holder {
            location: *location,
            router: router_of(*location),
            claim: Arc::clone(claim),
        };
        claims.map(holder).max_by_key(Holder::rank)
    }

    /// All names that are claimed, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.claims.keys().map(|name| &**name)
    }

    /// Whether claims have changed since cores were told.
    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The names whose claims have changed since this was asked last.
    pub(super) fn take_news(&mut self, router_of: impl Fn(Location) -> RouterId) -> Vec<NameNews> {
        let changed = std::mem::take(&mut self.changed);
        let news = |name: Box<str>| NameNews { holder: self.holder(&name, &router_of), name };
        changed.into_iter().map(news).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(generation: u64) -> Arc<Claim> {
        Arc::new(Claim { name: "desk".into(), generation, identity: "".into() })
    }

    fn router_of(location: Location) -> RouterId {
        match location {
            Location::Peer(peer) => RouterId(u64::from(peer)),
            _ => RouterId(5),
        }
    }

    fn holder(book: &mut NameBook) -> Option<(Location, u64)> {
        let news = book.take_news(router_of);
        assert_eq!(news.len(), 1, "one name has changed");
        news[0].holder.as_ref().map(|holder| (holder.location, holder.claim.generation))
    }

    #[test]
    fn the_highest_generation_holds_then_the_highest_router_and_core() {
        let mut book = NameBook::default();
        book.insert(Location::Core(0), &claim(2));
        assert_eq!(holder(&mut book), Some((Location::Core(0), 2)));
        book.insert(Location::Core(1), &claim(2));
        assert_eq!(holder(&mut book), Some((Location::Core(1), 2)));
        book.insert(Location::Peer(9), &claim(2));
        assert_eq!(holder(&mut book), Some((Location::Peer(9), 2)));
        book.insert(Location::Peer(3), &claim(3));
        assert_eq!(holder(&mut book), Some((Location::Peer(3), 3)));
        book.remove(Location::Peer(3), &claim(3));
        book.remove(Location::Peer(9), &claim(2));
        assert_eq!(holder(&mut book), Some((Location::Core(1), 2)));
        book.remove(Location::Core(0), &claim(2));
        book.remove(Location::Core(1), &claim(2));
        assert_eq!(holder(&mut book), None);
        assert!(book.claims.is_empty() && book.take_news(router_of).is_empty());
    }
}
