//! The directory as people are shown it: a page of its entries, in order.

use std::collections::BTreeSet;

use millrace_proto::RouterId;
use millrace_proto::tag::INTERNAL_KEY;

use super::machine::Control;
use crate::message::CoreIndex;

/// Who wants what a selector selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subscriber {
    /// Sessions of a core of this router.
    Core(CoreIndex),
    /// A peer.
    Router(RouterId),
}

/// One entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The selector's text, without payload patterns.
    pub selector: String,
    /// Who wants it.
    pub subscriber: Subscriber,
    /// Whether the payload must have one of some literals, too.
    pub by_payload: bool,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct RoutesQuery {
    /// Those whose selector's text comes behind this one.
    pub after: String,
    /// Those whose selector's text contains this; all when it is empty, but for those of routers'
    /// own events, which are shown to whoever asks for `millrace/internal`.
    pub contains: String,
    /// How many, at most.
    pub most: usize,
}

/// A page of the directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// Entries that the query selects, on this page and behind it.
    pub count: usize,
    /// The first of them, in order of their texts.
    pub first: Vec<Route>,
}

impl Control {
    /// A page of the directory. Visits every entry, some 100 ns each, and keeps as many as are
    /// asked for.
    #[must_use]
    pub fn routes(&self, query: &RoutesQuery) -> Routes {
        let own = self.own.entries().map(|(core, selector)| (selector, Subscriber::Core(core)));
        let peers = self.peers.iter().filter(|(_, peer)| peer.index.is_some());
        let peers = peers.flat_map(|(&router, peer)| {
            peer.interest.selectors().map(move |selector| (selector, Subscriber::Router(router)))
        });
        let mut count = 0;
        let mut first = BTreeSet::new();
        for (selector, subscriber) in own.chain(peers) {
            let text = selector.text();
            let is_behind = query.after.is_empty() || text > query.after.as_str();
            let is_hidden = selector.requires(INTERNAL_KEY) && !query.contains.contains(INTERNAL_KEY);
            if is_hidden || !is_behind || !text.contains(&query.contains) {
                continue;
            }
            count += 1;
            first.insert((text, subscriber, selector.literals().is_some()));
            if first.len() > query.most {
                first.pop_last();
            }
        }
        let route = |(text, subscriber, by_payload): (&str, Subscriber, bool)| Route {
            selector: text.to_owned(),
            subscriber,
            by_payload,
        };
        Routes { count, first: first.into_iter().map(route).collect() }
    }
}
