//! Doors into a Millrace cluster for what is already out there: HTTP and CloudEvents, web
//! browsers, syslog, NATS, MQTT.
//!
//! A *door* speaks the protocol of its clients and maps it to tags, events and selectors. All doors
//! share one *room*: admission (who may do what, and how much anybody may take before that is
//! known), the connections to the routers, and the counters. The gateway is a user of the client
//! library like any other program; no router links it.
//!
//! ```text
//!   curl, CloudEvents ─► doors::http   ┐            ┌ upstream::Lines ── publishers ┐
//!   browsers          ─► doors::web    ├ admission ─┤                               ├─► routers
//!   logger, rsyslog   ─► doors::syslog │            │                               │
//!   NATS clients      ─► doors::nats   │            └ upstream::Feeds ── receivers  ┘
//!   MQTT clients      ─► doors::mqtt   ┘
//! ```
//!
//! Tens of thousands of local clients share a few connections: all publish through the same
//! publishers, and local clients with equal selectors share one receiver, whose events are handed
//! to each of them through a bounded mailbox.
//!
//! | module | what it is |
//! |---|---|
//! | [`settings`] | what the gateway is told: defaults, file, environment, flags |
//! | [`admission`] | identities, TLS, and what a client may take before it has one |
//! | [`upstream`] | the gateway's side of the routers: publishing and feeds |
//! | [`doors`] | one folder for each protocol |
//! | [`counters`] | what is counted, by door and reason |
//! | [`lobby`] | what every listener needs |
//! | [`room`] | what all doors of a gateway share |
//! | [`admin`] | `/metrics`, `/livez`, `/readyz` |
//! | [`program`] | what the programs of this crate share |
//! | `tcp_server`, `http_server` | what bounds connections |
//! | [`gateway`] | starts and stops it all |
//! | [`reload`] | settings read anew while it runs |
//! | [`agent`] | the daemon of a host, `millrace-agent`: the same doors in front of a spool |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod admin;
pub mod admission;
pub mod agent;
pub mod counters;
pub mod doors;
pub mod gateway;
mod heard;
mod http_server;
mod listening;
pub mod lobby;
pub mod program;
pub mod reload;
pub mod room;
pub mod settings;
mod tcp_server;
pub mod upstream;

pub use gateway::{Addresses, Gateway, StartError, problems, taken};
pub use settings::Settings;
