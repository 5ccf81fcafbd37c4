//! Servers that this program plays itself, each in a process of its own: a Millrace router, and the
//! relays that show what the transport alone can carry.

mod common;
mod millrace;
mod play;
mod relay;
mod served;
mod stock;

pub use self::common::ServeError;
pub use self::play::serve;
pub use self::served::Served;
