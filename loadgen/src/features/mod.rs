//! Presets that judge one feature each, on routers of their own: what it promises is measured and
//! verified, and every event is accounted for.
//!
//! | module | what it asks |
//! |---|---|
//! | `failover` | how soon the receivers of a killed router have events again, and what noticing costs |
//! | `forwarding` | whether each receiver of a ring of clusters has each event once, and nothing goes round |
//! | `groups` | how soon the next level takes over, and whether each event is done by one member |
//! | `quench` | what is saved when nobody wants most of what is published, and whether anything is missed |
//! | `rebalance` | whether routers are even after one call, how long that takes, and whether anything is missed |
//! | `requests` | whether every request has its reply, and what each takes at routers while it waits |
//! | `rolling` | whether receivers notice that routers are restarted in order, one behind the other, under load |
//! | `standby` | whether every number comes once when the holder of a set is killed, and after what pause |
//!
//! What they share: `stage` (routers, folder), `report` (JSON, summary, verdict), `check` (what
//! must hold), `spread` (percentiles), `streams` (what came of numbered events), `crowd` and `ear`
//! (receivers of beats), `error`.

mod check;
mod clients;
mod crowd;
mod ear;
mod error;
pub mod failover;
pub mod forwarding;
pub mod groups;
pub mod quench;
pub mod rebalance;
mod report;
pub mod requests;
pub mod rolling;
mod spread;
mod stage;
pub mod standby;
mod streams;

pub use check::Check;
pub use error::FeatureError;
pub use report::{Figures, Report, Verdict};
pub use spread::Spread;
pub use streams::{Came, Streams};
