//! A proxy for UDP between clients and routers, and between routers, that treats datagrams as a bad
//! network does.
//!
//! | module | what it holds |
//! |---|---|
//! | `fate` | what becomes of one datagram: pure, seeded |
//! | `relay` | sockets, flows, and datagrams that wait |

mod fate;
mod relay;

pub use fate::{Share, ShareError, Weather};
pub(crate) use relay::Proxy;
pub use relay::Treated;
