//! The processes of a run. All of them are this program, started again; none outlives it.
//!
//! | module | what it holds |
//! |---|---|
//! | `child` | one process: signals, and its end |
//! | `routers` | routers that are killed, stopped and restarted |
//! | `publishers` | publishers that are killed and go on with their spools |

mod child;
mod publishers;
mod routers;

pub use child::end_with_run;
pub(super) use publishers::Publishers;
pub(super) use routers::Routers;
