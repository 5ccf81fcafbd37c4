//! `millrace spool`: looks after a spool's folder, and sends what is pending in it.

mod command;
mod folder;
mod replay;

pub(crate) use command::{SpoolArgs, run};
