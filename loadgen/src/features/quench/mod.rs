//! Quench: 100,000 emitters of which one in a hundred is wanted. What is saved, what silence costs,
//! and whether whoever subscribes misses anything.
//!
//! ```text
//! sent       quench off: everything crosses to the routers
//! quenched   the same again: what nobody wants stays where it is made
//! unwanted   what nobody wants alone: it may cost what silence costs
//! silent     nothing at all
//! switches   somebody wants one more emitter, and gets its next event
//! ```

mod emitters;
mod figures;
mod listener;
mod run;
mod settings;

pub use figures::{QuenchFigures, Stretch};
pub use run::quench;
pub use settings::QuenchSettings;
