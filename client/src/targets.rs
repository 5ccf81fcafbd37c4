//! Which routers to try, in which order.

use millrace_proto::Incarnation;
use millrace_proto::limits::ALTERNATES_MAX;
use rand::seq::SliceRandom;

use crate::address::RouterAddress;

/// The routers that are known: those of the configuration, and those that the last router named.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    configured: Vec<RouterAddress>,
    alternates: Vec<RouterAddress>,
    /// The last router asked to leave: its alternates come first.
    moving: bool,
    /// The process life that asked to leave: it still greets until it is gone, but going back would only mean leaving again.
    left: Option<Incarnation>,
}

impl Targets {
    pub(crate) fn new(configured: Vec<RouterAddress>) -> Self {
        Self { configured, alternates: Vec::new(), moving: false, left: None }
    }

    /// A router welcomed this client and named others.
    pub(crate) fn welcomed(&mut self, alternates: &[String]) {
        self.moving = false;
        self.set(alternates);
    }

    /// A router goes away and named others; without any, those of its Welcome stay.
    pub(crate) fn moving(&mut self, incarnation: Incarnation, alternates: &[String]) {
        self.moving = true;
        self.left = Some(incarnation);
        if !alternates.is_empty() {
            self.set(alternates);
        }
    }

    /// The process life that is not to be connected to.
    pub(crate) const fn left(&self) -> Option<Incarnation> {
        self.left
    }

    /// Addresses that cannot be read are left out: a router's advice is no reason to fail.
    fn set(&mut self, alternates: &[String]) {
        self.alternates =
            alternates.iter().take(ALTERNATES_MAX).filter_map(|text| text.parse().ok()).collect();
    }

    /// All of them, each once, in the order to be tried.
    pub(crate) fn shuffled(&self) -> Vec<RouterAddress> {
        let mut rng = rand::rng();
        let mut configured = self.configured.clone();
        configured.shuffle(&mut rng);
        let mut alternates = self.alternates.clone();
        alternates.shuffle(&mut rng);
        let (first, second) = if self.moving { (alternates, configured) } else { (configured, alternates) };
        let mut all = first;
        for address in second {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternates_come_last_unless_the_router_goes_away() {
        let mut targets = Targets::new(vec!["a".parse().unwrap()]);
        targets.welcomed(&["b".to_owned(), "a:7400".to_owned(), "not an address".to_owned()]);
        let order =
            |targets: &Targets| targets.shuffled().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(order(&targets), ["a:7400", "b:7400"]);
        targets.moving(Incarnation(1), &["c".to_owned()]);
        assert_eq!(order(&targets), ["c:7400", "a:7400"]);
        targets.moving(Incarnation(1), &[]);
        assert_eq!(order(&targets), ["c:7400", "a:7400"]);
    }
}
