//! Named receivers, and what becomes of events that are addressed to them.
//!
//! A receiver *claims* a name with a generation that is one above that of the present holder. Each
//! router tells its claims to all others, as interest of a kind of its own, so that every core
//! knows who holds which name. Of several claims the one of the highest [`Rank`] holds: the
//! generation decides, then the router, then the core, so that all routers agree without asking. A
//! router ends receivers of its own that do not hold the name any more.
//!
//! An event that names recipients goes to them and to nobody else. Each recipient gets a copy of
//! its own, because peers answer for runs and not for names; [`Directs`] gathers how the copies
//! ended, and tells the publisher once all have.
//!
//! | file | what |
//! |---|---|
//! | `holder.rs` | who holds a name, and who would take it over |
//! | `directs.rs` | the recipients of runs whose publishers ask how they end |

mod directs;
mod holder;

pub use directs::{DirectId, Directs, Publisher};
pub use holder::{Holder, NAMES_PER_CORE_MAX, NameNews, Rank};
