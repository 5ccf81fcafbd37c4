//! The preset from start to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::figures::RebalanceFigures;
use super::settings::RebalanceSettings;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::features::clients::{client, play_many};
use crate::features::crowd;
use crate::features::ear::Heard;
use crate::features::{Check, FeatureError, Report};
use crate::progress::Progress;

/// Between two looks at how many clients routers have.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Clients that were asked to move have done so, or will not, this long after the last one's turn.
const MOVED_MAX: Duration = Duration::from_secs(30);
/// Routers are even when none is farther from its half than this.
const OFF_PERCENT_MAX: f64 = 5.0;

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn rebalance(
    settings: &RebalanceSettings,
    progress: &Progress,
) -> Result<Report<RebalanceFigures>, FeatureError> {
    let begun = Instant::now();
    progress.stage("starting");
    // Nobody else moves clients, and nothing else is published.
    let options = ["--rebalance", "off", "--canary-every", "0s"];
    let cluster = Cluster::processes_with(2, 1, &options)?;
    let result = play_many(run(settings, &cluster, progress));
    cluster.stop();
    let figures = result?;
    let checks = checks(&figures);
    Ok(Report::new(figures, checks, begun.elapsed()))
}

async fn run(
    settings: &RebalanceSettings,
    cluster: &Cluster,
    progress: &Progress,
) -> Result<RebalanceFigures, FeatureError> {
    let mut figures = RebalanceFigures {
        connections: settings.connections,
        rate: settings.rate,
        within_s: settings.within.as_secs_f64(),
        ..RebalanceFigures::default()
    };
    let count = settings.connections as usize;
    let heard = Rc::new(RefCell::new(Heard { again_us: vec![None; count], ..Heard::default() }));

    progress.stage("connecting and subscribing");
    let connecting = Instant::now();
    let clients = crowd::connect(|| client(cluster, 0), count, Clock::start(), &heard).await?;
    figures.set_up_s = connecting.elapsed().as_secs_f64();

    progress.stage("publishing");
    let beats = crowd::beat(client(cluster, 1)?, settings.rate, Rc::new(Cell::new(0))).await?;
    crowd::all_have_begun(count, &heard).await?;
    tokio::time::sleep(settings.watch).await;

    progress.stage("moving half of the clients");
    figures.before = cluster.clients_of_both()?;
    let called = Instant::now();
    let half = (figures.before[0] + figures.before[1]).div_ceil(2);
    figures.asked = figures.before[0].saturating_sub(half);
    cluster.move_clients(figures.asked, settings.within)?;
    while called.elapsed() < settings.within + MOVED_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        figures.after = cluster.clients_of_both()?;
        if off_percent(figures.after) <= OFF_PERCENT_MAX {
            figures.even_s = Some(called.elapsed().as_secs_f64());
            break;
        }
    }

    progress.stage("watching whether somebody moves again");
    let watching = Instant::now();
    while watching.elapsed() < settings.watch {
        tokio::time::sleep(LOOK_EVERY).await;
        figures.after = cluster.clients_of_both()?;
        figures.off_percent = figures.off_percent.max(off_percent(figures.after));
    }
    beats.abort();
    let heard = heard.borrow();
    (figures.missed, figures.untold, figures.repeated) = (heard.missed, heard.untold, heard.repeated);
    drop(clients);
    Ok(figures)
}

/// How far a router is from its half, percent of that.
fn off_percent([one, other]: [u64; 2]) -> f64 {
    let half = (one + other) as f64 / 2.0;
    (one as f64 - half).abs() / half.max(1.0) * 100.0
}

/// What must hold.
fn checks(figures: &RebalanceFigures) -> Vec<Check> {
    vec![
        Check::new(
            "even",
            figures.even_s.is_some(),
            format!("{} and {} clients", figures.after[0], figures.after[1]),
        ),
        Check::new(
            "no second swing",
            figures.off_percent <= OFF_PERCENT_MAX,
            format!("{:.1} % off", figures.off_percent),
        ),
        Check::new(
            "beats",
            figures.missed == 0 && figures.repeated == 0,
            format!("{} missed, {} repeated", figures.missed, figures.repeated),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_routers_are_from_even_is_a_part_of_a_half() {
        assert!((off_percent([100, 0]) - 100.0).abs() < 1e-9);
        assert!((off_percent([105, 95]) - 5.0).abs() < 1e-9);
        assert!(off_percent([0, 0]).abs() < 1e-9);
    }
}
