//! Values that all parts of one router share while it starts, and that its handle keeps.

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_engine::rights::Meters;
use millrace_proto::{Incarnation, RouterId};
use millrace_quic::{CidShape, Keys};

use crate::clock::Clock;
use crate::config::RouterConfig;
use crate::files::FilesBook;
use crate::placement::Placement;

/// Values that all parts of one router share while it starts.
pub(crate) struct Starting {
    pub(crate) clock: Clock,
    pub(crate) addr: SocketAddr,
    pub(crate) router: RouterId,
    pub(crate) incarnation: Incarnation,
    pub(crate) advertise: String,
    /// Seed of hash tables, for all cores and control, which compare hashes of tags.
    pub(crate) seed: u64,
    pub(crate) keys: Keys,
    /// How connection ids look.
    pub(crate) cids: CidShape,
    /// What identities with a quota take, on all cores.
    pub(crate) meters: Arc<Meters>,
    /// What history files hold, where there are any.
    pub(crate) files: Option<FilesBook>,
    /// Where the threads run.
    pub(crate) placement: Placement,
    pub(crate) config: RouterConfig,
}
