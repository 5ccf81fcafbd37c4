//! The preset from start to end.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use millrace_client::Client;

use super::feed::Feeder;
use super::figures::GroupFigures;
use super::ledger::Ledger;
use super::settings::GroupSettings;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::features::clients::{client, play, until};
use crate::features::stage::with_routers;
use crate::features::{Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// How long the last events may take: what nobody acknowledged goes to another member after 30 s,
/// and that is not to happen here.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Switches that a member may cause that comes and goes, in up to a minute.
const FLAP_SWITCHES_MAX: u64 = 4;

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn groups(settings: &GroupSettings, progress: &Progress) -> Result<Report<GroupFigures>, FeatureError> {
    let play = |cluster: &Cluster, folder: &Path| run(settings, cluster, folder, progress);
    with_routers(("groups", settings.routers), progress, play, |figures| checks(figures, settings))
}

fn run(
    settings: &GroupSettings,
    cluster: &Cluster,
    folder: &Path,
    progress: &Progress,
) -> Result<GroupFigures, FeatureError> {
    play(async {
        let bench = Bench {
            settings: settings.clone(),
            clock: Clock::start(),
            feeder: Feeder::start(cluster, settings.rate).await?,
            near: client(cluster, 0)?,
            far: client(cluster, 1)?,
            far_router: cluster.targets()[1 % cluster.targets().len()].address,
            folder: folder.to_owned(),
            ledger: Rc::default(),
        };
        bench.play(progress).await
    })
}

/// What all phases work with.
pub(super) struct Bench {
    pub(super) settings: GroupSettings,
    pub(super) clock: Clock,
    pub(super) feeder: Feeder,
    /// A client of the publisher's router: level 2 is there.
    pub(super) near: Client,
    /// A client of another router, if there is one: level 1 is there.
    pub(super) far: Client,
    pub(super) far_router: std::net::SocketAddr,
    pub(super) folder: PathBuf,
    pub(super) ledger: Rc<RefCell<Ledger>>,
}

impl Bench {
    async fn play(&self, progress: &Progress) -> Result<GroupFigures, FeatureError> {
        let GroupSettings { groups, kills, routers, rate, .. } = self.settings;
        let mut figures = GroupFigures { groups, kills, routers, rate, ..GroupFigures::default() };
        progress.stage("joining");
        self.busy_and_flapping(&mut figures, progress).await?;
        let (mut killed, mut survivors) = (Vec::new(), Vec::new());
        for kill in 0..kills {
            progress.stage("killing level 1");
            let (times, members) = self.killed(kill).await?;
            killed.extend(times);
            survivors.push(members);
        }
        figures.killed_without_switch = kills * groups - u32::try_from(killed.len()).unwrap_or(0);
        figures.killed_us = Spread::of(killed);
        self.feeder.use_groups([])?;
        progress.stage("settling");
        until(SETTLE_WITHIN, || self.outcome().missing == 0).await;
        figures.outcome = self.outcome();
        drop(survivors);
        if let Some(reason) = self.feeder.feed.borrow_mut().failed.take() {
            return Err(FeatureError::Client(reason));
        }
        Ok(figures)
    }

    fn outcome(&self) -> super::ledger::Outcome {
        self.ledger.borrow_mut().outcome(&self.feeder.feed.borrow().published)
    }
}

/// What must hold.
fn checks(figures: &GroupFigures, settings: &GroupSettings) -> Vec<Check> {
    let (outcome, [first, second]) = (figures.outcome, figures.undisturbed);
    let ms = |us: u64| us as f64 / 1e3;
    vec![
        Check::new(
            "events",
            outcome.missing == 0 && outcome.twice_unmarked == 0 && outcome.published > 0,
            format!("{} missing, {} twice without a mark", outcome.missing, outcome.twice_unmarked),
        ),
        Check::new(
            "levels",
            first > 0 && second == 0,
            format!("undisturbed, level 1 had {first} events and level 2 had {second}"),
        ),
        Check::new(
            "busy",
            figures.busy_without_switch == 0 && figures.busy_us.p99() <= settings.busy_max,
            format!(
                "p99 {:.1} ms until level 2 had an event, {} groups without",
                ms(figures.busy_us.p99_us),
                figures.busy_without_switch
            ),
        ),
        Check::new(
            "return",
            figures.return_us.count == figures.groups as usize,
            format!("level 1 came back in {} of {} groups", figures.return_us.count, figures.groups),
        ),
        Check::new(
            "flapping",
            figures.flap_switches <= FLAP_SWITCHES_MAX,
            format!("{} switches, at most {FLAP_SWITCHES_MAX}", figures.flap_switches),
        ),
        Check::new(
            "killed",
            figures.killed_without_switch == 0 && figures.killed_us.p99() <= settings.killed_max,
            format!(
                "p99 {:.1} ms until level 2 had an event, {} groups without",
                ms(figures.killed_us.p99_us),
                figures.killed_without_switch
            ),
        ),
    ]
}
