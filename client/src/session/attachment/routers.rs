//! Which routers there are to try, and in which order.

use std::fmt::Debug;

use millrace_proto::Incarnation;
use millrace_proto::limits::ALTERNATES_MAX;

use super::backoff::Chance;

/// A router as it is configured or as another router names it.
pub trait Router: Debug + Clone + PartialEq {
    /// Where it can be dialled.
    type Address: Debug + Clone + PartialEq;

    /// Its address, when that is known without looking a name up.
    fn address(&self) -> Option<Self::Address>;

    /// A router that another one named; `None` for text that this version cannot read, because a
    /// router's advice is no reason to fail.
    fn named(text: &str) -> Option<Self>
    where
        Self: Sized;
}

/// The routers that are known: those of the configuration, in levels, and those that the last
/// router named.
#[derive(Debug, Clone)]
pub(super) struct Routers<R> {
    /// The first level is where the client belongs; the others are for when none of it takes it.
    levels: Vec<Vec<R>>,
    alternates: Vec<R>,
    /// The client's zone; empty: none.
    zone: String,
    /// Routers of that zone, those heard of last first; at most [`ALTERNATES_MAX`].
    near: Vec<R>,
    /// Whether the last router asked to be left; its alternates then come first.
    moving: bool,
    /// The process that asked to be left. It welcomes clients until it is gone, but a client that
    /// went back would have to leave again.
    left: Option<Incarnation>,
}

impl<R: Router> Routers<R> {
    pub(super) const fn new(levels: Vec<Vec<R>>) -> Self {
        Self {
            levels,
            alternates: Vec::new(),
            zone: String::new(),
            near: Vec::new(),
            moving: false,
            left: None,
        }
    }

    pub(super) fn set_zone(&mut self, zone: String) {
        self.zone = zone;
    }

    /// Whether a router of this zone is no better than others: it is the client's, or the client
    /// has none.
    pub(super) fn is_near(&self, zone: &str) -> bool {
        self.zone.is_empty() || self.zone == zone
    }

    /// Remembers the routers of the client's zone among those that a router has named. Returns
    /// whether there are any.
    pub(super) fn hear_of(&mut self, alternates: &[String], zones: &[String]) -> bool {
        if self.zone.is_empty() {
            return false;
        }
        let named = alternates.iter().zip(zones).filter(|(_, zone)| **zone == self.zone);
        let near: Vec<R> = named.filter_map(|(text, _)| R::named(text)).collect();
        let is_known = !near.is_empty();
        self.near.retain(|router| !near.contains(router));
        self.near.splice(0..0, near);
        self.near.truncate(ALTERNATES_MAX);
        is_known
    }

    /// The routers of the client's zone that it has heard of.
    pub(super) fn near(&self) -> &[R] {
        &self.near
    }

    /// What a way back into the client's zone tries: the routers that are known to be there, and
    /// one of the first level, because its answer tells which others there are.
    pub(super) fn way_home(&self, chance: &mut Chance) -> Vec<(usize, R)> {
        let mut near = self.near.clone();
        chance.shuffle(&mut near);
        let mut first = self.levels.first().cloned().unwrap_or_default();
        chance.shuffle(&mut first);
        let scout = first.into_iter().find(|router| !near.contains(router));
        near.into_iter().chain(scout).map(|router| (0, router)).collect()
    }

    /// Whether there is a router beside the present one to look at.
    pub(super) fn are_several(&self) -> bool {
        self.levels.first().is_some_and(|first| first.len() > 1)
            || (self.levels.len() == 1 && !self.alternates.is_empty())
    }

    /// What a look for a nearer router tries: as many as this of the first level and, when that is
    /// the only one, of the alternates, in a new random order.
    pub(super) fn nearest(&self, max: usize, chance: &mut Chance) -> Vec<(usize, R)> {
        let mut all = self.levels.first().cloned().unwrap_or_default();
        if self.levels.len() == 1 {
            let news: Vec<R> = self.alternates.iter().filter(|&one| !all.contains(one)).cloned().collect();
            all.extend(news);
        }
        chance.shuffle(&mut all);
        all.into_iter().take(max).map(|router| (0, router)).collect()
    }

    /// Whether the client has a zone.
    pub(super) const fn has_zone(&self) -> bool {
        !self.zone.is_empty()
    }

    /// How many levels there are. Alternates belong to the only level, or come behind several: no
    /// router says to which of them another one belongs.
    pub(super) fn levels(&self) -> usize {
        self.levels.len() + usize::from(self.levels.len() > 1)
    }

    /// Notes that a router welcomed this client and named others.
    pub(super) fn welcomed(&mut self, alternates: &[String]) {
        self.moving = false;
        self.set(alternates);
    }

    /// Notes that a router goes away and named others; if it named none, those of its Welcome stay.
    pub(super) fn moving(&mut self, incarnation: Incarnation, alternates: &[String]) {
        self.moving = true;
        self.left = Some(incarnation);
        if !alternates.is_empty() {
            self.set(alternates);
        }
    }

    /// Whether this process asked to be left.
    pub(super) fn has_left(&self, incarnation: Incarnation) -> bool {
        self.left == Some(incarnation)
    }

    /// Notes the routers that one named which is not for this client, and returns them.
    pub(super) fn named(&mut self, alternates: &[String]) -> Vec<R> {
        if !alternates.is_empty() {
            self.set(alternates);
        }
        self.alternates.clone()
    }

    fn set(&mut self, alternates: &[String]) {
        self.alternates = alternates.iter().take(ALTERNATES_MAX).filter_map(|text| R::named(text)).collect();
    }

    /// The routers of the first `levels` levels, each once and with its level, in the order in
    /// which a round tries them: those of the client's zone first, then level by level; where there
    /// is one, configured routers first, or alternates first when the last router asked to be left;
    /// each kind in a new random order.
    pub(super) fn order(&self, levels: usize, chance: &mut Chance) -> Vec<(usize, R)> {
        let mut kinds: Vec<(usize, Vec<R>)> = self.levels.iter().cloned().enumerate().collect();
        kinds.push((self.levels() - 1, self.alternates.clone()));
        if self.moving && self.levels.len() == 1 {
            kinds.reverse();
        }
        kinds.insert(0, (0, self.near.clone()));
        let mut all: Vec<(usize, R)> = Vec::new();
        for (level, mut routers) in kinds.into_iter().filter(|(level, _)| *level < levels) {
            chance.shuffle(&mut routers);
            for router in routers {
                if !all.iter().any(|(_, known)| *known == router) {
                    all.push((level, router));
                }
            }
        }
        all
    }
}
