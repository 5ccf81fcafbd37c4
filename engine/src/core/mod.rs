//! One core of a router: the sessions of its connections, and the shards that it owns.
//!
//! The shell feeds a core what happens on its connections, what its siblings and control send, and
//! the time; at the end of each turn it calls [`Core::turn`], which writes what has gathered.
//! Afterwards it takes the mail: [`Core::poll_output`] for control and the reader of selectors,
//! [`Core::next_to_sibling`] and [`Core::next_batch`] for siblings.
//!
//! ```text
//! publish stream ─┐                            ┌─ receiver ─ stream
//! lane ───────────┼─ path: reader ─ owner ─────┼─ lane ───── stream      outlets
//! sibling batch ──┘                            └─ sibling ── batch
//! ```
//!
//! Invariants: no input blocks; a run is copied at most once per location; nothing is dropped
//! without a count in [`CoreMetrics`] and, where a receiver would have got it, a gap in that
//! receiver's stream.
//!
//! | file | what |
//! |---|---|
//! | `machine.rs` | the core as the shell sees it |
//! | `connection.rs` | a connection: a client's or a lane |
//! | `drive.rs`, `turn.rs` | lend a session what it needs for one call |
//! | `agenda.rs`, `backlog.rs` | streams that a turn leaves unread, and its budget |
//! | `pacing.rs`, `holds.rs`, `peer_holds.rs` | when a publisher waits for a receiver, on this core, on another, behind a peer |
//! | `stalls.rs` | what receivers cost that take nothing |
//! | `confirms.rs` | tells publishers, siblings and peers how runs ended |
//! | `timers.rs` | when the core acts without being called |
//! | `mail.rs` | messages to control, and subscriptions that wait for an answer |
//! | `standing.rs`, `config.rs` | the router's standing; settings and limits of the core |
//! | `client/`, `lane/`, `sibling.rs` | sessions, and batches of siblings |
//! | `grouping.rs`, `members.rs`, `group_run.rs` | groups: what control says of them, the members of this core, what is kept for them |
//! | `forwarding.rs` | what the core has for links to other clusters |
//! | `names.rs`, `naming.rs` | who holds which name, and what becomes of events that name recipients |
//! | `path/`, `outlet/` | the path of a run, and the queues and streams at its end |
//! | `receiver.rs`, `receivers.rs`, `selectors.rs`, `slot.rs` | receivers |
//! | `joins.rs`, `life.rs`, `pasts.rs`, `replays.rs` | the replays of a receiver, and the order of a router's lives in them; who asks whom for history |
//! | `files.rs`, `filing.rs` | what the core has for history files |
//! | `barrier.rs`, `barriers.rs` | when everything that was routed before a moment has arrived: marks for receivers that move |
//! | `delivery.rs` | the stream that receivers of a connection share |
//! | `turn_end.rs`, `writing.rs` | the end of a turn, and what it hands to the transport |
//! | `leaving.rs` | the end in order |
//! | `metrics.rs` | counters |
//! | `hot.rs` | a sample of which tags and shards most events have |
//! | `look.rs`, `picture.rs` | what people are told who ask about its clients |

mod account;
mod agenda;
mod allowance;
mod backlog;
mod barrier;
mod barriers;
mod client;
mod config;
mod confirms;
mod connection;
mod delivery;
mod demand;
mod drive;
mod files;
mod filing;
mod forwarding;
mod group_run;
mod grouping;
mod holds;
mod hot;
mod ids;
mod joins;
mod lane;
mod leaving;
mod life;
mod look;
mod machine;
mod mail;
mod members;
mod metrics;
mod names;
mod naming;
mod outlet;
mod pacing;
mod pasts;
mod path;
mod peer_holds;
mod picture;
mod quenching;
mod read_ahead;
mod receiver;
mod receivers;
mod replays;
mod run;
mod selectors;
mod sibling;
mod slot;
mod stalls;
mod standing;
#[cfg(test)]
mod tests;
mod timers;
mod turn;
mod turn_end;
mod writing;

pub use account::SelectorLimits;
pub use config::{
    AheadLimits, CoreConfig, CoreLimits, KeptLimits, LaneTimes, QueueLimits, ReceivedLimits, RouterAbout,
};
pub use hot::{HotPicture, HotTag};
pub use machine::Core;
pub use metrics::{CoreMetrics, DropReason, Queued};
pub use picture::{SessionOrder, SessionPicture, Sessions, Wanting, WantingReceiver, WantingSelector};
