//! Who publishes on this host, and the spool of each.
//!
//! | door | the producer |
//! |---|---|
//! | unix socket | `uid-1000`: the user of the peer's process, as the kernel says (`SO_PEERCRED`) |
//! | HTTP on loopback | `http`, or `http-NAME` with the header `Millrace-Producer: NAME` |
//! | syslog on loopback | `syslog` |
//! | the agent itself | `agent` |
//!
//! A producer has a folder, a spool in it, and a publisher id of its own. It has a second spool for
//! events whose sender waits for *delivered*: a spool's events have one confirm level. At most
//! [`PRODUCERS_MAX`] spools are open; those of users and names that come later share the one of
//! their door, so that nobody is turned away and nobody can fill the disk with names.
//!
//! All of them publish over one connection to a router ([`Bundle`](millrace_client::Bundle)): their
//! ids follow from one secret of the host, and the number of each.
//!
//! All spools share one bound of bytes. Where a producer has no room and nothing of its own to
//! shed, the producer that holds most gives way.
//!
//! | file | what it has |
//! |---|---|
//! | `caller` | [`Caller`]: who a client of a door is |
//! | `producer` | [`Producer`]: one spool, and who waits for outcomes of its events |
//! | `registry` | [`Producers`]: finds or opens the producer of a caller |
//! | `folders` | the names of their folders |
//! | `secret` | what their publisher ids follow from |
//! | `shedding` | tells upstream what was shed |

mod caller;
mod folders;
mod producer;
mod registry;
mod secret;
mod shedding;

pub use caller::{Caller, CallerError};
pub use producer::{NotTaken, Producer, ProducerStats, Waiting};
pub use registry::{PRODUCERS_MAX, Producers, ProducersError};
pub(super) use shedding::{announce, announce_all};
