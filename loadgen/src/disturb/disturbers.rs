//! The crowds that a run needs: started and connected, told when to disturb, asked what came of it,
//! and joined.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use millrace_quic::{ClientSettings, Core, CoreSettings, TransportSettings};
use rustls::client::Resumption;

use super::churn::{self, Churn};
use super::crowd::{Behaviour, CrowdApp, Ready};
use super::held::{self, Held};
use super::junk::Junk;
use super::kind::{Background, DisturbSettings, Disturbance, Order};
use super::outcome::Outcome;
use super::reload::Reload;
use super::spoofed::Spoofed;
use super::storm::Storm;
use super::tickets::Tickets;
use crate::cluster::{Cluster, ClusterError};
use crate::fleet::Judged;
use crate::progress::Progress;

/// How long a crowd may take to connect, and to say what came of a disturbance.
const PATIENCE: Duration = Duration::from_secs(120);
/// Priority of crowds' threads.
const NICE: i32 = 5;

/// A crowd's thread, from outside.
#[derive(Debug)]
struct Crowd {
    orders: Sender<Order>,
    outcomes: Receiver<Outcome>,
    thread: std::thread::JoinHandle<()>,
}

/// The crowds that a run needs.
#[derive(Debug, Default)]
pub(crate) struct Disturbers {
    churn: Option<Crowd>,
    storm: Option<Crowd>,
    /// Those who are no clients.
    strangers: Vec<(Disturbance, Crowd)>,
    background: Vec<Crowd>,
}

impl Disturbers {
    /// Starts and connects the crowds that these disturbances need.
    ///
    /// # Errors
    /// [`ClusterError`]: the crowd does not connect.
    pub(crate) fn start(
        disturbances: &[Disturbance],
        settings: DisturbSettings,
        duration: Duration,
        background: Background,
        cluster: &Cluster,
        progress: &Progress,
    ) -> Result<Self, ClusterError> {
        let mut this = Self::default();
        let many =
            |receivers| TransportSettings { uni_streams: receivers, ..TransportSettings::client_facing() };
        if background.held_selectors > 0 {
            progress.stage("subscribing selectors that match nothing");
            let (transport, held) = (many(held::RECEIVERS), Held::new(background.held_selectors));
            this.background.push(start(cluster, transport, held::CONNECTIONS, |_| held, progress)?);
        }
        let churn = |per_second| {
            progress.stage("connecting those who churn");
            let behaviour = Churn::new(per_second);
            start(cluster, many(churn::RECEIVERS), churn::CONNECTIONS, |_| behaviour, progress)
        };
        if background.churn_per_second > 0 {
            let crowd = churn(background.churn_per_second)?;
            // A crowd that is gone is noticed when it is joined.
            let _ = crowd.orders.send(Order::Begin(Disturbance::Churn));
            this.background.push(crowd);
        }
        if disturbances.contains(&Disturbance::Churn) {
            this.churn = Some(churn(settings.churn_per_second)?);
        }
        if disturbances.iter().any(|disturbance| disturbance.is_storm()) {
            progress.stage("connecting those who will storm");
            let clients = settings.storm_clients.max(1);
            let make = |tickets| Storm::new(clients, tickets);
            this.storm = Some(start(
                cluster,
                TransportSettings { keep_alive: None, ..TransportSettings::lone_emitters() },
                clients,
                make,
                progress,
            )?);
        }
        for kind in [Disturbance::JunkHandshakes, Disturbance::JunkSpoofed, Disturbance::Reload] {
            if disturbances.contains(&kind) {
                progress.stage("preparing what will disturb");
                this.strangers.push((kind, strangers(kind, settings, duration, cluster)?));
            }
        }
        Ok(this)
    }

    fn crowd(&self, disturbance: Disturbance) -> Option<&Crowd> {
        match disturbance {
            Disturbance::SlowReceiver => None,
            Disturbance::Churn => self.churn.as_ref(),
            Disturbance::Storm | Disturbance::StormResumed => self.storm.as_ref(),
            Disturbance::JunkHandshakes | Disturbance::JunkSpoofed | Disturbance::Reload => {
                self.strangers.iter().find(|(kind, _)| *kind == disturbance).map(|(_, crowd)| crowd)
            }
        }
    }

    /// The disturbed phase begins.
    pub(crate) fn begin(&self, disturbance: Disturbance) {
        self.tell(disturbance, Order::Begin(disturbance));
    }

    /// It is over; what came of it is asked for by [`Disturbers::outcome`].
    pub(crate) fn end(&self, disturbance: Disturbance) {
        self.tell(disturbance, Order::End);
    }

    fn tell(&self, disturbance: Disturbance, order: Order) {
        if let Some(crowd) = self.crowd(disturbance) {
            // A crowd that is gone has no outcome, which is noticed there.
            let _ = crowd.orders.send(order);
        }
    }

