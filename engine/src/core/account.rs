//! Accounts of the selectors and payload patterns of clients: one per connection, and one for the
//! core.
//!
//! A selector takes memory on every router. It also takes time in lookups of other clients' tag
//! sets when no tag leads to it quickly: such a selector is *loose*. [`SelectorLimits`] bounds both
//! for each connection. The core refuses a request beyond a bound with `limit`, and the connection
//! keeps what it has. A quota of the client's identity bounds how many selectors its connections
//! have together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millrace_proto::Selector;

use crate::matching::lookup_weight;
use crate::message::Prepared;
use crate::rights::{Scarce, Seat};
use crate::transport::ConnKey;

/// Bytes that one selector takes beside its own: in the local index, in control and in the
/// directory.
const OVERHEAD_BYTES: usize = 320;
/// Bytes that a selector's text takes beside its own while it waits to be read.
const TEXT_OVERHEAD_BYTES: usize = 64;

/// Bounds of selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectorLimits {
    /// Bytes of the selectors and patterns of one connection, as they are kept. Default 32 MiB:
    /// some 75,000 usual selectors.
    pub bytes_per_connection: usize,
    /// Bytes of the selectors and patterns of all connections of a core. Default 1 GiB.
    pub bytes_per_core: usize,
    /// Most loose selectors of one connection. A selector is loose if it has no equality, if it
    /// shares its equality with 64 others, or if it stands in more than 16 subscriptions of one
    /// receiver. Lookups of tag sets that it does not match evaluate it, too, in some 50 ns; one
    /// with a slow glob counts as several. Default 1,024.
    pub loose_per_connection: usize,
    /// Most loose selectors of all connections of a core: with so many, the lookup of a new tag set
    /// takes some 15 ms. Default 262,144.
    pub loose_per_core: usize,
}

impl Default for SelectorLimits {
    fn default() -> Self {
        Self {
            bytes_per_connection: 32 << 20,
            bytes_per_core: 1 << 30,
            loose_per_connection: 1024,
            loose_per_core: 262_144,
        }
    }
}

/// What an account is charged with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) bytes: usize,
    pub(super) loose: usize,
    /// Filed selectors.
    pub(super) selectors: usize,
}

impl Cost {
    /// The cost of texts that wait to be read.
    pub(super) fn of_texts(texts: &[String]) -> Self {
        let bytes = texts.iter().map(|text| TEXT_OVERHEAD_BYTES + text.len()).sum();
        Self::of_bytes(bytes)
    }

    /// The cost of memory alone.
    pub(super) const fn of_bytes(bytes: usize) -> Self {
        Self { bytes, loose: 0, selectors: 0 }
    }

    /// The cost of a filed selector, without its patterns.
    pub(super) fn of_selector(interest: &Selector, is_loose: bool) -> Self {
        let loose = if is_loose { lookup_weight(interest) } else { 0 };
        Self { bytes: OVERHEAD_BYTES + interest.bytes(), loose, selectors: 1 }
    }

    /// The cost of an automaton that covers several of a subscription's patterns.
    pub(super) fn of_cover(prepared: &[Prepared]) -> Self {
        let cover = prepared.iter().find_map(|prepared| prepared.cover.as_ref());
        Self::of_bytes(cover.map_or(0, |cover| cover.bytes()))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            loose: self.loose + other.loose,
            selectors: self.selectors + other.selectors,
        }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            loose: self.loose.saturating_sub(other.loose),
            selectors: self.selectors.saturating_sub(other.selectors),
        }
    }
}

/// The accounts of one core.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Connections that are charged with something: at most as many as there are connections.
    clients: HashMap<ConnKey, Cost, ahash::RandomState>,
    /// Connections whose identity has a quota.
    seats: HashMap<ConnKey, Arc<Seat>, ahash::RandomState>,
    /// Connections of routers' own sessions: people count neither their receivers nor their
    /// selectors.
    routers: BTreeSet<ConnKey>,
    total: Cost,
}

impl Accounts {
    pub(super) const fn total(&self) -> Cost {
        self.total
    }

    /// Notes that a connection is a router's own session.
    pub(super) fn add_router(&mut self, client: ConnKey) {
        self.routers.insert(client);
    }

    /// Whether a connection is a router's own session.
    pub(super) fn is_router(&self, client: ConnKey) -> bool {
        !self.routers.is_empty() && self.routers.contains(&client)
    }

    /// Sets by whose quota a connection's selectors are counted, if by anybody's.
    pub(super) fn set_seat(&mut self, client: ConnKey, seat: Option<Arc<Seat>>) {
        let own = self.clients.get(&client).map_or(0, |own| own.selectors);
        let before = match seat {
            Some(seat) => {
                seat.add_selectors(own);
                self.seats.insert(client, seat)
            }
            None => self.seats.remove(&client),
        };
        if let Some(before) = before {
            before.take_selectors(own);
        }
    }

