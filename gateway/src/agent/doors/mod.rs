//! The doors of an agent: for programs on its host only.
//!
//! | file | what it has |
//! |---|---|
//! | `unix` | the unix socket, whose clients are known by their user |
//! | `routes` | which request is answered by what, on the socket and on loopback |
//! | `local` | who a local client is |
//! | `publish` | `POST /events` |
//! | `answer` | what became of events, as an answer |
//! | `named` | `GET /events?name=…`: subscriptions that go on where they were |
//! | `syslog` | where the syslog door puts its events |
//! | `status` | `/status`, `/metrics` and probes |

mod answer;
mod local;
mod named;
mod publish;
mod routes;
mod status;
mod syslog;
mod unix;

pub(super) use routes::{serve_admin, serve_http, serve_unix};
pub(super) use syslog::Spooling;
pub(super) use unix::{Socket, bind, check};
