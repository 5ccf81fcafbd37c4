//! The outputs of control, for its driver.

use millrace_proto::mesh::PeerHello;

use crate::message::{CoreIndex, DialId, ToCore};

/// A task for the driver of control.
#[derive(Debug)]
pub enum ControlOutput {
    /// Give this to a core, behind everything given to it before.
    ToCore {
        /// The core.
        core: CoreIndex,
        /// The message.
        message: ToCore,
    },
    /// Resolve `target`, begin a connection on the core, and give the core [`ToCore::LaneDialled`]
    /// with this hello; or say [`Control::dial_failed`](super::Control::dial_failed).
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// `host:port`.
        target: String,
        /// The core that holds the connection.
        core: CoreIndex,
        /// Number of the lane.
        lane: u16,
        /// Goes into the destination connection id, which steers to the peer's core `shard % its
        /// cores`.
        shard: u16,
        /// What the core says when connected.
        hello: PeerHello,
    },
}
