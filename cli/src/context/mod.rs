//! `millrace context`: sets of connection options under names, and the one that a command uses.
//!
//! | module | what it is |
//! |---|---|
//! | `args` | the command line |
//! | `name` | names of contexts |
//! | `settings` | what a context says, and how its file says it |
//! | `folder` | the files: found, read, and written whole |
//! | `guard` | files that others may write, which are refused |
//! | `given` | what the command line and the environment say |
//! | `choice` | which context a command uses |
//! | `apply` | what it takes from there |
//! | `commands`, `save` | list, show, use and remove; save |
//!
//! Whoever can write a context's file sends this user's events elsewhere. Tokens are never in one.

mod apply;
mod args;
mod choice;
mod commands;
mod folder;
mod given;
mod guard;
mod name;
mod save;
mod settings;

pub(crate) use apply::Reaches;
pub(crate) use args::ContextArgs;
pub(crate) use choice::choose;
pub(crate) use commands::run;
pub(crate) use given::Given;
pub(crate) use name::Choice;
