//! Who holds a name.

use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::selector::Claim;

use crate::matching::Location;

/// Names that the receivers of one core may have: each takes some 300 bytes at every router.
pub const NAMES_PER_CORE_MAX: usize = 65_536;

/// What decides between two claims of a name: the higher one holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The claim's generation.
    pub generation: u64,
    /// The router of the receiver.
    pub router: RouterId,
    /// Its core, as far as this is known: cores of a router know it of each other.
    pub core: u16,
}

/// Who holds a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The core or the peer where the receiver is.
    pub location: Location,
    /// Its router.
    pub router: RouterId,
    /// What it claims.
    pub claim: Arc<Claim>,
}

impl Holder {
    /// The rank of its claim.
    #[must_use]
    pub fn rank(&self) -> Rank {
        let core = match self.location {
            Location::Core(core) => core,
            _ => 0,
        };
        Rank { generation: self.claim.generation, router: self.router, core }
    }
}

/// What is new of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameNews {
    /// The name.
    pub name: Box<str>,
    /// Who holds it; none: nobody.
    pub holder: Option<Holder>,
}
