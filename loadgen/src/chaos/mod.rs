//! Chaos on real processes: routers that are killed, stopped and restarted, publishers that are
//! killed, and a network that loses, delays, doubles, reorders and damages datagrams. What was
//! confirmed is compared with what receivers got.
//!
//! ```text
//! publisher processes ─► proxy ─► router processes ─► proxy ─► receivers (this process)
//!   on spools              ▲        │      ▲                        │
//!      │                   └────────┘      │                        │
//!      │ what ended how              faults by schedule             │ what came
//!      └──────────────────────► judge ◄─────────────────────────────┘
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | sizes, times, who wants what |
//! | `schedule` | which fault when, from the seed |
//! | `proxy` | the bad network |
//! | `process` | routers and publishers as processes, and what faults do to them |
//! | `publisher`, `receivers` | the clients, on the public library |
//! | `set` | the members of a standby set |
//! | `said`, `note` | what processes and receivers tell the run |
//! | `judge` | what was confirmed against what came |
//! | `run` | a run from start to end, within its time |
//! | `report` | JSON and summary |
//!
//! `schedule`, `proxy/fate`, `said` and `judge` are pure.

mod judge;
mod note;
mod process;
mod proxy;
mod publisher;
mod receivers;
mod report;
mod run;
mod said;
mod schedule;
mod set;
mod settings;
mod watch;

pub use crate::child::end_with_run;
pub use judge::Judged;
pub(crate) use proxy::Proxy;
pub use proxy::{Share, ShareError, Treated, Weather};
pub use publisher::{PublisherPart, publish};
pub use report::{Faults, Happened, Report, SCHEMA, Verdict};
pub use run::{AFTER, ChaosError, chaos};
pub use schedule::{Fault, FaultKind, PUBLISHER_KILLS_MIN, schedule};
pub(crate) use settings::addresses;
pub use settings::{ChaosSettings, Confirm, With};
