//! The preset from start to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use millrace_client::{Change, Client};

use super::figures::FailoverFigures;
use super::settings::FailoverSettings;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::features::clients::{play_many, until};
use crate::features::crowd;
use crate::features::ear::Heard;
use crate::features::{Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// How long all may take to have a beat again.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Set-up's last packets have gone by then.
const CALM: Duration = Duration::from_secs(1);

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn failover(
    settings: &FailoverSettings,
    progress: &Progress,
) -> Result<Report<FailoverFigures>, FeatureError> {
    let begun = Instant::now();
    progress.stage("starting");
    // Nobody else moves clients, and nothing else is published.
    let options = ["--rebalance", "off", "--canary-every", "0s"];
    let mut cluster = Cluster::processes_with(settings.routers, 1, &options)?;
    let result = play_many(run(settings, &mut cluster, progress));
    cluster.stop();
    let figures = result?;
    let checks = checks(&figures, settings);
    Ok(Report::new(figures, checks, begun.elapsed()))
}

async fn run(
    settings: &FailoverSettings,
    cluster: &mut Cluster,
    progress: &Progress,
) -> Result<FailoverFigures, FeatureError> {
    let mut figures = FailoverFigures {
        connections: settings.connections,
        routers: settings.routers,
        rate: settings.rate,
        ..FailoverFigures::default()
    };
    let clock = Clock::start();
    let count = settings.connections as usize;
    let heard = Rc::new(RefCell::new(Heard { again_us: vec![None; count], ..Heard::default() }));
    progress.stage("watching routers without receivers");
    tokio::time::sleep(CALM).await;
    let alone = datagrams_per_s(cluster, settings.watch).await;

    progress.stage("connecting and subscribing");
    let connecting = Instant::now();
    let clients = crowd::connect(|| crowd::client(cluster, 0), count, clock, &heard).await?;
    figures.set_up_s = connecting.elapsed().as_secs_f64();

    progress.stage("watching idle receivers");
    tokio::time::sleep(CALM).await;
    let idle = (datagrams_per_s(cluster, settings.watch).await - alone).max(0.0);
    figures.idle_datagrams_per_s = idle / f64::from(settings.connections);

    progress.stage("publishing");
    let published = Rc::new(Cell::new(0));
    // At the last router, which lives.
    let client = crowd::client(cluster, cluster.targets().len() - 1)?;
    let beats = crowd::beat(client, settings.rate, Rc::clone(&published)).await?;
    crowd::all_have_begun(count, &heard).await?;
    tokio::time::sleep(settings.watch).await;

    progress.stage("killing a router");
    cluster.kill_first();
    let killed_us = clock.now_us();
    heard.borrow_mut().first_after = Some(published.get());
    let (before, handshakes_before) = (datagrams(cluster), handshakes(cluster));
    let losses = Rc::new(Cell::new(0));
    clients.iter().for_each(|client| count_losses(client, &losses));
    until(BACK_WITHIN, || heard.borrow().back() == count).await;
    figures.move_datagrams = (datagrams(cluster) - before) as f64 / f64::from(settings.connections);
    let accepted = handshakes(cluster).saturating_sub(handshakes_before);
    figures.handshakes = accepted as f64 / f64::from(settings.connections);
    figures.lost_again = u64::saturating_sub(losses.get(), count as u64);
    beats.abort();
    let heard = heard.borrow();
    figures.lost = (count - heard.back()) as u64;
    let again = heard.again_us.iter().flatten().map(|at| at.saturating_sub(killed_us));
    figures.again_us = Spread::of(again.collect());
    (figures.missed, figures.untold, figures.repeated) = (heard.missed, heard.untold, heard.repeated);
    drop(clients);
    Ok(figures)
}

/// Counts each connection of a client that is lost.
fn count_losses(client: &Client, losses: &Rc<Cell<u64>>) {
    let (mut changes, losses) = (client.changes(), Rc::clone(losses));
    tokio::task::spawn_local(async move {
        while let Some(change) = changes.next().await {
            losses.set(losses.get() + u64::from(matches!(change, Change::Lost { .. })));
        }
    });
}

/// Handshakes that the routers that live have accepted.
fn handshakes(cluster: &Cluster) -> u64 {
    cluster.counted().get("handshakes").copied().unwrap_or(0)
}

/// Datagrams of all routers that live, both ways.
fn datagrams(cluster: &Cluster) -> u64 {
    let counted = cluster.counted();
    ["datagrams_in", "datagrams_out"].iter().filter_map(|name| counted.get(*name)).sum()
}

/// The same per second, over a stretch.
async fn datagrams_per_s(cluster: &Cluster, stretch: Duration) -> f64 {
    let (before, since) = (datagrams(cluster), Instant::now());
    tokio::time::sleep(stretch).await;
    (datagrams(cluster) - before) as f64 / since.elapsed().as_secs_f64()
}

/// What must hold.
fn checks(figures: &FailoverFigures, settings: &FailoverSettings) -> Vec<Check> {
    vec![
        Check::new(
            "events again",
            figures.lost == 0 && figures.again_us.p99() <= settings.within,
            format!("p99 {:.0} ms, {} never", figures.again_us.p99_us as f64 / 1e3, figures.lost),
        ),
        Check::new(
            "gaps",
            figures.untold == 0 && figures.repeated == 0,
            format!("{} missed without a gap, {} repeated", figures.untold, figures.repeated),
        ),
    ]
}
