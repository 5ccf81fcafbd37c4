//! The core's steps of its [barriers](super::barrier): asks lanes, answers siblings, and writes
//! marks to receivers.

use millrace_proto::data::Mark;
use millrace_proto::mesh::MarkRequest;

use super::barrier::{IncomingLane, LaneAnswer, Passed};
use super::connection::Connection;
use super::machine::Core;
use super::path::Path;
use super::receiver::Outlet;
use crate::time::Time;
use crate::transport::{ConnKey, Transport};

impl Core {
    /// Begins barriers that are due, and goes on with those under way.
    #[cold]
    pub(super) fn settle_barriers(&mut self, now: Time, transport: &mut dyn Transport) {
        let due = self.path.clients.barriers.take_due();
        if !due.is_empty() {
            let lanes = self.incoming_lanes();
            for (core, round) in due {
                let number = self.path.clients.barriers.gather(core, round, &lanes);
                for lane in lanes.iter().filter(|lane| lane.answer == LaneAnswer::Mark) {
                    self.drive_lane(now, transport, lane.conn, |lane, turn| {
                        lane.say(turn, |out| MarkRequest { number }.encode(out))
                    });
                }
            }
        }
        for (core, mark) in self.path.clients.barriers.take_gathered() {
            self.path.locations.mark_to_sibling(core, mark);
        }
        for passed in self.path.clients.barriers.take_passed() {
            self.path.write_mark(passed);
        }
    }

    /// The lanes on which runs come to this core, or may.
    fn incoming_lanes(&self) -> Vec<IncomingLane> {
        let lane = |conn: &ConnKey| match self.connections.get(conn) {
            Some(Connection::Lane(lane)) => lane.incoming(),
            _ => None,
        };
        self.lanes.iter().filter_map(lane).collect()
    }
}

impl Path {
    /// Writes a mark to a receiver, behind everything that waits for it: its queue, runs whose
    /// payloads are to be scanned, and runs that wait for a replay.
    fn write_mark(&mut self, passed: Passed) {
        let Passed { slot, asker, is_partial } = passed;
        let Some((receiver, deliveries)) = self.receivers.parts_mut(slot) else { return };
        let is_asker = receiver.conn == asker.conn && receiver.number == asker.receiver;
        if !is_asker || receiver.is_closing() {
            return;
        }
        let waits = receiver.selectors.desk.as_ref().is_some_and(|desk| desk.is_waiting());
        if waits || receiver.joins.is_some() {
            return self.clients.barriers.put_back(passed);
        }
        let mark = Mark { number: asker.number, partial: is_partial, receivers: Vec::new() };
        match &mut receiver.outlet {
            Outlet::Own(stream) => receiver.queue.push_mark(mark, stream),
            &mut Outlet::Shared(at) => {
                receiver.queue.keep_mark(mark);
                if let Some(delivery) = deliveries.get_mut(at) {
                    receiver.line_up(slot, delivery);
                }
            }
        }
        self.receivers.mark(slot);
    }
}
