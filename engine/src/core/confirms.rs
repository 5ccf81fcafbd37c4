//! Hands what the ledger knows to connections and siblings: how runs ended, and which answers are
//! given up.

use std::time::Duration;

use super::machine::Core;
use super::path::Path;
use super::timers::Timer;
use crate::ledger::{Answer, Origin, answers};
use crate::message::CoreIndex;
use crate::time::Time;
use crate::transport::Transport;

/// The core gives up entries at multiples of this, so that it does not wake for each.
const EXPIRY_STEP: Duration = Duration::from_millis(10);

impl Core {
    /// Tells publishers, siblings and peers how their runs ended.
    pub(super) fn tell_ended(&mut self, now: Time, transport: &mut dyn Transport) {
        if self.path.ledger.has_ended() {
            let ended = self.path.ledger.take_ended();
            for group in ended.chunk_by(|one, next| one.is_for_same(next)) {
                match group[0].origin {
                    Origin::Publisher { conn, .. } => {
                        self.drive_client(now, transport, conn, |client, turn| {
                            client.tell_ended(turn, group);
                            Ok(())
                        });
                    }
                    Origin::Sibling { core, .. } => self.path.answers.add(core, answers(group)),
                    Origin::Lane { conn, .. } => {
                        self.drive_lane(now, transport, conn, |lane, turn| lane.tell_ended(turn, group));
                    }
                    Origin::Recipient { direct, .. } => {
                        self.tell_recipients_ended(now, transport, direct, group);
                    }
                }
            }
            self.path.ledger.give_back(ended);
        }
        if self.confirms_due.is_none()
            && let Some(due) = self.path.ledger.deadline()
        {
            let due = due.rounded_up(EXPIRY_STEP);
            self.confirms_due = Some(due);
            self.timers.set(due, Timer::Confirms);
        }
    }

    /// Gives up runs without an answer in time, and forgets their legs and those of publishers that
    /// are gone.
    pub(super) fn expire_confirms(&mut self, now: Time) {
        self.confirms_due = None;
        self.path.ledger.set_now(now);
        self.path.ledger.expire();
        if self.path.ledger.take_orphans() {
            self.path.sweep_legs();
        }
    }
}

impl Path {
    /// Takes a sibling's answers for runs that this core has handed to it.
    pub(super) fn sibling_answered(&mut self, from: CoreIndex, answers: &[Answer]) {
        let Some(legs) = self.locations.sibling_legs(from) else { return };
        for Answer { tally, part: (offset, events), runs } in answers {
            for (first, count) in runs.iter() {
                if *events == 0 {
                    legs.answer(first, count, *tally, &mut self.ledger);
                    continue;
                }
                for run in legs.among(first, count) {
                    legs.answer_part(run, *offset, *events, *tally, &mut self.ledger);
                }
            }
        }
    }

    /// Forgets legs whose entries have ended.
    fn sweep_legs(&mut self) {
        let Self { ledger, locations, receivers, .. } = self;
        locations.all_legs().for_each(|legs| legs.sweep(ledger));
        receivers.iter_mut().for_each(|(_, receiver)| receiver.queue.legs().sweep(ledger));
    }
}
