//! What control keeps of links to other clusters, and of those who forward to this one.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::{ClusterId, Selector};

use crate::forward::{LinkInterest, LinkNumber};
use crate::matching::Location;
use crate::message::CoreIndex;
use crate::time::Time;

/// The links, each with its interest.
#[derive(Debug, Default)]
pub(super) struct Links(pub(super) BTreeMap<LinkNumber, LinkInterest>);

impl Links {
    /// Every selector of every link.
    pub(super) fn selectors(&self) -> impl Iterator<Item = (Location, &Selector)> {
        self.0.iter().flat_map(|(&link, interest)| {
            interest.selectors.values().map(move |selector| (Location::Forward(link), &**selector))
        })
    }

    /// Where each link leads, if that is known, and what its rule selects.
    pub(super) fn selects(&self) -> Vec<(Option<ClusterId>, Vec<String>)> {
        self.0.values().map(|interest| (interest.far, interest.select.clone())).collect()
    }
}

/// Who is told, and when.
#[derive(Debug, Default)]
pub(super) struct DemandNews {
    /// Cores that have served somebody who forwards.
    pub(super) asked: BTreeSet<CoreIndex>,
    pub(super) changed: bool,
    pub(super) from: Time,
    pub(super) version: u64,
}

impl DemandNews {
    /// Notes that somebody wants something else than before.
    pub(super) const fn note_change(&mut self) {
        self.changed = true;
    }
}
