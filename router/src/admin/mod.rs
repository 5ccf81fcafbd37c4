//! The admin page: `/` lists what there is. GET reads, POST changes; without authentication: it
//! belongs on loopback.
//!
//! It runs on a thread of its own, so that it answers within a second whatever control does. On
//! loopback it answers only requests that name loopback as their host.

mod answer;
mod ask;
mod changes;
mod groups;
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
mod status;
mod tags;
mod text;
mod why;

pub(crate) use pages::serve;
