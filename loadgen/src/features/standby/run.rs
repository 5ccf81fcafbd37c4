//! The preset from start to end.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use millrace_client::{ReceiverConnection, ReceiverOptions};
use millrace_measure::figures::whole;

use super::ear::{Ear, listen};
use super::figures::StandbyFigures;
use super::members::{Members, MembersPlan};
use super::settings::{StandbySettings, TAG};
use crate::clock::{Clock, micros};
use crate::cluster::Cluster;
use crate::features::clients::{client, play, until};
use crate::features::stage::with_routers;
use crate::features::{Came, Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// How long members may take to stand as they should.
const STAND_WITHIN: Duration = Duration::from_secs(20);
/// A member that has waited for so long has had some numbers before routers had them, and can take
/// over without loss.
const ABREAST_AFTER: Duration = Duration::from_millis(1_500);
/// How long after a takeover a pause may still go on.
const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// How long members may take to end, and their last events to come.
const END_WITHIN: Duration = Duration::from_secs(20);
/// Members are told to end so long ahead, so that all hear it before it is due.
const STOP_AHEAD: Duration = Duration::from_millis(500);
/// Stretches of missing numbers that are told of each receiver.
const HOLES_SHOWN: usize = 8;
/// Members begin with numbers of a stream that is as old as this.
const AGE: Duration = Duration::from_secs(1);

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn standby(
    settings: &StandbySettings,
    progress: &Progress,
) -> Result<Report<StandbyFigures>, FeatureError> {
    let play = |cluster: &Cluster, folder: &Path| run(settings, cluster, folder, progress);
    with_routers(("standby", settings.routers), progress, play, |figures| checks(figures, settings))
}

fn run(
    settings: &StandbySettings,
    cluster: &Cluster,
    folder: &Path,
    progress: &Progress,
) -> Result<StandbyFigures, FeatureError> {
    let clock = Clock::start();
    let epoch_us = clock.epoch_us().saturating_sub(micros(AGE));
    let targets = cluster.targets();
    let router = |member: u8| vec![targets[usize::from(member) % targets.len()].address];
    let plan = MembersPlan {
        routers: (0..settings.members).map(router).collect(),
        rate: settings.rate,
        ca: folder.join("ca.pem"),
        folder: folder.to_owned(),
    };
    let members = Members::new(plan, epoch_us);
    let clock = Clock::since(epoch_us);
    play(Run { settings, cluster, progress, clock, members, ears: Vec::new() }.play())
}

struct Run<'a> {
    settings: &'a StandbySettings,
    cluster: &'a Cluster,
    progress: &'a Progress,
    /// Time since number 0 was due.
    clock: Clock,
    members: Members,
    ears: Vec<Rc<RefCell<Ear>>>,
}