    /// What came of it; waits for crowds that are not done.
    pub(crate) fn outcome(&self, disturbance: Disturbance, judged: &Judged) -> Outcome {
        if let Some(crowd) = self.crowd(disturbance) {
            return crowd.outcomes.recv_timeout(PATIENCE).unwrap_or(Outcome::Unknown);
        }
        judged.slow.map_or(Outcome::Unknown, |slow| Outcome::SlowReceiver {
            expected: slow.verdict.expected_deliveries,
            delivered: slow.verdict.delivered,
            missing: slow.verdict.lost,
            said_by_its_gaps: slow.overflowed,
        })
    }

    /// Closes all connections and joins the threads.
    pub(crate) fn finish(self) {
        let strangers = self.strangers.into_iter().map(|(_, crowd)| crowd);
        let crowds = [self.churn, self.storm].into_iter().flatten().chain(self.background);
        for crowd in crowds.chain(strangers) {
            let _ = crowd.orders.send(Order::Finish);
            // A crowd that panicked has said so.
            let _ = crowd.thread.join();
        }
    }
}

fn start<B: Behaviour + Send + 'static>(
    cluster: &Cluster,
    transport: TransportSettings,
    clients: u32,
    make: impl FnOnce(Arc<Tickets>) -> B,
    progress: &Progress,
) -> Result<Crowd, ClusterError> {
    let tickets = Arc::new(Tickets::default());
    let client = cluster.client(transport, Resumption::store(Arc::clone(&tickets) as Arc<_>))?;
    let (orders, receive_orders) = channel();
    let (send_outcome, outcomes) = channel();
    let ready = Arc::new(Ready::default());
    let app = CrowdApp::new(
        cluster.targets().to_vec(),
        client,
        clients,
        make(tickets),
        receive_orders,
        send_outcome,
        Arc::clone(&ready),
    );
    let failed = |error: std::io::Error| ClusterError::Start(error.to_string());
    let thread =
        std::thread::Builder::new().name("crowd".into()).spawn(move || follow(app)).map_err(failed)?;
    let begun = Instant::now();
    while ready.count() < u64::from(clients) {
        if let Some(reason) = ready.refused() {
            return Err(ClusterError::Refused(reason));
        }
        if begun.elapsed() > PATIENCE || thread.is_finished() {
            return Err(ClusterError::Crowd { connected: ready.count(), clients });
        }
        progress.crowd(ready.count(), clients);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Crowd { orders, outcomes, thread })
}

/// Starts the thread of a disturbance that has no clients.
fn strangers(
    kind: Disturbance,
    settings: DisturbSettings,
    duration: Duration,
    cluster: &Cluster,
) -> Result<Crowd, ClusterError> {
    let failed = |error: std::io::Error| ClusterError::Start(error.to_string());
    let (orders, told) = channel();
    let (say, outcomes) = channel();
    let targets = cluster.targets();
    let per_second = settings.junk_per_second;
    let work: Box<dyn FnOnce() + Send> = match kind {
        Disturbance::JunkSpoofed => {
            let tls = Cluster::distrustful()?;
            let spoofed = Spoofed::new(targets, &tls, per_second, duration).map_err(failed)?;
            Box::new(move || spoofed.follow(&told, &say))
        }
        Disturbance::Reload => {
            let reloads = cluster.reloads().ok_or(ClusterError::NoReload)?;
            Box::new(move || Reload::new(reloads, settings.reload_every).follow(&told, &say))
        }
        _ => {
            let transport = TransportSettings { keep_alive: None, ..TransportSettings::lone_emitters() };
            let client = Arc::new(ClientSettings::new(Cluster::distrustful()?, transport)?);
            let targets = targets.to_vec();
            Box::new(move || Junk::new(targets, client, per_second, told, say).follow())
        }
    };
    let work = move || {
        // It stands for hosts elsewhere, which do not take CPUs from those who measure.
        let _ = rustix::process::nice(NICE);
        work();
    };
    let thread = std::thread::Builder::new().name("strangers".into()).spawn(work).map_err(failed)?;
    Ok(Crowd { orders, outcomes, thread })
}

fn follow<B: Behaviour>(app: CrowdApp<B>) {
    // It stands for hosts elsewhere, which do not take CPUs from those who measure.
    let _ = rustix::process::nice(NICE);
    let settings = CoreSettings { handshakes_per_turn: 64, ..CoreSettings::default() };
    let Ok(mut core) = Core::new(settings, None, None, app) else { return };
    while !core.app().is_finished() {
        core.turn(Duration::from_millis(10));
    }
    // What closes the connections leaves.
    for _ in 0..20 {
        core.turn(Duration::from_millis(1));
    }
}
