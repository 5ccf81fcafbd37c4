//! Whole routers over real QUIC on loopback: ports of the system's choice, and no waiting but for
//! what is to come.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod admin;
mod bad_input;
mod cluster;
mod cores;
mod dns;
mod history_files;
mod mesh;
mod process;
mod publishers;
mod quench;
mod questions;
mod raw;
mod reload;
mod requests;
mod rights;
mod single;
mod standby;
mod world;
