//! Settings of a router, declared once and read in two stages.
//!
//! `settings` declares each setting: name, meaning, default, range, change, flag and environment
//! variable; `identities`, `rules`, `forwards` and `accepts` declare what an `[[identity]]`,
//! `[[rule]]`, `[[forward]]` and `[[accept]]` has, and `tables` reads such lists. `layers` reads
//! file, environment and `flags` into `settings::Settings`; `router` checks those that depend on
//! each other and gives [`RouterConfig`], which a router starts from. `pages` prints the file and
//! the reference page.

mod accepts;
pub(crate) mod address;
mod cluster;
mod compression;
pub(crate) mod declare;
pub(crate) mod flags;
pub(crate) mod forwards;
mod hex;
pub(crate) mod identities;
mod kinds;
pub(crate) mod layers;
mod links;
pub(crate) mod memory;
mod nearest;
pub(crate) mod pages;
mod pinning;
mod router;
pub(crate) mod rules;
pub(crate) mod settings;
mod size;
pub(crate) mod strays;
pub(crate) mod tables;
pub(crate) mod tokens;

pub use accepts::AcceptEntry;
pub use compression::Compression;
pub use forwards::{ForwardEntry, ForwardTls};
pub use identities::IdentityEntry;
pub use millrace_engine::rights::Quota;
pub use millrace_proto::rule::RuleText;
pub use pinning::Pinning;
pub use router::{ConfigError, RouterConfig};
pub use settings::{
    ConnectionIdSettings, GroupSettings, HistorySettings, LimitSettings, MeshSettings, RuleSettings,
};
