//! Fault schedules: what breaks when, as data, and a seeded generator of them.
//!
//! Routers are numbered from 0, receivers as in their workload. Times are virtual ns since the
//! start of a run.

mod kind;
mod plan;
mod schedule;

pub use kind::{Fault, Path};
pub use plan::Plan;
pub use schedule::{Phase, Schedule, Scheduled};
