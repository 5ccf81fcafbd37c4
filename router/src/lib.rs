//! The Millrace router: sockets, threads, mailboxes, TLS, admin page and settings around the
//! engine, which decides.
//!
//! ```text
//!            ┌─ core thread 0 ─ quic loop ─ engine core ─┐
//!  UDP port ─┤        ⇅ mailboxes of batches             ├─ commands ⇄ control thread: engine control, DNS, admin
//!            └─ core thread N ─ quic loop ─ engine core ─┼─ selectors ⇄ selectors thread: patterns are compiled
//!                                                        └─ blocks ⇄ history thread: files
//! ```
//!
//! [`Router::start`] gives a [`RouterHandle`]; a process may hold several routers:
//!
//! ```
//! use millrace_router::{DevAuthority, Router, RouterConfig};
//!
//! let authority = DevAuthority::new()?;
//! let router = Router::start(RouterConfig::new(authority.router("one", &[])?))?;
//! println!("clients dial {}", router.addr());
//! router.stop(std::time::Duration::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod admin;
mod app;
mod asked;
mod bindable;
mod budget;
mod canary;
mod cli;
mod clock;
pub mod config;
mod control_thread;
mod core_thread;
mod credentials;
mod ending;
mod entrance;
mod files;
mod forward;
mod handle;
mod herald;
mod host;
mod logs;
mod mail;
mod metrics;
mod placement;
mod reachable;
mod reload;
mod resolve;
mod run;
mod selectors_thread;
mod service;
mod start;
mod start_error;
mod starting;
mod strangers;
mod terminal;
mod tls;
mod view;
mod watch;

pub use config::{
    GroupSettings, HistorySettings, LimitSettings, MeshSettings, Pinning, RouterConfig, RuleSettings,
    RuleText,
};
pub use ending::Ending;
pub use handle::{RouterHandle, Seen, TimedOut};
pub use metrics::{CoreSnapshot, ShellMetrics};
pub use start::Router;
pub use start_error::{ReloadError, StartError};
pub use tls::{AuthorityError, DevAuthority, Identity, IdentityError};
pub use view::Ended;

/// The router as a process: what the binary `millrace-router` runs, for programs that are a router
/// when asked to be.
pub mod process {
    pub use crate::cli::Cli;
    pub use crate::run::run;
}
