//! The canary: a client session of the router itself, whose events cross every link and return.
//!
//! ```text
//!  this router                                   every router, this one included
//!  session ── probe ──► core ── lane ──► core ──► session
//!     ▲                                              │
//!     └──────── core ◄── lane ◄── core ◄─── echo ────┘
//! ```
//!
//! It is the client library on a QUIC connection to the router's own address, with the router's own
//! certificate: what it measures is what clients meet, handshake, credit and queues included. Once
//! in a while it publishes a *probe*, which the canaries of all routers receive; each answers with
//! an *echo* to the one that asked. The time between is the round trip by that router: through both
//! directions of the link, and through this router alone for its own echo.
//!
//! Tags of probes and echoes have the key `millrace/internal`, so that only selectors that require
//! it match. They take turns through 16 tag sets, because a tag set has one owner and an
//! owner one lane: all cores and lanes are crossed after a few.
//!
//! | file | what |
//! |---|---|
//! | `event.rs` | probes and echoes as events |
//! | `record.rs` | what is under way, and round trips by router |
//! | `session.rs` | the session, on a thread of its own |

mod event;
mod record;
mod session;

pub(crate) use event::has_tag;
pub(crate) use record::{CanaryMetrics, Record};
pub(crate) use session::{Canary, Flight};
