//! `millrace certs`: certificates for a cluster that has no authority of its own.
//!
//! | module | what it is |
//! |---|---|
//! | [`args`] | the command line |
//! | `folder` | the files of an authority in their folder: read, and written without harm to what is there |
//! | `make` | the three commands, and what they say |
//!
//! Nothing here talks to a router.

mod args;
mod folder;
mod make;

pub(crate) use args::Certs;
pub(crate) use make::run;
