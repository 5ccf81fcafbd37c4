//! What clients' selectors and payload patterns take: one account per connection, and one of the
//! core.
//!
//! A selector takes memory on every router, and time in lookups of others' tag sets when no tag
//! leads to it quickly: such a selector is *loose*. Each connection may have so much of both
//! ([`SelectorLimits`]); who asks for more is refused with `limit`, and what the connection has
//! stays.

use std::collections::HashMap;

use millrace_proto::Selector;

use crate::message::Prepared;
use crate::transport::ConnKey;

/// What one selector takes besides its own bytes, in the local index, in control and in the
/// directory.
const OVERHEAD_BYTES: usize = 320;
/// What a text that is still to be read takes besides its bytes.
const TEXT_OVERHEAD_BYTES: usize = 64;

/// Bounds of selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectorLimits {
    /// Bytes that one connection's selectors and patterns take, as they are kept. Default 32 MiB:
    /// some 75,000 usual selectors.
    pub bytes_per_connection: usize,
    /// The same for all connections of a core. Default 1 GiB.
    pub bytes_per_core: usize,
    /// Most loose selectors of one connection. A selector is loose if it has no equality, shares
    /// its equality with 64 others, or stands in more than 16 subscriptions of one receiver.
    /// Each is looked at in lookups of tag sets that it does not match, some 50 ns. Default
    /// 1,024.
    pub loose_per_connection: usize,
    /// The same for all connections of a core: a lookup of a tag set that is new takes some 15 ms
    /// at the worst. Default 262,144.
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

/// What something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) bytes: usize,
    pub(super) loose: usize,
}

impl Cost {
    /// Of texts that are to be read.
    pub(super) fn of_texts(texts: &[String]) -> Self {
        let bytes = texts.iter().map(|text| TEXT_OVERHEAD_BYTES + text.len()).sum();
        Self { bytes, loose: 0 }
    }

    /// Of a selector as it is filed, without its patterns.
    pub(super) fn of_selector(interest: &Selector, is_loose: bool) -> Self {
        Self { bytes: OVERHEAD_BYTES + interest.bytes(), loose: usize::from(is_loose) }
    }

    /// Bytes that an automaton of several of a subscription's patterns takes.
    pub(super) fn of_cover(prepared: &[Prepared]) -> Self {
        let cover = prepared.iter().find_map(|prepared| prepared.cover.as_ref());
        Self { bytes: cover.map_or(0, |cover| cover.bytes()), loose: 0 }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, loose: self.loose + other.loose }
    }

    const fn without(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), loose: self.loose.saturating_sub(other.loose) }
    }
}

/// The accounts of one core.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Only of connections that have something: bounded by them.
    clients: HashMap<ConnKey, Cost, ahash::RandomState>,
    total: Cost,
}

impl Accounts {
    pub(super) const fn total(&self) -> Cost {
        self.total
    }

    /// Checks the limits for a connection that releases `less` and takes `more`. Returns the reason
    /// for a refusal.
    pub(super) fn objection(
        &self,
        client: ConnKey,
        more: Cost,
        less: Cost,
        limits: &SelectorLimits,
    ) -> Option<String> {
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
    }

    pub(super) fn take(&mut self, client: ConnKey, cost: Cost) {
        let Some(own) = self.clients.get_mut(&client) else { return };
        *own = own.without(cost);
        if *own == Cost::default() {
            self.clients.remove(&client);
        }
        self.total = self.total.without(cost);
    }

    /// A connection is gone, and with it all that it had.
    pub(super) fn forget(&mut self, client: ConnKey) {
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
        let cost = |bytes, loose| Cost { bytes, loose };
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
