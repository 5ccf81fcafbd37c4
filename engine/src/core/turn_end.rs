//! The end of a core's turn: it reads streams that it left unread, handles timers that are due, and
//! writes what has gathered.

use millrace_proto::CloseCode;

use super::agenda::{FRAMES_PER_CLIENT, FRAMES_PER_TURN};
use super::client::ClientSession;
use super::lane::LaneSession;
use super::machine::Core;
use super::path::CURSORS_EVERY;
use super::standing::Ending;
use super::timers::Timer;
use super::turn::Close;
use super::writing;
use crate::time::Time;
use crate::transport::{ConnKey, Transport};

impl Core {
    /// Ends a turn: reads streams that were left unread, handles timers that are due, and writes
    /// what has gathered.
    pub fn turn(&mut self, now: Time, transport: &mut dyn Transport) {
        match self.ending {
            Ending::NotBegun => {}
            Ending::Told => self.ending = Ending::Over,
            Ending::Over => self.end_clients(now, transport),
        }
        if !self.agenda.paused.is_empty() {
            let (_, turn) = self.lend(now, transport);
            if turn.is_pressed() {
                turn.path.metrics.paused_turns += 1;
            } else {
                turn.agenda.unread.append(&mut turn.agenda.paused);
            }
        }
        if !self.agenda.paced.is_empty() {
            for (conn, stream, until) in
                self.agenda.paced.release(now, &self.path.receivers, &self.path.pacing.holds)
            {
                self.timers.cancel(until, Timer::Paced(conn));
                self.agenda.unread.insert((conn, stream));
            }
        }
        self.path.lookups_begin(now);
        if !self.agenda.late.is_empty() && self.path.pacing.new_tag_sets.is_ready() {
            self.agenda.unread.append(&mut self.agenda.late);
        }
        self.read_batches_left();
        for (conn, stream) in self.agenda.take_unread() {
            self.readable(now, transport, conn, stream);
        }
        self.read_backlog(now, transport);
        self.fire_timers(now, transport);
        self.path.scan_waiting();
        if self.path.has_rules() {
            self.path.end_ruled_turn(now);
        }
        if self.path.has_group_work() {
            self.settle_groups(now, transport);
        }
        self.path.replay(now);
        if self.path.positions.replays.has_mail() {
            self.pass_history(now, transport);
        }
        if self.path.clients.demand.has_work(now) {
            self.tend_demand(now, transport);
        }
        if !self.path.clients.barriers.is_idle() {
            self.settle_barriers(now, transport);
        }
        self.path.receivers.mark_woken();
        let dirty = self.path.receivers.take_dirty();
        for window in dirty.chunks(writing::WRITE_WINDOW) {
            let receivers = window.iter().filter_map(|&slot| self.path.receivers.get(slot));
            for (conn, stream) in receivers.filter_map(|receiver| Some((receiver.conn, receiver.stream()?))) {
                transport.prefetch(conn, stream);
            }
            for &slot in window {
                let (_, mut turn) = self.lend(now, transport);
                let done = writing::write_dirty(&mut turn, slot);
                self.settle_written(now, transport, slot, done);
            }
        }
        self.write_deliveries(now, transport);
        writing::write_peers(&mut self.path, transport);
        if let Some(due) = self.path.pacing.holds.settle(now, &self.path.receivers) {
            self.timers.set(due, Timer::Holds);
        }
        for (conn, hold) in self.path.pacing.holds.take_frames() {
            self.drive_lane(now, transport, conn, |lane, turn| lane.tell_hold(turn, &hold));
        }
        self.tell_ended(now, transport);
        for conn in std::mem::take(&mut self.agenda.dirty_clients) {
            self.drive_client(now, transport, conn, ClientSession::write_control);
        }
        self.agenda.frame_budget = FRAMES_PER_TURN;
    }

    /// Reads control streams that were left unread: lanes first, because routers are few and wait
    /// for each other.
    fn read_backlog(&mut self, now: Time, transport: &mut dyn Transport) {
        while self.mail.has_room()
            && let Some((conn, stream)) = self.agenda.lanes.pop()
        {
            self.drive(now, transport, conn, |session, turn| session.read_control(turn, stream));
        }
        self.agenda.frame_budget = self.agenda.frame_budget.max(FRAMES_PER_CLIENT);
        while self.agenda.frame_budget > 0
            && self.mail.has_room()
            && let Some((conn, stream)) = self.agenda.clients.pop()
        {
            self.drive(now, transport, conn, |session, turn| session.read_control(turn, stream));
        }
    }

    fn fire_timers(&mut self, now: Time, transport: &mut dyn Transport) {
        let due = self.timers.take_due(now);
        for &(time, timer) in &due {
            match timer {
                Timer::Received(conn) => {
                    self.drive_client(now, transport, conn, |client, turn| {
                        client.report_due(turn, time);
                        Ok(())
                    });
                }
                // The beginning of the turn has released it, unless its receiver blocks.
                Timer::Paced(conn) => {
                    if let Some(again) = self.agenda.paced.look_again(conn, now) {
                        self.timers.set(again, timer);
                    }
                }
                // The end of the turn renews them.
                Timer::Holds => {}
                Timer::LanePing => self.tend_lanes(now, transport),
                Timer::Hello(conn) => self.close_silent_newcomer(now, transport, conn),
                Timer::Linger(slot) => {
                    let (_, mut turn) = self.lend(now, transport);
                    let done = writing::write_lingering(&mut turn, slot, time);
                    self.settle_written(now, transport, slot, done);
                }
                Timer::Gathered(slot) => {
                    let (_, mut turn) = self.lend(now, transport);
                    writing::write_gathered(&mut turn, slot, time);
                }
                Timer::Confirms => self.expire_confirms(now),
                Timer::Groups => self.tend_groups(now, transport),
                Timer::Positions => {
                    self.path.tell_positions(now);
                    self.timers.set(now + CURSORS_EVERY, Timer::Positions);
                }
                Timer::Quench(conn) => {
                    self.drive_client(now, transport, conn, |client, turn| {
                        client.look_at_tag_sets(turn, time);
                        Ok(())
                    });
                }
                // The turn goes on with what is due.
                Timer::Demand => {}
                Timer::Quota(conn) => {
                    self.drive_client(now, transport, conn, |client, turn| {
                        client.quota_due(turn, time);
                        Ok(())
                    });
                }
            }
        }
        self.timers.give_back(due);
    }

    /// Closes a connection that has not said hello in time.
    fn close_silent_newcomer(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey) {
        let waits = self.connections.get(&conn).is_some_and(|session| !session.said_hello());
        if self.agenda.waits(conn) {
            // The hello may be in a stream that the core has left unread.
            self.timers.set(now + self.config.limits.hello_timeout, Timer::Hello(conn));
        } else if waits {
            self.close(now, transport, conn, &Close::new(CloseCode::Timeout, "no hello"));
        }
    }

    /// Pings lanes, and tells control which ones are silent, and how many clients there are.
    fn tend_lanes(&mut self, now: Time, transport: &mut dyn Transport) {
        if self.lanes.is_empty() {
            return;
        }
        self.lanes_due = now + self.config.lane_times.ping / 4;
        self.timers.set(self.lanes_due, Timer::LanePing);
        for conn in self.lanes.clone() {
            self.drive_lane(now, transport, conn, LaneSession::tend);
        }
        if let Some(told) = self.standing.tell_clients(now, self.path.metrics.clients) {
            self.mail.tell(told);
        }
    }
}
