//! Rebalance: one of two routers has all clients, and one call makes the two even.
//!
//! ```text
//! begun     all receivers are on the first router, none on the second; beats come
//! called    the first router is asked to have half of its clients go to the second within a time,
//!           as `millrace ctl rebalance` asks it
//! even      both have half, within 5 %: how long that took
//! watched   nobody moves again, and no receiver has missed a beat
//! ```

mod figures;
mod run;
mod settings;

pub use figures::RebalanceFigures;
pub use run::rebalance;
pub use settings::RebalanceSettings;
