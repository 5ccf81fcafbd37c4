//! A deterministic simulator of Millrace clusters.
//!
//! It runs the router's own engine (several cores and one control per router) and the client
//! library's own sessions over a simulated network, in virtual time, with faults; and it judges
//! what happened with the checkers of `millrace-verify`. It contains no routing, session or spool
//! code. A run is a function of its seed alone.
//!
//! | module | what it is |
//! |---|---|
//! | [`scenario`] | what a seed stands for |
//! | [`world`] | the cluster, and the loop that moves it |
//! | [`network`] | connections and streams, what faults do to them, bugs on purpose |
//! | [`router`], [`router_setup`], [`files`] | cores and control, joined by mailboxes; how they are set up; the disk of history files |
//! | [`rules`] | tag rules that routers reload at different times, and their checker |
//! | `quiet` | tag sets that nobody wants for a while |
//! | [`standby`], [`source`] | sets of publishers of which one takes effect |
//! | `stage` | what small worlds of a seed stand on: those of the two modules that follow |
//! | [`clusters`] | several clusters with links between them |
//! | [`serving`] | groups that share work, and requests |
//! | [`client`] | publishers and receivers |
//! | [`minimise`](mod@minimise) | which faults a failure needs |
//! | [`record`], [`report`], [`summary`] | what happened, and what it came to |
//! | [`queue`], [`event`] | what happens next |
//!
//! TLS, QUIC's packets and threads are not simulated.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod client;
pub mod clusters;
mod core_host;
pub mod event;
pub mod files;
pub mod minimise;
pub mod network;
pub mod queue;
mod quiet;
pub mod reading;
pub mod record;
pub mod report;
pub mod router;
pub mod router_setup;
pub mod rules;
pub mod scenario;
mod seed;
pub mod service;
pub mod serving;
pub mod source;
mod stage;
pub mod standby;
pub mod summary;
pub mod world;

pub use seed::{run, run_with};
