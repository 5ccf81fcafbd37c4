//! The doors: one folder for each protocol.
//!
//! A door maps its protocol to tags, events and selectors, and nothing else. Who a client is,
//! [`crate::admission`] says; what becomes of its events, [`crate::upstream`].
//!
//! | door | for |
//! |---|---|
//! | [`http`] | `POST /events`: plain events and CloudEvents |
//! | [`mqtt`] | MQTT 5 and 3.1.1 |
//! | [`nats`] | NATS' core protocol |
//! | [`syslog`] | syslog over UDP, TCP and TLS |
//! | [`web`] | `GET /events`: server-sent events and WebSockets; the page at `/` |
//!
//! [`naming`] is what doors with names of messages share: subjects and topics as tags.

pub mod http;
pub mod mqtt;
pub mod naming;
pub mod nats;
pub mod syslog;
pub mod web;
