//! `millrace check`: one line and an exit code for monitoring systems, as plugins of Nagios,
//! Icinga, Checkmk and Sensu have them.
//!
//! | module | what it is |
//! |---|---|
//! | `args` | the command line |
//! | `range` | ranges as the plugin guidelines have them, and how bad a value is |
//! | `figures` | what is looked at, and when it is bad unless the command line says otherwise |
//! | `verdict` | from two looks at each router to one state |
//! | `report` | the line, its performance data, and the same as JSON |
//! | `run` | the looks |

mod args;
mod figures;
mod range;
mod report;
mod run;
mod verdict;

pub(crate) use args::Check;
pub(crate) use run::run;
