//! Looks again at the tag sets that nobody wanted, when somebody may.

use super::machine::Core;
use super::timers::Timer;
use crate::message::PeerIndex;
use crate::time::Time;
use crate::transport::Transport;

/// Tag sets that one turn looks at: a millisecond or less.
const SETS_PER_TURN: usize = 4096;

impl Core {
    /// The core has a directory of this version, with new interest of these peers.
    pub(super) fn directory_changed(&mut self, version: u64, joined: &[PeerIndex]) {
        let (position, public) = (self.path.position(), self.path.public_position());
        self.path.locations.tell_joined(joined, public);
        if let Some(applied) = self.path.clients.demand.directory(version, position) {
            self.mail.tell(applied);
        }
    }

    /// Goes on with the round that is due, as [`demand`](super::demand) says.
    pub(super) fn tend_demand(&mut self, now: Time, transport: &mut dyn Transport) {
        let mut budget = SETS_PER_TURN;
        while budget > 0
            && let Some(conn) = self.path.clients.demand.next(now)
        {
            let mut sets = 1;
            self.drive_client(now, transport, conn, |client, turn| {
                sets += client.look_again(turn);
                Ok(())
            });
            budget = budget.saturating_sub(sets);
        }
        let demand = &mut self.path.clients.demand;
        if let Some(applied) = demand.looked(now) {
            self.mail.tell(applied);
        }
        while let Some((settled, left_out)) = self.path.clients.demand.settle(now) {
            self.path.metrics.quench_left_out += left_out;
            settled.into_iter().for_each(|settled| self.mail.tell(settled));
        }
        while let Some(message) = self.path.clients.demand.next_released() {
            self.handle_message(now, transport, message);
        }
        if let Some(due) = self.path.clients.demand.deadline() {
            self.timers.set(due, Timer::Demand);
        }
    }
}
