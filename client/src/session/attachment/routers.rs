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

/// The routers that are known: those of the configuration, and those that the last router named.
#[derive(Debug, Clone)]
pub(super) struct Routers<R> {
    configured: Vec<R>,
    alternates: Vec<R>,
    /// Whether the last router asked to be left; its alternates then come first.
    moving: bool,
    /// The process that asked to be left. It welcomes clients until it is gone, but a client that
    /// went back would have to leave again.
    left: Option<Incarnation>,
}

impl<R: Router> Routers<R> {
    pub(super) const fn new(configured: Vec<R>) -> Self {
        Self { configured, alternates: Vec::new(), moving: false, left: None }
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

    fn set(&mut self, alternates: &[String]) {
        self.alternates = alternates.iter().take(ALTERNATES_MAX).filter_map(|text| R::named(text)).collect();
    }

    /// All routers, each once, in the order in which a round tries them: configured ones first, or
    /// alternates first when the last router asked to be left; each kind in a new random order.
    pub(super) fn order(&self, chance: &mut Chance) -> Vec<R> {
        let (mut configured, mut alternates) = (self.configured.clone(), self.alternates.clone());
        chance.shuffle(&mut configured);
        chance.shuffle(&mut alternates);
        let (first, second) = if self.moving { (alternates, configured) } else { (configured, alternates) };
        let mut all: Vec<R> = Vec::with_capacity(first.len() + second.len());
        for router in first.into_iter().chain(second) {
            if !all.contains(&router) {
                all.push(router);
            }
        }
        all
    }
}
