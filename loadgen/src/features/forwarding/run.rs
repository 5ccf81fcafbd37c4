//! The preset from start to end.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_measure::figures::whole;
use serde_json::Value;

use super::figures::ForwardFigures;
use super::settings::{CLUSTERS, ForwardSettings};
use super::site::Site;
use crate::clock::Clock;
use crate::features::clients::{play, until};
use crate::features::stage::{free_addresses, in_folder};
use crate::features::{Came, Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// How long links may take to be up, and to hear what is wanted.
const LINK_WITHIN: Duration = Duration::from_secs(20);
/// How long the last events may take.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// How long a cluster that is back may take to have events of others.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// The cluster that is killed.
const KILLED: usize = 2;

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn forwarding(
    settings: &ForwardSettings,
    progress: &Progress,
) -> Result<Report<ForwardFigures>, FeatureError> {
    in_folder("forwarding", progress, |folder| play(run(settings, folder, progress)), checks)
}

async fn run(
    settings: &ForwardSettings,
    folder: &Path,
    progress: &Progress,
) -> Result<ForwardFigures, FeatureError> {
    let addresses = free_addresses(CLUSTERS)?;
    let clock = Clock::start();
    let mut sites = Vec::new();
    for number in 0..CLUSTERS {
        sites.push(Site::start(number, settings, &addresses, folder)?);
    }
    progress.stage("linking");
    for site in &mut sites {
        site.connect(clock).await?;
    }
    if !until(LINK_WITHIN, || sites.iter().all(|site| is_linked(site, settings.links))).await {
        let within_s = LINK_WITHIN.as_secs();
        return Err(FeatureError::Late {
            what: "the clusters did not link and hear what is wanted",
            within_s,
        });
    }
    Ring { settings, clock, sites }.play(progress).await
}

/// Whether all links of a cluster are up and know what the far side wants.
fn is_linked(site: &Site, each: u16) -> bool {
    let links = site.links();
    let knows = |link: &Value| link["demand"].as_array().is_some_and(|demand| !demand.is_empty());
    links.len() == (CLUSTERS as usize - 1) * usize::from(each)
        && links.iter().all(|link| link["state"] == "up" && knows(link))
}

struct Ring<'a> {
    settings: &'a ForwardSettings,
    clock: Clock,
    sites: Vec<Site>,
}

impl Ring<'_> {
    async fn play(mut self, progress: &Progress) -> Result<ForwardFigures, FeatureError> {
        let ForwardSettings { rate, cores, links, still, .. } = *self.settings;
        let mut figures =
            ForwardFigures { clusters: CLUSTERS, links, cores, rate, ..ForwardFigures::default() };
        progress.stage("all clusters");
        let everybody: Vec<usize> = (0..self.sites.len()).collect();
        let ends = self.publish(&everybody, 0).await?;
        figures.published = ends.iter().map(|&(_, end)| end).sum();
        figures.came = self.came(&everybody, &ends).await;
        let (mut within, mut across) = (Vec::new(), Vec::new());
        for site in &self.sites {
            let hearing = site.hearing();
            let mut hearing = hearing.borrow_mut();
            within.append(&mut hearing.within_us);
            across.append(&mut hearing.across_us);
            figures.copies_removed += hearing.removed;
        }
        (figures.within_us, figures.across_us) = (Spread::of(within), Spread::of(across));

        progress.stage("quiet");
        let (before, since) = (self.sent(), Instant::now());
        tokio::time::sleep(still).await;
        (figures.quiet_events, figures.quiet_s) =
            (self.sent().saturating_sub(before), since.elapsed().as_secs_f64());

        progress.stage("one cluster is killed");
        self.sites[KILLED].kill();
        let others: Vec<usize> = everybody.iter().copied().filter(|&site| site != KILLED).collect();
        let ends = self.publish(&others, CLUSTERS).await?;
        figures.published_without = ends.iter().map(|&(_, end)| end).sum();
        figures.came_without = self.came(&others, &ends).await;
        progress.stage("it is back");
        figures.back_us = self.back().await?;
        Ok(figures)
    }

    /// Has some clusters publish for the duration, under the numbers of emitters from `first` on;
    /// how many events each has had.
    async fn publish(&mut self, who: &[usize], first: u32) -> Result<Vec<(u32, u64)>, FeatureError> {
        let emitter = |site: usize| first + u32::try_from(site).unwrap_or(u32::MAX);
        for (site, &from) in self.sites.iter().flat_map(|site| who.iter().map(move |from| (site, from))) {
            site.hearing().borrow_mut().streams.begin_at(emitter(from), 0);
        }
        let rate = self.settings.rate as f64 / f64::from(CLUSTERS);
        let most = whole(self.settings.duration.as_secs_f64() * rate).max(1);
        let mut numbers = vec![0; self.sites.len()];
        let begun = Instant::now();
        while who.iter().any(|&site| numbers[site] < most) {
            let due = whole(begun.elapsed().as_secs_f64() * rate).min(most);
            for &site in who {
                while numbers[site] < due
                    && self.sites[site].publish(emitter(site), numbers[site], self.clock.now_us())?
                {
                    numbers[site] += 1;
                }
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(who.iter().map(|&site| (emitter(site), numbers[site])).collect())
    }

    /// What receivers of some clusters have got, once they have everything or time is over.
    async fn came(&self, who: &[usize], ends: &[(u32, u64)]) -> Came {
        let hearings: Vec<_> = who.iter().map(|&site| self.sites[site].hearing()).collect();
        let came =
            || Came::sum(hearings.iter().map(|hearing| hearing.borrow().streams.came(ends.iter().copied())));
        until(SETTLE_WITHIN, || came().missing == 0).await;
        let mut came = came();
        came.missing += hearings.iter().map(|hearing| hearing.borrow().corrupted).sum::<u64>();
        came
    }

    /// Events that links have sent.
    fn sent(&self) -> u64 {
        self.sites.iter().flat_map(Site::links).filter_map(|link| link["sent"].as_u64()).sum()
    }

    /// Starts the killed cluster again; how long it took until its receiver had an event of another
    /// one, which publish all the time.
    async fn back(&mut self) -> Result<Option<u64>, FeatureError> {
        let hearing = self.sites[KILLED].hearing();
        self.sites[KILLED].restart()?;
        hearing.borrow_mut().watch();
        let ready_us = self.clock.now_us();
        let begun = Instant::now();
        let mut number = 0;
        while begun.elapsed() < BACK_WITHIN && hearing.borrow().foreign_us.is_none() {
            // Of emitters of their own: what was published while it was away is not to come.
            self.sites[0].publish(2 * CLUSTERS, number, self.clock.now_us())?;
            number += 1;
            tokio::time::sleep(TICK).await;
        }
        let foreign_us = hearing.borrow().foreign_us;
        Ok(foreign_us.map(|us| us.saturating_sub(ready_us)))
    }
}

/// What must hold.
fn checks(figures: &ForwardFigures) -> Vec<Check> {
    let found = |came: &Came| {
        format!("{} missing, {} twice, {} out of order", came.missing, came.duplicated, came.reordered)
    };
    vec![
        Check::new(
            "once",
            figures.came.is_clean() && figures.came.delivered == figures.published * u64::from(CLUSTERS),
            found(&figures.came),
        ),
        Check::new(
            "round",
            figures.quiet_events == 0,
            format!("{} events crossed links while nobody published", figures.quiet_events),
        ),
        Check::new("one killed", figures.came_without.is_clean(), found(&figures.came_without)),
        Check::new("back", figures.back_us.is_some(), "the killed cluster had no event of another one"),
    ]
}
