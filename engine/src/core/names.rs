//! Who holds which name, as this core sees it.
//!
//! Control says who holds names anywhere. Receivers of this core count from the moment that they
//! claim a name, because control hears of that later.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::selector::Claim;

use super::config::CoreConfig;
use super::slot::ReceiverSlot;
use crate::matching::Location;
use crate::message::CoreIndex;
use crate::names::{Holder, NAMES_PER_CORE_MAX, NameNews, Rank};
use crate::transport::ConnKey;

/// A receiver of this core that holds a name.
#[derive(Debug)]
struct Here {
    slot: ReceiverSlot,
    conn: ConnKey,
    claim: Arc<Claim>,
    /// Its client does not answer.
    is_silent: bool,
}

/// Where what is addressed to a name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// To a receiver of this core.
    Here(ReceiverSlot),
    /// Nowhere now: the client of the receiver does not answer.
    Silent,
    /// To a sibling or a peer.
    At(Location),
    /// Nobody has the name.
    Nowhere,
}

/// Names of receivers.
#[derive(Debug)]
pub(super) struct Names {
    core: CoreIndex,
    router: RouterId,
    /// As control says.
    told: HashMap<Box<str>, Holder, ahash::RandomState>,
    here: HashMap<Box<str>, Here, ahash::RandomState>,
    /// Receivers of this core that have lost their name, and are to be ended.
    lost: Vec<(ConnKey, ReceiverSlot)>,
}

impl Names {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            core: config.core,
            router: config.router,
            told: HashMap::default(),
            here: HashMap::default(),
            lost: Vec::new(),
        }
    }

    /// Where what is addressed to a name goes.
    pub(super) fn find(&self, name: &str) -> Whereabouts {
        match (self.here.get(name), self.told.get(name)) {
            (Some(here), _) if here.is_silent => Whereabouts::Silent,
            (Some(here), _) => Whereabouts::Here(here.slot),
            // Control does not know yet that it has left this core.
            (None, Some(holder)) if holder.location == Location::Core(self.core) => Whereabouts::Nowhere,
            (None, Some(holder)) => Whereabouts::At(holder.location),
            (None, None) => Whereabouts::Nowhere,
        }
    }

    /// What is known of the present holder of a name.
    fn claim_of(&self, name: &str) -> Option<&Claim> {
        let told = || self.told.get(name).map(|holder| &*holder.claim);
        self.here.get(name).map(|here| &*here.claim).or_else(told)
    }

    /// Whether a name belongs to somebody else than this identity.
    pub(super) fn is_of_another(&self, name: &str, identity: &str) -> bool {
        self.claim_of(name).is_some_and(|claim| &*claim.identity != identity)
    }

    /// Whether this core has room for one more name.
    pub(super) fn has_room(&self) -> bool {
        self.here.len() < NAMES_PER_CORE_MAX
    }

    /// A receiver of this core takes a name. Whoever held it on this core is to be ended. Returns
    /// its claim.
    pub(super) fn claim(
        &mut self,
        name: &str,
        identity: &str,
        slot: ReceiverSlot,
        conn: ConnKey,
    ) -> Arc<Claim> {
        let generation = self.claim_of(name).map_or(1, |claim| claim.generation.saturating_add(1));
        let claim = Arc::new(Claim { name: name.into(), generation, identity: identity.into() });
        let here = Here { slot, conn, claim: Arc::clone(&claim), is_silent: false };
        if let Some(before) = self.here.insert(name.into(), here) {
            self.lost.push((before.conn, before.slot));
        }
        claim
    }

    /// A receiver of this core gives its name back, if it still holds it.
    pub(super) fn release(&mut self, claim: &Claim) {
        if self.here.get(&claim.name).is_some_and(|here| *here.claim == *claim) {
            self.here.remove(&claim.name);
        }
    }

    /// The client of a receiver of this core answers, or does not.
    pub(super) fn set_silent(&mut self, claim: &Claim, is_silent: bool) {
        if let Some(here) = self.here.get_mut(&claim.name).filter(|here| *here.claim == *claim) {
            here.is_silent = is_silent;
        }
    }

    /// Control says what is new. A receiver of this core whose name has another holder is to be
    /// ended.
    pub(super) fn hear(&mut self, news: Vec<NameNews>) {
        for NameNews { name, holder } in news {
            let Some(holder) = holder else {
                self.told.remove(&name);
                continue;
            };
            let is_over = self.here.get(&name).is_some_and(|here| self.rank(here) < holder.rank());
            if is_over && let Some(here) = self.here.remove(&name) {
                self.lost.push((here.conn, here.slot));
            }
            self.told.insert(name, holder);
        }
    }

    fn rank(&self, here: &Here) -> Rank {
        Rank { generation: here.claim.generation, router: self.router, core: self.core }
    }

    /// Whether receivers have lost their name.
    pub(super) const fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Receivers that have lost their name, with their connections.
    pub(super) fn take_lost(&mut self) -> Vec<(ConnKey, ReceiverSlot)> {
        std::mem::take(&mut self.lost)
    }

    /// Names that receivers of this core hold.
    pub(super) fn len(&self) -> usize {
        self.here.len()
    }
}
