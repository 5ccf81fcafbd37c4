//! What a router says to who forwards to it from another cluster.

use millrace_proto::control::{ControlFrame, Demand, Outcome, Received};

/// A frame about publishers whose runs are passed on, or about what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarding {
    /// How far the router has read the runs of a publisher, by its number on the stream.
    Received(Received),
    /// How events of a publisher ended.
    Outcome(Outcome),
    /// What the far cluster lets in, and wants.
    Demand(Demand),
}

/// What a frame says to who forwards; none for a frame that every client reads alike.
pub(super) fn forwarding(frame: &ControlFrame) -> Option<Forwarding> {
    match frame {
        ControlFrame::Received(received) => Some(Forwarding::Received(received.clone())),
        ControlFrame::Outcome(outcome) => Some(Forwarding::Outcome(outcome.clone())),
        ControlFrame::Demand(demand) => Some(Forwarding::Demand(demand.clone())),
        _ => None,
    }
}
