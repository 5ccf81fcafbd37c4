//! The syslog door: UDP, TCP and TLS; RFC 5424 and RFC 3164, framed as RFC 6587 says.
//!
//! | of a message | becomes |
//! |---|---|
//! | PRI | tags `severity` and `facility`, by name: `err`, `daemon` |
//! | HOSTNAME, APP-NAME or TAG, PROCID, MSGID | tags `host`, `app`, `procid`, `msgid` |
//! | structured data `[id@enterprise name="value"]` | tags `id.name` |
//! | TIMESTAMP | the event's time; the door's `tz` where it has no zone |
//! | MSG | the payload |
//!
//! What is longer than 64 KiB is cut, or skipped where its frame says how long it is; what does not
//! fit into tags is left out; either shows as the tag `truncated=1`.
//!
//! TCP and TLS read no more of a client while the gateway has no room, so that its own queue holds
//! what comes. A datagram for which there is no room is dropped and counted.
//!
//! | file | what it has |
//! |---|---|
//! | [`framing`] | a stream of bytes to messages |
//! | [`message`] | what a message says |
//! | [`read`](mod@read) | reads either format |
//! | [`rfc5424`], [`rfc3164`] | the formats |
//! | [`priority`] | severities and facilities |
//! | [`event`](mod@event) | a message to tags and an event |
//! | `serve` | sockets |

pub mod event;
pub mod framing;
pub mod message;
pub mod priority;
pub mod read;
pub mod rfc3164;
pub mod rfc5424;
mod serve;

pub(crate) use serve::{Sink, Syslog, bind_udp, serve_tcp, serve_udp};
