//! The routers that a run uses: embedded ones or processes of their own, linked with each other, or
//! those at given addresses.

mod certificates;
mod cores;
mod counters;
mod error;
mod process;
mod reloads;
mod routers;

pub use self::cores::CoreUse;
pub use self::counters::{Counters, EVENTS_IN, UnderWay, Usage};
pub use self::error::ClusterError;
pub(crate) use self::process::RouterProcess;
pub(crate) use self::reloads::Reloads;
pub use self::routers::{Cluster, Home};
