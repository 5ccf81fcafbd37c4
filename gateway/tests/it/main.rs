//! The doors against a real router in this process: real sockets on loopback, ports chosen by the
//! system, and no sleeps; whatever a test waits for is something the other side does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod agent;
mod http;
mod mqtt;
mod nats;
mod reload;
mod resume;
mod rumqttc;
mod syslog;
mod web;
mod world;
