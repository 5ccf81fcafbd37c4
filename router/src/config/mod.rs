//! Settings of a router, declared once and read in two stages.
//!
//! `settings` declares each setting: name, meaning, default, range, change, flag and environment
//! variable. `layers` reads file, environment and `flags` into `settings::Settings`; `router`
//! checks those that depend on each other and gives [`RouterConfig`], which a router starts from.
//! `pages` prints the file and the reference page.

pub(crate) mod address;
pub(crate) mod declare;
pub(crate) mod flags;
mod kinds;
pub(crate) mod layers;
mod memory;
pub(crate) mod pages;
mod pinning;
mod router;
pub(crate) mod settings;

pub use pinning::Pinning;
pub use router::{ConfigError, RouterConfig};
pub use settings::{GroupSettings, HistorySettings, LimitSettings, MeshSettings};
