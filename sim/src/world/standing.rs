//! Standby sets: how many hold each, and operators that have a holder give way.

use std::time::Duration;

use millrace_engine::time::Time;
use rand::RngExt;

use super::cluster::World;
use crate::client::Role;
use crate::event::Event;
use crate::source;

/// Times at which an operator has a set's holder give way, at most.
const HAND_OVERS: u32 = 3;

impl World {
    /// Has operators ask holders to give way, now and then.
    pub(super) fn plan_hand_overs(&mut self) {
        for set in 0..self.scenario.sources.len() {
            for _ in 0..self.rng.random_range(0..=HAND_OVERS) {
                let at = Duration::from_millis(self.rng.random_range(2_000..8_000));
                self.queue.after(at, Event::HandOver { set: u32::try_from(set).unwrap_or(u32::MAX) });
            }
        }
    }

    /// An operator asks any router to have the holder of a set give way.
    pub(super) fn hand_over(&mut self, set: u32) {
        let router = self.rng.random_range(0..self.routers.len());
        let router = u32::try_from(router).unwrap_or(u32::MAX);
        if !self.routers[router as usize].paused {
            self.within(router, |process, around| {
                process.tell_control(around, |control, now| {
                    control.hand_over(now, &source::name(set));
                });
            });
        }
    }

    /// Counts the holders of each set.
    pub(super) fn count_holders(&mut self) {
        if self.scenario.sources.is_empty() {
            return;
        }
        let now = self.queue.now();
        let knows_all = self.routers.iter().filter_map(|router| router.process.as_ref()).all(|process| {
            let status = process.control().status();
            status.synced && !status.degraded
        });
        let is_over = now >= Time::ZERO + self.scenario.faults_end;
        for set in 0..self.scenario.sources.len() {
            let set = u32::try_from(set).unwrap_or(u32::MAX);
            let (mut holders, mut are_there) = (0, true);
            for client in &self.clients {
                if let Role::Publisher(publisher) = client.role()
                    && publisher.set() == Some(set)
                {
                    let holds = publisher.holds_set();
                    holders += usize::from(holds == Some(true));
                    are_there &= holds.is_some() && client.router().is_some();
                }
            }
            let record = &mut self.record;
            let is_healed = is_over && knows_all && are_there;
            record.standby.holders(set, holders, is_healed, now.0, &mut record.findings);
        }
    }
}
