//! The admin page: `/` lists what there is. GET reads, POST changes. On loopback everybody may do
//! both, from elsewhere everybody may read, and over TLS operators may do both (`gate.rs`).
//!
//! It runs on a thread of its own, so that it answers within a second whatever control does. On
//! loopback it answers only requests that name loopback as their host.

mod addresses;
mod answer;
mod ask;
mod browser;
mod changes;
mod forwards;
mod gate;
mod groups;
mod listeners;
mod look;
mod names;
mod numbers;
mod pages;
mod process;
mod query;
mod routes;
mod rules;
mod server;
mod sessions;
mod standby;
mod status;
mod tags;
mod text;
mod why;
mod writes;

pub(crate) use addresses::AdminAddresses;
pub(crate) use listeners::Admin;
