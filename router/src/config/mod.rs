//! Settings of a router, declared once and read in two stages.
//!
//! `settings` declares each setting: name, meaning, default, range, change, flag and environment
//! variable; `identities` and `rules` declare what an `[[identity]]` and a `[[rule]]` have. `layers` reads
//! file, environment and `flags` into `settings::Settings`; `router` checks those that depend on each other and gives [`RouterConfig`], which a router starts from.
//! `pages` prints the file and the reference page.

pub(crate) mod address;
pub(crate) mod declare;
pub(crate) mod flags;
mod hex;
pub(crate) mod identities;
mod kinds;
pub(crate) mod layers;
mod memory;
mod nearest;
pub(crate) mod pages;
mod pinning;
mod router;
pub(crate) mod rules;
pub(crate) mod settings;
mod size;
pub(crate) mod tokens;

pub use identities::IdentityEntry;
pub use millrace_engine::rights::Quota;
pub use millrace_proto::rule::RuleText;
pub use pinning::Pinning;
pub use router::{ConfigError, RouterConfig};
pub use settings::{
    ConnectionIdSettings, GroupSettings, HistorySettings, LimitSettings, MeshSettings, RuleSettings,
};
