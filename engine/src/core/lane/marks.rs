//! Marks on a lane: the peer asks for one behind the runs that this core has routed for it.

use millrace_proto::data::Mark;
use millrace_proto::feature;

use super::session::LaneSession;
use crate::core::barrier::IncomingLane;
use crate::core::turn::Turn;

impl LaneSession {
    /// This lane, if the peer's runs come on it.
    pub(in crate::core) fn incoming(&self) -> Option<IncomingLane> {
        let is_over = self.data.as_ref().is_some_and(|data| data.finished);
        let is_incoming = self.accepted.is_some_and(|accepted| accepted.incoming) && !is_over;
        let has_marks = self.features.contains(feature::MOVES);
        is_incoming.then_some(IncomingLane { conn: self.conn, has_marks })
    }

    /// The peer asks for a mark. Before this core's stream has begun, the mark waits for that.
    pub(super) fn mark_requested(&mut self, turn: &mut Turn<'_>, number: u64) {
        self.mark_due = Some(number);
        self.write_mark(turn);
    }

    /// Puts the mark that is due behind the runs for the peer.
    pub(super) fn write_mark(&mut self, turn: &mut Turn<'_>) {
        let conn = self.conn;
        let lane = self.accepted.and_then(|accepted| turn.path.locations.peer_on(accepted.peer, conn));
        if let Some(lane) = lane
            && let Some(number) = self.mark_due.take()
        {
            lane.outlet.push_mark(Mark { number, ..Mark::default() });
        }
    }
}
