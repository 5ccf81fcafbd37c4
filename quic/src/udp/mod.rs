//! UDP sockets of one core: bound, polled, read and written in batches.
//!
//! | module | what it is |
//! |---|---|
//! | `sockets` | all sockets of a core, and which of them can be read or written |
//! | `socket` | one socket, and the datagrams that the kernel did not take |
//! | `outbox` | the datagrams of a turn, before they leave |
//! | `receive` | the buffers that datagrams are read into |

mod outbox;
mod receive;
mod socket;
mod sockets;

pub(crate) use receive::Receiver;
pub(crate) use sockets::Sockets;
