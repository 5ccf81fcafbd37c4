//! The processes of a run. All of them are this program, started again; none outlives it.
//!
//! | module | what it holds |
//! |---|---|
//! | `routers` | routers that are killed, stopped and restarted |
//! | `publishers` | publishers that are killed and go on with their spools |

mod publishers;
mod routers;

pub(super) use publishers::Publishers;
pub(super) use routers::Routers;
