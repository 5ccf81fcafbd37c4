//! Links to other clusters: what each takes of this router's events stands in the directory, as a
//! peer's interest does. Nobody else is told, because each router forwards for itself.

use super::machine::Control;
use crate::forward::{LinkInterest, LinkNumber};
use crate::matching::Location;
use crate::time::Time;

impl Control {
    /// Sets what a link takes from here on; none: the link is gone.
    pub fn set_link(&mut self, now: Time, link: LinkNumber, interest: Option<LinkInterest>) {
        self.now = now;
        let before = self.links.0.remove(&link).unwrap_or_default().selectors;
        let added = interest.as_ref().map(|interest| interest.selectors.clone()).unwrap_or_default();
        // What is new is added first, so that an event that stays wanted is wanted all the time.
        for (text, selector) in &added {
            if !before.contains_key(text) {
                self.directory.insert(selector, Location::Forward(link));
            }
        }
        for (text, selector) in &before {
            if !added.contains_key(text) {
                self.directory.remove(selector, Location::Forward(link));
            }
        }
        if let Some(interest) = interest {
            self.links.0.insert(link, interest);
        }
        self.demand.note_change();
        self.settle();
    }
}
