//! Failover: a router is killed, and its receivers find another one by themselves.
//!
//! ```text
//! idle      all receivers are on the first router, and nothing is published: what they cost it
//! running   beats come, published at another router
//! killed    the first router is killed (SIGKILL): how long until each receiver has a beat again
//! ```

mod figures;
mod run;
mod settings;

pub use figures::FailoverFigures;
pub use run::failover;
pub use settings::FailoverSettings;
