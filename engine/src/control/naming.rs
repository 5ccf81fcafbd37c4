//! Names of receivers: all cores hear who holds them.

use millrace_proto::RouterId;

use super::machine::Control;
use crate::matching::Location;
use crate::message::ToCore;
use crate::names::Holder;

impl Control {
    /// All names that receivers hold, in their order.
    pub fn names(&self) -> impl Iterator<Item = Holder> {
        let names = &self.directory.names;
        names.iter().filter_map(move |name| names.holder(name, &|location| self.router_of(location)))
    }

    /// Gives the cores what is new of names, before the directory that counts on it.
    pub(super) fn give_names(&mut self) {
        if !self.directory.names.is_changed() {
            return;
        }
        let mut names = std::mem::take(&mut self.directory.names);
        let news = names.take_news(|location| self.router_of(location));
        self.directory.names = names;
        self.give_all(&ToCore::Names(news));
    }

    /// The router of a location.
    fn router_of(&self, location: Location) -> RouterId {
        match location {
            Location::Peer(index) => self.router_at(index).unwrap_or_default(),
            _ => self.config.router,
        }
    }
}
