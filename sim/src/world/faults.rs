//! What a fault does when it begins and when it ends.

use millrace_engine::time::Time;
use millrace_verify::fault::{Fault, Phase};

use super::cluster::World;
use crate::client::{Client, Role};
use crate::router::Process;

impl World {
    /// A fault begins or ends.
    pub(super) fn fault(&mut self, phase: Phase, fault: Fault) {
        let begins = phase == Phase::Begin;
        if begins {
            self.network.conditions().begin(fault);
        } else {
            self.network.conditions().end(&fault);
        }
        match fault {
            Fault::Crash { router } | Fault::Restart { router } if begins => {
                self.collect(router as usize);
                let host = &mut self.routers[router as usize];
                host.process = None;
                host.held.clear();
                if let Some(disk) = &host.setup.disk {
                    disk.tear(&mut self.rng);
                }
                self.network.process_died(&mut self.queue, router);
            }
            Fault::Restart { router } => {
                self.network.conditions_changed(&mut self.queue);
                self.start(router as usize);
            }
            Fault::Drain { router } if begins => {
                let now = self.queue.now();
                let mut scheduled = self.scenario.schedule.faults.iter();
                let until = scheduled.find(|item| item.fault == fault && item.at_ns == now.0);
                let left = until.and_then(|item| item.until_ns).map(|until| Time(until).since(now));
                self.within(router, |process, around| process.drain(left.unwrap_or_default() / 2, around));
            }
            Fault::Drain { router } => {
                self.within(router, Process::close_all);
                self.collect(router as usize);
                let host = &mut self.routers[router as usize];
                host.process = None;
                host.held.clear();
                self.network.process_died(&mut self.queue, router);
                self.start(router as usize);
            }
            Fault::Pause { router } => {
                let host = &mut self.routers[router as usize];
                host.paused = begins;
                if !begins {
                    let now = self.queue.now();
                    for event in std::mem::take(&mut host.held) {
                        self.queue.at(now, event);
                    }
                }
            }
            Fault::SlowReceiver { receiver } => self.slow(receiver, begins),
            // Publishers are the first clients.
            Fault::KillPublisher { publisher, .. } if begins => self.client(publisher, Client::kill),
            Fault::KillPublisher { publisher, power_lost } => {
                self.client(publisher, |client, around| client.restart(power_lost, around));
            }
            Fault::ClockJump { router, by_ns } => {
                *self.clock_offsets.entry(router).or_default() += by_ns;
            }
            _ => {}
        }
        self.network.conditions_changed(&mut self.queue);
    }

    fn slow(&mut self, receiver: u32, slow: bool) {
        for client in 0..self.clients.len() {
            if matches!(self.clients[client].role(), Role::Receivers(_)) {
                let client = u32::try_from(client).unwrap_or(u32::MAX);
                self.client(client, |client, around| client.set_slow(receiver, slow, around));
            }
        }
    }
}
