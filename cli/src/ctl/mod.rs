//! `millrace ctl`: looks at routers that run, and changes them, through their admin pages.
//!
//! | module | what it is |
//! |---|---|
//! | `args`, `run` | the command line, and what it leads to |
//! | `answers` | what several routers answered: objects for programs, tables for people, failures for both |
//! | `table` | columns that fit a screen |
//! | `status`, `sessions`, `routes`, `groups`, `forwards`, `names`, `standby`, `rules`, `why` | what is looked at |
//! | `change`, `rebalance` | reload and drain; clients that move |

mod answers;
mod args;
mod change;
mod forwards;
mod groups;
mod names;
mod rebalance;
mod routes;
mod rules;
mod run;
mod sessions;
mod standby;
mod status;
pub(crate) mod table;
mod why;

pub(crate) use args::Ctl;
pub(crate) use run::run;
pub(crate) use table::cut;