    /// Counts a group, set or name in the quota of a connection's identity, if it has one.
    ///
    /// # Errors
    /// The identity has as many as it may have: in words.
    pub(super) fn take_scarce(&self, client: ConnKey, scarce: Scarce, name: &str) -> Result<(), String> {
        self.seats.get(&client).map_or(Ok(()), |seat| seat.take_scarce(scarce, name))
    }

    /// Gives a group, set or name back to that quota.
    pub(super) fn give_scarce(&self, client: ConnKey, scarce: Scarce, name: &str) {
        if let Some(seat) = self.seats.get(&client) {
            seat.give_scarce(scarce, name);
        }
    }

    /// The quota of a connection's identity, if it has one.
    pub(super) fn seat(&self, client: ConnKey) -> Option<&Arc<Seat>> {
        self.seats.get(&client)
    }

    /// Checks the limits for a connection that releases `less` and takes `more`. Returns the reason
    /// for a refusal, if there is one.
    pub(super) fn objection(
        &self,
        client: ConnKey,
        more: Cost,
        less: Cost,
        limits: &SelectorLimits,
    ) -> Option<String> {
        let by_quota =
            self.seats.get(&client).and_then(|seat| seat.objection(more.selectors, less.selectors));
        if by_quota.is_some() {
            return by_quota;
        }
        let own = self.clients.get(&client).copied().unwrap_or_default().and(more).without(less);
        let total = self.total.and(more).without(less);
        let (what, most, setting) = if own.bytes > limits.bytes_per_connection {
            (
                "bytes of selectors and patterns on one connection",
                limits.bytes_per_connection,
                "selector_bytes_per_connection",
            )
        } else if own.loose > limits.loose_per_connection {
            (
                "selectors without a selective equality on one connection",
                limits.loose_per_connection,
                "loose_selectors_per_connection",
            )
        } else if total.bytes > limits.bytes_per_core {
            ("bytes of selectors and patterns on this core", limits.bytes_per_core, "selector_bytes_per_core")
        } else if total.loose > limits.loose_per_core {
            (
                "selectors without a selective equality on this core",
                limits.loose_per_core,
                "loose_selectors_per_core",
            )
        } else {
            return None;
        };
        Some(format!("more than {most} {what} (limits.{setting}); use fewer selectors, or key=value in each"))
    }

    pub(super) fn add(&mut self, client: ConnKey, cost: Cost) {
        let own = self.clients.entry(client).or_default();
        *own = own.and(cost);
        self.total = self.total.and(cost);
        if let Some(seat) = self.seats.get(&client) {
            seat.add_selectors(cost.selectors);
        }
    }

    pub(super) fn take(&mut self, client: ConnKey, cost: Cost) {
        let Some(own) = self.clients.get_mut(&client) else { return };
        *own = own.without(cost);
        if let Some(seat) = self.seats.get(&client) {
            seat.take_selectors(cost.selectors);
        }
        if *own == Cost::default() {
            self.clients.remove(&client);
        }
        self.total = self.total.without(cost);
    }

    /// Releases everything that a connection was charged with, because it is gone.
    pub(super) fn forget(&mut self, client: ConnKey) {
        self.set_seat(client, None);
        self.routers.remove(&client);
        if let Some(own) = self.clients.remove(&client) {
            self.total = self.total.without(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnKey = ConnKey(1);
    const OTHER: ConnKey = ConnKey(2);

    #[test]
    fn each_bound_is_named_and_replacing_counts_the_difference() {
        let limits = SelectorLimits {
            bytes_per_connection: 10,
            bytes_per_core: 15,
            loose_per_connection: 2,
            loose_per_core: 3,
        };
        let mut accounts = Accounts::default();
        let cost = |bytes, loose| Cost { bytes, loose, selectors: 0 };
        let none = Cost::default();
        accounts.add(ONE, cost(8, 2));
        let says = |accounts: &Accounts, client, more, less, word: &str| {
            accounts.objection(client, more, less, &limits).is_some_and(|message| message.contains(word))
        };
        assert!(says(&accounts, ONE, cost(3, 0), none, "selector_bytes_per_connection"));
        assert!(says(&accounts, ONE, cost(0, 1), none, "loose_selectors_per_connection"));
        assert!(accounts.objection(ONE, cost(10, 2), cost(8, 2), &limits).is_none());
        assert!(says(&accounts, OTHER, cost(8, 0), none, "selector_bytes_per_core"));
        assert!(says(&accounts, OTHER, cost(0, 2), none, "loose_selectors_per_core"));
        accounts.add(OTHER, cost(1, 1));
        accounts.take(ONE, cost(8, 2));
        accounts.forget(OTHER);
        assert_eq!(accounts.total(), none);
    }
}
