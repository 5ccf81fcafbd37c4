//! `millrace top`: the cluster on a screen that stays open.
//!
//! | module | what it is |
//! |---|---|
//! | `args`, `run` | the command line; a screen, or one look |
//! | `gather` | asks all routers again and again; one that has died keeps its last answer |
//! | `model` | from two rounds of answers to rates and rows |
//! | `screen` | the terminal: keys, and what they change |
//! | `draw`, `panels`, `theme` | what is drawn where, and in which colours |
//! | `once` | one look as JSON or as text |

mod args;
mod draw;
mod gather;
mod model;
mod once;
mod panels;
mod run;
mod screen;
mod theme;

pub(crate) use args::Top;
pub(crate) use run::run;
