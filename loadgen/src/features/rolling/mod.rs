//! Rolling: routers are restarted in order, one behind the other, under load, and nobody is to
//! notice.
//!
//! ```text
//! before    all routers are there: what latency is
//! rolling   each router is asked to end (SIGTERM), and starts again where it was, once it has ended
//! after     all are back
//! ```

mod figures;
mod load;
mod run;
mod settings;
mod signs;
mod stage;

pub use figures::RollingFigures;
pub use run::rolling;
pub use settings::RollingSettings;
