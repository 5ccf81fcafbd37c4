//! A simulated client: the client library's sessions on one connection, and a program that uses
//! them.
//!
//! A client has a publisher or receivers. Which router it dials, after which pause, and when it
//! leaves is decided by the client library's attachment, as for its users. Events that were on
//! their way when a connection was lost are unknown, and each receiver's next session is another
//! one for the checkers.

mod attaching;
mod link;
mod machine;
mod number;
mod publisher;
mod receivers;
mod state;
mod surroundings;

pub use self::publisher::{Publisher, PublisherSetup};
pub use self::receivers::{ReceiverSetup, Receivers};
pub use self::state::{Client, Role};
pub use self::surroundings::Surroundings;
