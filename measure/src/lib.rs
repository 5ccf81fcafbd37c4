//! What measurements have in common: the host they ran on, what its kernel says of processes, and
//! how figures are written.
//!
//! Load generator and comparison both stand on it; it measures nothing by itself.

pub mod figures;
mod host;
pub mod kernel;

pub use host::Host;
