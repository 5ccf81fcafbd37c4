//! Driving one system with one load: stretches, and what is measured in them.
//!
//! Every system has a [`Link`]: connections of one thread that publish what the
//! [`Load`](super::load::Load) allows and check what arrives. The stretches are the same for all.

mod error;
mod events;
pub(crate) mod library;
mod link;
pub(crate) mod nats;
pub(crate) mod poll;
pub(crate) mod quic;
mod quic_app;
pub(crate) mod requests;
mod stretch;

pub use error::DriveError;
pub use link::Link;
pub use stretch::{Round, Stretches, drive};
