//! Positions: where runs stand in what an owner has routed.

use crate::control::record;
use crate::id::{Incarnation, RouterId};
use crate::limits;

record! {
    /// A place in what one owner of a router has routed in one process life. Several of them are a
    /// cursor.
    pub struct SourcePosition, at most limits::POSITIONS_PER_FRAME_MAX {
        /// The router.
        1 router: RouterId,
        /// Its process life.
        2 incarnation: Incarnation,
        /// The core that owns the runs.
        3 owner: u16,
        /// Runs below it are meant.
        4 position: u64,
    }
}
