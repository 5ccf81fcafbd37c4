//! What happens to members.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use super::crowd::{Crowd, CrowdPart};
use super::figures::GroupFigures;
use super::member::{Member, Place};
use super::run::Bench;
use super::settings::Number;
use crate::features::clients::until;
use crate::features::{FeatureError, Spread};
use crate::progress::Progress;

/// How long everything runs before something happens.
const STEADY: Duration = Duration::from_secs(1);
/// Between the same of two groups, so that they are measured apart.
const APART: Duration = Duration::from_millis(7);
/// How long members of level 1 are busy, after level 2 has taken over: more than the second that a
/// router takes a member for busy at least.
const BUSY_FOR: Duration = Duration::from_millis(1_200);
/// A member that flaps is there, and gone, for so long.
const FLAP: Duration = Duration::from_millis(500);
/// How long level 1 may take to be used again: 5 s without a break, and the second of its BUSY.
const RETURN_WITHIN: Duration = Duration::from_secs(9);
/// How long a switch may take before it is none.
const SWITCH_WITHIN: Duration = Duration::from_secs(8);
/// How long a process may take to have all its members in place.
const JOIN_WITHIN: Duration = Duration::from_secs(20);

impl Bench {
    /// Level 1 says that it is busy, and then that it is not; beside it, the last group has a level
    /// 1 that comes and goes.
    pub(super) async fn busy_and_flapping(
        &self,
        figures: &mut GroupFigures,
        progress: &Progress,
    ) -> Result<(), FeatureError> {
        let count = self.settings.groups;
        let (groups, flapping) = (0..count, count);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for group in groups.clone() {
            first.push(self.join(group, 1).await?);
            second.push(self.join(group, 2).await?);
        }
        let steady = self.join(flapping, 2).await?;
        self.feeder.use_groups(0..=flapping)?;
        let flaps = Cell::new(0);
        let begun = self.clock.now_us();
        progress.stage("undisturbed");
        tokio::time::sleep(STEADY).await;
        for group in groups.clone() {
            let mut ledger = self.ledger.borrow_mut();
            figures.undisturbed[0] += ledger.count(group, 1);
            figures.undisturbed[1] += ledger.count(group, 2);
        }
        let switching = async {
            progress.stage("level 1 is busy");
            let said = self.say(groups.clone(), |group| first[group as usize].busy(true)).await;
            let busy = self.taken(said, 2, SWITCH_WITHIN).await;
            groups.clone().for_each(|group| self.ledger.borrow_mut().watch(group));
            tokio::time::sleep(BUSY_FOR).await;
            let after: u64 = groups.clone().map(|group| self.ledger.borrow_mut().count(group, 1)).sum();
            progress.stage("level 1 is back");
            let said = self.say(groups.clone(), |group| first[group as usize].busy(false)).await;
            (busy, after, self.taken(said, 1, RETURN_WITHIN).await)
        };
        let (busy, after, back) = tokio::select! {
            done = switching => done,
            flapped = self.flap(flapping, &flaps) => return flapped,
        };
        figures.busy_without_switch = count - u32::try_from(busy.len()).unwrap_or(0);
        (figures.busy_us, figures.after_busy, figures.return_us) =
            (Spread::of(busy), after, Spread::of(back));
        figures.flaps = flaps.get();
        figures.flapped_s = (self.clock.now_us() - begun) as f64 / 1e6;
        figures.flap_switches = self.ledger.borrow_mut().switches(flapping);
        self.feeder.use_groups([])?;
        // What is on its way reaches members that are there.
        tokio::time::sleep(FLAP).await;
        drop((first, second, steady));
        Ok(())
    }

    /// A process with the level 1 of other groups is killed. How long it took until level 2 had an
    /// event, for each group that had one; and the members of level 2, which are still to get what
    /// level 1 had and did not acknowledge.
    pub(super) async fn killed(&self, kill: u32) -> Result<(Vec<u64>, Vec<Member>), FeatureError> {
        let count = self.settings.groups;
        let first = count + 1 + kill * count;
        let groups = first..first + count;
        let ca = self.folder.join("ca.pem");
        let part = CrowdPart { router: self.far_router, ca, first, groups: count };
        let mut crowd = Crowd::start(&part, &self.folder)?;
        // Level 1 is there first: a better level that comes later waits until it was there for 5 s.
        let ready = until(JOIN_WITHIN, || {
            crowd.listen(|_, _, _| {});
            crowd.is_ready
        });
        if !ready.await {
            let within_s = JOIN_WITHIN.as_secs();
            return Err(FeatureError::Late { what: "not all members joined", within_s });
        }
        let mut second = Vec::new();
        for group in groups.clone() {
            second.push(self.join(group, 2).await?);
        }
        self.feeder.use_groups(groups.clone())?;
        tokio::time::sleep(STEADY).await;
        groups.clone().for_each(|group| self.ledger.borrow_mut().watch(group));
        let killed_us = self.clock.now_us();
        crowd.kill();
        let times = self.taken(groups.map(|group| (group, killed_us)).collect(), 2, SWITCH_WITHIN).await;
        self.feeder.use_groups([])?;
        // What is on its way reaches members that are there.
        tokio::time::sleep(FLAP).await;
        let now_us = self.clock.now_us();
        let mut ledger = self.ledger.borrow_mut();
        crowd.listen(|group, number, marked| ledger.take(group, 1, number, marked, now_us));
        Ok((times, second))
    }

    async fn join(&self, group: Number, level: u8) -> Result<Member, FeatureError> {
        let client = if level == 1 { &self.far } else { &self.near };
        Member::join(client, Place { group, level }, self.clock, &self.ledger).await
    }

    /// Says something to each group in turn; when to whom.
    async fn say(&self, groups: Range<Number>, mut say: impl FnMut(Number)) -> Vec<(Number, u64)> {
        let mut said = Vec::new();
        for group in groups {
            self.ledger.borrow_mut().watch(group);
            said.push((group, self.clock.now_us()));
            say(group);
            tokio::time::sleep(APART).await;
        }
        said
    }

    /// Waits until a level has an event of each of these groups; how long it took since the time
    /// that stands beside it, for each that had one.
    async fn taken(&self, since: Vec<(Number, u64)>, level: u8, within: Duration) -> Vec<u64> {
        let first_us = |group| self.ledger.borrow_mut().first_us(group, level);
        until(within, || since.iter().all(|&(group, _)| first_us(group).is_some())).await;
        let took = |&(group, since_us): &(Number, u64)| Some(first_us(group)?.saturating_sub(since_us));
        since.iter().filter_map(took).collect()
    }

    /// A member of level 1 that comes and goes, for as long as this is polled.
    async fn flap(&self, group: Number, flaps: &Cell<u32>) -> Result<(), FeatureError> {
        loop {
            let member = self.join(group, 1).await?;
            flaps.set(flaps.get() + 1);
            tokio::time::sleep(FLAP).await;
            drop(member);
            tokio::time::sleep(FLAP).await;
        }
    }
}
