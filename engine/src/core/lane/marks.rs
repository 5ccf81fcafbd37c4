//! Marks on a lane: each side asks for one behind the runs that the other has routed for it.

use millrace_proto::data::Mark;
use millrace_proto::feature;
use millrace_proto::mesh::MarkRequest;

use super::session::LaneSession;
use crate::core::barrier::{IncomingLane, LaneAnswer};
use crate::core::turn::{Close, Turn};

impl LaneSession {
    /// This lane, if the peer's runs come on it, or may.
    pub(in crate::core) fn incoming(&self) -> Option<IncomingLane> {
        let is_over = self.data.as_ref().is_some_and(|data| data.finished);
        let answer = match self.accepted {
            Some(accepted) if !accepted.incoming || is_over => return None,
            Some(_) if self.features.contains(feature::MOVES) => LaneAnswer::Mark,
            Some(_) => LaneAnswer::Nothing,
            None if self.is_half_open() => LaneAnswer::Unknown,
            // A peer that has dialled writes no runs before it hears this side's hello.
            None => return None,
        };
        Some(IncomingLane { conn: self.conn, answer })
    }

    /// Asks the peer for the mark that a barrier waits for since before the lane was accepted.
    pub(super) fn ask_late(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        let lane = self.incoming();
        match turn.path.clients.barriers.lane_accepted(self.conn, lane) {
            Some(number) => self.say(turn, |out| MarkRequest { number }.encode(out)),
            None => Ok(()),
        }
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
