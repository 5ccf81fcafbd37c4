//! The door for web clients: `GET /events` as server-sent events, as lines of JSON or, when the
//! request asks for it, as a WebSocket; and the page at `/`, which shows live events.
//!
//! A slow browser holds up nobody: its mailbox drops the oldest events, and a `gap` stands where
//! they were.
//!
//! | file | what it has |
//! |---|---|
//! | `routes` | which request is answered by what |
//! | [`json`] | an event as JSON, the same in both protocols |
//! | `form` | how a stream is written: server-sent events, or lines of JSON |
//! | `sse` | a stream of events as the answer to a request |
//! | [`frames`] | the frames of the WebSocket protocol `millrace.v1` |
//! | `websocket` | a WebSocket's session |
//! | `subscriptions` | what one WebSocket is subscribed to |
//! | `resumed` | a subscription that goes on where its client was |
//! | `page` | the page and its files |

pub(crate) mod form;
pub mod frames;
pub mod json;
mod page;
mod resumed;
mod routes;
pub(crate) mod sse;
mod subscriptions;
mod websocket;

pub(crate) use routes::routes;
