//! The owners of other routers whose history can be asked for.

use millrace_proto::RouterId;
use millrace_proto::data::{GapReason, Source};

use crate::time::Time;
use crate::transport::ConnKey;

/// An owner of another router, and the lane on which its runs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FarOwner {
    /// The owner, in its present life.
    pub source: Source,
    /// The core that has the lane.
    pub core: u16,
    /// The lane's connection there.
    pub conn: ConnKey,
}

/// What is known of other routers' history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FarOwners {
    /// Owners that can be asked, sorted by source.
    pub owners: Vec<FarOwner>,
    /// Routers of which some owner, or every one, cannot be asked now, and the gap that stands for
    /// what it has.
    pub missing: Vec<(RouterId, GapReason)>,
    /// Routers of which a life has ended with its history, sorted, and when.
    pub ended: Vec<(RouterId, Time)>,
}

impl FarOwners {
    /// An owner, if it can be asked.
    #[must_use]
    pub fn get(&self, source: &Source) -> Option<&FarOwner> {
        let at = self.owners.binary_search_by_key(source, |owner| owner.source).ok()?;
        self.owners.get(at)
    }

    /// An owner of a router that can be asked for an earlier life of it: not always the same one,
    /// so that lanes share the work.
    #[must_use]
    pub fn server(&self, router: RouterId, owner: u16) -> Option<&FarOwner> {
        let of_router: Vec<_> = self.owners.iter().filter(|far| far.source.router == router).collect();
        of_router.get(usize::from(owner) % of_router.len().max(1)).copied()
    }

    /// Whether a router is there, as far as anybody knows, and some of its owners cannot be asked.
    #[must_use]
    pub fn is_lost(&self, router: RouterId) -> bool {
        self.missing.contains(&(router, GapReason::RouterLost))
    }

    /// Whether any owner of a router can be asked, or none of them can.
    #[must_use]
    pub fn knows(&self, router: RouterId) -> bool {
        self.owners.iter().any(|owner| owner.source.router == router)
            || self.missing.iter().any(|&(missing, _)| missing == router)
    }
}
