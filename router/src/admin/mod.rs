//! The admin page: `/` lists what there is. Read only, without authentication: it belongs on
//! loopback.
//!
//! It runs on a thread of its own, so that it answers within a second whatever control does. On
//! loopback it answers only requests that name loopback as their host.

mod look;
mod numbers;
mod pages;
mod process;
mod server;
mod status;
mod text;

pub(crate) use pages::serve;
