//! `millrace rules`: tries tag rules on events before routers have them.
//!
//! | module | what it is |
//! |---|---|
//! | `args` | the command line |
//! | `file` | rules in a router's configuration file |
//! | `event` | events as lines of text |
//! | `test` | applies the rules, and prints both tag sets |

mod args;
mod event;
mod file;
mod test;

pub(crate) use args::Rules;
pub(crate) use test::run;
