//! `millrace tap`: what flows, as rates and samples, with a summary at the end.
//!
//! | module | what it is |
//! |---|---|
//! | `args` | the command line |
//! | `run` | the subscription, and when to print what |
//! | `tally` | what has come: bounded, whatever the events are |
//! | `print` | lines for people, in colour on a terminal, and objects for programs |

mod args;
mod print;
mod run;
mod tally;

pub(crate) use args::Tap;
pub(crate) use run::run;