impl Run<'_> {
    async fn play(mut self) -> Result<StandbyFigures, FeatureError> {
        self.progress.stage("connecting");
        self.listen().await?;
        for at in 0..usize::from(self.settings.members) {
            self.members.start(at)?;
        }
        let members = &mut self.members;
        let stand = until(STAND_WITHIN, || {
            members.listen();
            members.all_stand()
        });
        if !stand.await {
            let within_s = STAND_WITHIN.as_secs();
            return Err(FeatureError::Late {
                what: "no member held the set while all others waited",
                within_s,
            });
        }
        let first_holder = self.members.holder().map_or(0, |(at, _)| at);
        let first = self.members.first_number(first_holder).unwrap_or(0);
        let (mut takeovers, mut pauses, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.settings.kills {
            self.progress.stage("running on");
            tokio::time::sleep(self.settings.run_on).await;
            self.progress.stage("killing the holder");
            if let Some(took_us) = self.kill().await? {
                takeovers.push(took_us);
            }
            due.push(self.due());
            let now_us = self.clock.now_us();
            pauses.extend(self.ears.iter().map(|ear| ear.borrow().longest_us(now_us)));
        }
        self.progress.stage("settling");
        tokio::time::sleep(self.settings.run_on).await;
        let last = self.due() + whole(STOP_AHEAD.as_secs_f64() * self.settings.rate as f64);
        self.members.stop(last);
        let (members, ears) = (&mut self.members, &self.ears);
        let has_come = |ear: &Rc<RefCell<Ear>>| ear.borrow().streams.next(0) == Some(last + 1);
        until(END_WITHIN, || {
            members.listen();
            members.have_ended() && ears.iter().all(has_come)
        })
        .await;
        let mut figures = self.figures(first, last, Spread::of(takeovers), Spread::of(pauses));
        figures.due_at_takeovers = due;
        Ok(figures)
    }

    /// Receivers of everything, from before the first event.
    async fn listen(&mut self) -> Result<(), FeatureError> {
        for number in 0..self.settings.receivers {
            let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
            let client = client(self.cluster, usize::from(number))?;
            let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
            let mut subscription = receiver.subscribe([TAG]).map_err(FeatureError::client)?;
            subscription.in_cluster().await.map_err(FeatureError::client)?;
            let ear = Rc::new(RefCell::new(Ear::default()));
            tokio::task::spawn_local(listen(receiver, self.clock, Rc::clone(&ear)));
            self.ears.push(ear);
        }
        Ok(())
    }

    /// Kills the holder, starts it again at once, waits until another member holds the set, and
    /// until receivers have events. Says how long it took until the other one held it; none, when
    /// none did.
    async fn kill(&mut self) -> Result<Option<u64>, FeatureError> {
        let members = &mut self.members;
        until(STAND_WITHIN, || {
            members.listen();
            members.all_stand() && members.one_has_waited(ABREAST_AFTER)
        })
        .await;
        let Some((holder, generation)) = self.members.holder() else { return Ok(None) };
        let killed_us = self.clock.now_us();
        self.ears.iter().for_each(|ear| ear.borrow_mut().watch(killed_us));
        self.members.kill(holder);
        // It is back before anybody notices, often with the lowest rank, and has not what came
        // while it was away: whoever waited has that, and is to take over.
        self.members.start(holder)?;
        let members = &mut self.members;
        let taken_over = until(STAND_WITHIN, || {
            members.listen();
            members.holder().is_some_and(|(_, newer)| newer > generation)
        });
        let is_taken_over = taken_over.await;
        let taken_us = self.clock.now_us();
        if !is_taken_over {
            return Ok(None);
        }
        let ears = &self.ears;
        until(RESUME_WITHIN, || ears.iter().all(|ear| ear.borrow().last_us > taken_us)).await;
        Ok(Some(taken_us - killed_us))
    }

    /// The number that is due.
    fn due(&self) -> u64 {
        whole(self.clock.now_us() as f64 / 1e6 * self.settings.rate as f64)
    }

    fn figures(self, first: u64, last: u64, takeover_us: Spread, pause_us: Spread) -> StandbyFigures {
        let Self { settings, members, ears, .. } = self;
        let sum = |of: fn(&Ear) -> u64| ears.iter().map(|ear| of(&ear.borrow())).sum();
        let came = |ear: &Rc<RefCell<Ear>>| {
            let ear = ear.borrow();
            let mut came = ear.streams.came([(0, last + 1)]);
            // What came before the first number that counts cannot be, and what did not come before
            // the first that came is missing.
            came.missing += (last + 1 - first).saturating_sub(came.delivered + came.missing);
            came
        };
        StandbyFigures {
            members: settings.members,
            routers: settings.routers,
            receivers: settings.receivers,
            rate: settings.rate,
            numbers: last + 1 - first,
            kills: settings.kills,
            takeovers: u32::try_from(takeover_us.count).unwrap_or(u32::MAX),
            takeover_us,
            pause_us,
            came: Came::sum(ears.iter().map(came)),
            corrupted: sum(|ear| ear.corrupted),
            first,
            first_at_receivers: ears.iter().map(|ear| ear.borrow().first.unwrap_or(0)).collect(),
            holes: ears.iter().map(|ear| ear.borrow().streams.holes(0, HOLES_SHOWN)).collect(),
            due_at_takeovers: Vec::new(),
            gaps: sum(|ear| ear.gaps),
            repeats_removed: sum(|ear| ear.removed),
            fenced: sum(|ear| ear.fenced),
            complaints: members.complaints,
        }
    }
}

/// What must hold.
fn checks(figures: &StandbyFigures, settings: &StandbySettings) -> Vec<Check> {
    let came = figures.came;
    vec![
        Check::new(
            "numbers",
            came.is_clean() && figures.corrupted == 0 && came.delivered > 0,
            format!(
                "{} missing, {} twice, {} out of order, {} corrupted",
                came.missing, came.duplicated, came.reordered, figures.corrupted
            ),
        ),
        Check::new(
            "takeovers",
            figures.takeovers == figures.kills,
            format!("{} of {} kills had one", figures.takeovers, figures.kills),
        ),
        Check::new(
            "pause",
            figures.pause_us.p99() <= settings.pause_max,
            format!("p99 {:.1} ms, more than it may be", figures.pause_us.p99_us as f64 / 1e3),
        ),
        Check::new("members", figures.complaints.is_empty(), figures.complaints.join("; ")),
    ]
}
