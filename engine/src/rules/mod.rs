//! Tag rules at the owner: what a core spends on them, and what it knows of them.
//!
//! [`millrace_proto::rule`] is the language. This room bounds it:
//!
//! ```text
//! tags of a run ──► Candidates, once per tag set ─┬─ by tags alone: part of the route, no cost per event
//!                                                 └─ by payload: Ruler::look, event by event, within the
//!                                                    turn's budget ─► past it the event passes untagged
//! ```
//!
//! The automata of all patterns are combined where settings are read, off the cores' threads
//! ([`RuleSet`]). A core looks at the beginning of a payload alone, and takes at most
//! [`RuleLimits::work_per_turn`] steps in a turn; one event may exceed what is left, and later
//! turns pay for it. Captured values are counted, so that no payload can make more than so many tag
//! sets.

mod distinct;
mod picture;
mod ruler;
mod set;

pub use picture::{LastFailure, RulePicture};
pub use ruler::Ruler;
pub use set::{RuleLimits, RuleSet};
