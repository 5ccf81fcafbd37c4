//! The daemon of a host, `millrace-agent`: local programs publish to it and are done; it keeps
//! their events on disk until the cluster has them.
//!
//! ```text
//! curl, scripts ─► unix socket ┐          ┌ producer uid-0:    spool ── publisher ┐
//! curl, scripts ─► 127.0.0.1   ├ stamp ───┤ producer http:     spool ── publisher ├─► routers
//! logger, rsyslog ─► syslog    ┘          └ producer syslog:   spool ── publisher ┘
//! ```
//!
//! An event is answered 202 once it is in the spool of its *producer*: whoever sent it, as far as
//! the host itself can tell ([`producers`]). A producer has a publisher id of its own, so that its
//! seqs have no holes but those that the agent tells. What a full spool sheds is counted for each
//! producer, and told upstream as one event `millrace=agent, what=shed`.
//!
//! The agent says where events come from: it sets the tag `fqdn`, and the tags of its settings, in
//! place of what a producer says there ([`stamp`]).
//!
//! | module | what it is |
//! |---|---|
//! | [`settings`] | what the agent is told |
//! | [`stamp`] | what the agent sets on events |
//! | [`producers`] | who publishes, and the spool of each |
//! | `cursors` | how far named subscriptions have come |
//! | `doors` | the unix socket, loopback, syslog, status and metrics |
//! | `daemon` | starts and stops it all |
//! | [`reload`] | settings read anew while it runs |

mod cursors;
mod daemon;
mod doors;
pub mod producers;
pub mod reload;
mod room;
pub mod settings;
pub mod stamp;

pub use daemon::{Agent, AgentAddresses, AgentError, problems, taken};
