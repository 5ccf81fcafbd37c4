//! Growth: what an event costs routers when there is more of everything else.
//!
//! Each case has two sides that differ in one number, at the same rate and batch size. Rounds are
//! interleaved (base, grown, base, …), so that what disturbs the machine disturbs both; what counts
//! is the median of the rounds' ratios. Routers are processes of their own, and all their CPU time
//! counts: cores, control, and what reads selectors.

mod case;
mod measure;
mod report;
mod sample;

pub use self::case::What;
pub use self::measure::growth;
pub use self::report::{GrowthReport, Row, SCHEMA};
pub use self::sample::{GrowthOptions, Sample};
