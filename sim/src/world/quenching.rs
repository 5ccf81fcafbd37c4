//! What a core that quenches tag sets is to heed, and when receivers come and go so often that it
//! matters.

use std::time::Duration;

use millrace_verify::checker::quench::{Standing, Told};
use rand::RngExt;

use super::cluster::World;
use crate::event::Event;

/// One of so many receiving clients changes what it wants all the time.
const FLAPPING: u32 = 4;
/// How often it does so, and from when on.
const FLAPS: u32 = 60;
const FLAPS_FROM: Duration = Duration::from_millis(1_200);

impl World {
    /// Has a receiving client come and go, or not.
    pub(super) fn plan_flaps(&mut self, client: u32) {
        if self.rng.random_range(0..FLAPPING) > 0 {
            return;
        }
        let pause = Duration::from_millis(self.rng.random_range(10..60));
        for number in 0..FLAPS {
            self.queue.after(FLAPS_FROM + pause * number, Event::Churn { client });
        }
    }

    /// A core has written a Quench.
    pub(super) fn quenched(&mut self, told: &Told) {
        let host = self.routers.iter().find(|host| host.setup.id == told.core.router);
        let Some((host, process)) = host.and_then(|host| Some((host, host.process.as_ref()?))) else {
            return;
        };
        let limits = &host.setup.core.limits;
        let has_history = limits.kept.history.bytes > 0;
        let standing = Standing {
            after_ns: u64::try_from(limits.received.quench_after.as_nanos()).unwrap_or(u64::MAX),
            knows_all_interest: process.knows_all_interest(told.core.core),
            // One of the rules is for every tag set.
            wanted_by: has_history
                .then_some("history")
                .or_else(|| host.setup.rules.as_ref().map(|_| "a rule")),
        };
        self.record.quenches.told(told, standing, self.queue.now().0, &mut self.record.findings);
    }
}
