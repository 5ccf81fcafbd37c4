//! Results: JSON for machines, a table for people, a verdict for the exit code.

mod fault;
mod html;
mod json;
pub(crate) mod lines;
mod summary;
mod table;
mod verdict;

pub use fault::{Fault, faults};
pub use html::page;
pub use json::{Json, LatencyJson, SCHEMA};
pub use summary::summary;
pub use table::details;
