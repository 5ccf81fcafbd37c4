//! A simulated client: the client library's sessions on one connection, and a program that uses
//! them.
//!
//! A client has a publisher or receivers. Which router it dials, after which pause, and when it
//! leaves is decided by the client library's attachment, as for its users. Each receiver's next
//! session is another one for the checkers, unless it has moved there from a router that asked it
//! to leave: then nothing may be missing, and its session goes on.
//!
//! Publishers have all levels. Without one, events that were on their way when a connection was
//! lost are unknown. With one they go out again, and are held in memory or in a spool, whose disk
//! tears writes when the process ends, and forgets what was not synced when its host loses power.

mod acks;
mod attaching;
mod disk;
mod held;
mod link;
mod machine;
mod member;
mod moves;
mod moving;
mod number;
mod of_set;
mod part;
mod process;
mod programs;
mod published;
mod publisher;
mod reading;
mod receivers;
mod state;
mod surroundings;
mod told;
mod wanted;

pub use self::acks::AckHabit;
pub use self::disk::DiskSetup;
pub use self::publisher::{Publisher, PublisherSetup};
pub use self::reading::PastWish;
pub use self::receivers::{ReceiverSetup, Receivers, ReceivingClient};
pub use self::state::{Client, Role};
pub use self::surroundings::Surroundings;
