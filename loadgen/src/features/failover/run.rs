//! The preset from start to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use millrace_client::{Client, Config, PublisherOptions, ReceiverConnection, ReceiverOptions, TagSet, Trust};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::ear::{Heard, listen};
use super::figures::FailoverFigures;
use super::settings::{FailoverSettings, TAG};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::features::clients::{play, until};
use crate::features::{Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// Receivers that connect at a time.
const CONNECT_AT_ONCE: usize = 64;
/// Receivers that share a socket: each socket takes 2 MiB here, and a beat to all of its receivers
/// has to fit into its buffer.
const CONNECTIONS_PER_SOCKET: usize = 50;
/// How long a receiver may take to connect, while thousands do.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);
/// How long all may take to have their first beat, and to have one again.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
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
    let result = play(run(settings, &mut cluster, progress));
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
    let sockets = count.div_ceil(CONNECTIONS_PER_SOCKET);
    let clients = (0..sockets).map(|_| client(cluster, 0)).collect::<Result<Vec<_>, _>>()?;
    stream::iter(0..count)
        .map(|number| receiver(&clients[number / CONNECTIONS_PER_SOCKET], number, clock, Rc::clone(&heard)))
        .buffer_unordered(CONNECT_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    figures.set_up_s = connecting.elapsed().as_secs_f64();

    progress.stage("watching idle receivers");
    tokio::time::sleep(CALM).await;
    let idle = (datagrams_per_s(cluster, settings.watch).await - alone).max(0.0);
    figures.idle_datagrams_per_s = idle / f64::from(settings.connections);

    progress.stage("publishing");
    let published = Rc::new(Cell::new(0));
    let beats = beat(cluster, settings.rate, Rc::clone(&published)).await?;
    if !until(BEGIN_WITHIN, || heard.borrow().begun == count as u64).await {
        let within_s = BEGIN_WITHIN.as_secs();
        return Err(FeatureError::Late { what: "not every receiver had an event", within_s });
    }
    tokio::time::sleep(settings.watch).await;

    progress.stage("killing a router");
    cluster.kill_first();
    let killed_us = clock.now_us();
    heard.borrow_mut().first_after = Some(published.get());
    let before = datagrams(cluster);
    until(BACK_WITHIN, || heard.borrow().back() == count).await;
    figures.move_datagrams = (datagrams(cluster) - before) as f64 / f64::from(settings.connections);
    beats.abort();
    let heard = heard.borrow();
    figures.lost = (count - heard.back()) as u64;
    let again = heard.again_us.iter().flatten().map(|at| at.saturating_sub(killed_us));
    figures.again_us = Spread::of(again.collect());
    (figures.missed, figures.untold, figures.repeated) = (heard.missed, heard.untold, heard.repeated);
    drop(clients);
    Ok(figures)
}

/// A client as programs have it: it knows one router, and hears of the others from it.
fn client(cluster: &Cluster, router: usize) -> Result<Client, FeatureError> {
    let target = &cluster.targets()[router];
    let address = target.address.to_string().parse().map_err(FeatureError::client)?;
    let config = Config::new([address])
        .trust(Trust::Pem(cluster.ca_pem().to_vec()))
        .server_name(target.server_name.clone())
        .connect_within(CONNECT_WITHIN);
    Client::new(config).map_err(FeatureError::client)
}

/// A receiver on the router that will be killed, with a connection of its own.
async fn receiver(
    client: &Client,
    number: usize,
    clock: Clock,
    heard: Rc<RefCell<Heard>>,
) -> Result<(), FeatureError> {
    let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
    let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
    let mut subscription = receiver.subscribe([TAG]).map_err(FeatureError::client)?;
    subscription.in_cluster().await.map_err(FeatureError::client)?;
    tokio::task::spawn_local(listen(receiver, number, clock, heard));
    Ok(())
}

/// Publishes numbered beats at the last router, which lives, until it is aborted.
async fn beat(
    cluster: &Cluster,
    rate: u32,
    published: Rc<Cell<u64>>,
) -> Result<tokio::task::JoinHandle<()>, FeatureError> {
    let client = client(cluster, cluster.targets().len() - 1)?;
    let options = PublisherOptions::default().linger(Duration::ZERO);
    let publisher = client.publisher(options).await.map_err(FeatureError::client)?;
    let tags = TagSet::from_texts([TAG]).map_err(FeatureError::client)?;
    Ok(tokio::task::spawn_local(async move {
        let _client = client;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut payload = [b'.'; PAYLOAD_BYTES_MIN];
        loop {
            ticks.tick().await;
            let n = published.get();
            if (Stamp { emitter: 0, n, scheduled_ns: 0 }).stamp_again(&mut payload).is_err()
                || publisher.publish(&tags, payload.to_vec()).await.is_err()
            {
                return;
            }
            published.set(n + 1);
        }
    }))
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
