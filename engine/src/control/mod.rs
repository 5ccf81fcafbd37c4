//! Control: the one writer of a router's directory, and the state machine of its mesh.
//!
//! One per router, on its own thread; cores and control talk by [`message`](crate::message).
//! Sans-IO and deterministic: the same inputs at the same times give the same outputs.
//!
//! ```text
//!  cores ── ToControl ──► handle ─┐           ┌─► poll_output ──► ToCore, Dial
//!  DNS ───► set_seeds ────────────┼─► Control ┤
//!  clock ─► handle_timeout ───────┘           └─► poll_timeout
//! ```
//!
//! | file | what |
//! |---|---|
//! | `machine.rs`, `output.rs` | the state machine of control; its outputs |
//! | `config.rs` | settings and bounds |
//! | `hello.rs`, `lanes.rs`, `link.rs` | which router a peer is; lanes that come and go; the link that they form |
//! | `targets.rs`, `dial.rs` | addresses and attempts; which to dial, and when |
//! | `mesh.rs`, `peer.rs` | gossip and the state of all peers; one known router |
//! | `interest/`, `exchange.rs` | interest, and how routers exchange it |
//! | `directory.rs` | the index of all interest, which cores route by |
//! | `places.rs` | which places of peers and members in the directory are free |
//! | `cluster_links.rs`, `forwarding.rs`, `demand.rs` | what links to other clusters take; what this cluster wants of others |
//! | `owners.rs`, `ended.rs`, `lives.rs` | whose history can be asked for; whose is gone with a life of theirs |
//! | `members.rs`, `grouping.rs` | members of groups: their places, and how they are |
//! | `names.rs`, `naming.rs` | names of receivers: who claims them, and who holds them |
//! | `sets.rs` | sets of standby publishers: who holds them |
//! | `prepare.rs`, `subscribe.rs` | reads selectors; subscriptions that wait for a stage |
//! | `balance.rs`, `evening.rs` | clients of a router that has too many, which move: how many, and control's part |
//! | `standing.rs`, `trouble.rs` | whether this router has joined; trouble with its place |
//! | `notice.rs`, `notify.rs` | notices for people |
//! | `status.rs`, `routes.rs`, `metrics.rs` | what `/status` and `/metrics` read |

mod balance;
mod cluster_links;
mod config;
mod demand;
mod dial;
mod directory;
mod ended;
mod evening;
mod exchange;
mod forwarding;
mod grouping;
mod hello;
mod interest;
mod lanes;
mod link;
mod lives;
mod machine;
mod members;
mod mesh;
mod metrics;
mod names;
mod naming;
mod notice;
mod notify;
mod output;
mod owners;
mod peer;
mod places;
mod prepare;
mod routes;
mod sets;
mod standing;
mod status;
mod subscribe;
mod targets;
#[cfg(test)]
mod tests;
mod trouble;
mod unheard;

pub use balance::Rebalance;
pub use config::{
    ADDRESS_BYTES_MAX, ControlConfig, INTRODUCED_MAX, MESH_FRAME_BYTES, PEERS_MAX, SNAPSHOT_PAUSE,
    TARGETS_MAX, WAITING_MAX,
};
pub use machine::Control;
pub use members::MemberStatus;
pub use metrics::ControlMetrics;
pub use notice::{Notice, Refusal, SAY_EVERY, Said, Suspicion};
pub use output::ControlOutput;
pub use prepare::{PatternBook, cover, prepare};
pub use routes::{Route, Routes, RoutesQuery, Subscriber};
pub use status::{PeerState, PeerStatus, Status};
pub use trouble::Trouble;
