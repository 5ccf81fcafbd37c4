//! Disturbances: what else goes on in a cluster while others want their events in time.
//!
//! Each comes with a phase of its own behind the undisturbed one, at the same rate. What it may cost is known: the receiver
//! that stalls loses by its own overflow what its gap markers say, and nobody else loses anything.
//!
//! | disturbance | what happens | who plays it |
//! |---|---|---|
//! | slow receiver | receiver 0 stops granting; catches up when the phase is over | the fleet |
//! | churn | distinct selectors are subscribed and, a second later, unsubscribed | a crowd of few connections |
//! | storm | thousands of clients reconnect at once | a crowd, which is connected in the undisturbed phase, too |

mod churn;
mod crowd;
mod held;
mod storm;
mod tickets;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use millrace_quic::{Core, CoreSettings, TransportSettings};
use rustls::client::Resumption;
use serde::Serialize;

use self::churn::Churn;
use self::crowd::{Behaviour, CrowdApp, Ready};
use self::held::Held;
use self::storm::Storm;
use self::tickets::Tickets;
use crate::cluster::{Cluster, ClusterError};
use crate::fleet::Judged;
use crate::progress::Progress;

/// How long a crowd may take to connect, and to say what came of a disturbance.
const PATIENCE: Duration = Duration::from_secs(120);
/// Priority of crowds' threads.
const NICE: i32 = 5;
/// Churn that is effective within a second: this part, at least.
const CHURN_EFFECTIVE_MIN: f64 = 0.95;
/// A storm is over within this time.
const STORM_SETTLED_MAX_S: f64 = 10.0;

/// Something that disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Disturbance {
    /// One receiver stalls.
    SlowReceiver,
    /// Distinct selectors are subscribed and unsubscribed.
    Churn,
    /// Clients reconnect at once, each with a full handshake.
    Storm,
    /// Clients reconnect at once and resume their TLS sessions.
    StormResumed,
}

impl Disturbance {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowReceiver => "slow-receiver",
            Self::Churn => "churn",
            Self::Storm => "storm",
            Self::StormResumed => "storm-resumed",
        }
    }

    /// What goes on, for people.
    #[must_use]
    pub const fn stage(self) -> &'static str {
        match self {
            Self::SlowReceiver => "measuring with a receiver that stalls",
            Self::Churn => "measuring with churn",
            Self::Storm => "measuring with a storm",
            Self::StormResumed => "measuring with a storm, resumed",
        }
    }

    const fn is_storm(self) -> bool {
        matches!(self, Self::Storm | Self::StormResumed)
    }
}

/// How much of a disturbance.
#[derive(Debug, Clone, Copy)]
pub struct DisturbSettings {
    /// Distinct selectors subscribed per second, and as many unsubscribed.
    pub churn_per_second: u32,
    /// Clients that reconnect.
    pub storm_clients: u32,
}

impl Default for DisturbSettings {
    fn default() -> Self {
        Self { churn_per_second: 50_000, storm_clients: 10_000 }
    }
}

/// What goes on beside a run from before its warm-up to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Background {
    /// Selectors that match nothing, at most 256,000.
    pub held_selectors: u32,
    /// Distinct selectors subscribed per second, and as many unsubscribed.
    pub churn_per_second: u32,
}

/// What came of a disturbance itself.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub enum Outcome {
    /// Of the receiver that stalled.
    SlowReceiver { expected: u64, delivered: u64, missing: u64, said_by_its_gaps: u64 },
    /// Of the selectors.
    Churn {
        selectors: u64,
        selectors_per_s: f64,
        effective_within_1s_share: f64,
        effective_p50_ms: f64,
        effective_p99_ms: f64,
        refused: u64,
    },
    /// Of the clients that reconnected.
    Storm { clients: u64, settled_s: Option<f64>, dials: u64, tickets_used: u64 },
    /// Nobody said what came of it in time.
    Unknown,
}

impl Outcome {
    /// Whether the cluster bore it: churn effective in time, a storm over in time.
    #[must_use]
    pub fn is_borne(&self) -> bool {
        match self {
            Self::SlowReceiver { missing, said_by_its_gaps, .. } => missing <= said_by_its_gaps,
            Self::Churn { effective_within_1s_share, .. } => {
                *effective_within_1s_share >= CHURN_EFFECTIVE_MIN
            }
            Self::Storm { settled_s, .. } => settled_s.is_some_and(|seconds| seconds <= STORM_SETTLED_MAX_S),
            Self::Unknown => false,
        }
    }
}

/// What a crowd is told.
#[derive(Debug, Clone, Copy)]
enum Order {
    Begin(Disturbance),
    End,
    Finish,
}

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
        Ok(this)
    }

    fn crowd(&self, disturbance: Disturbance) -> Option<&Crowd> {
        match disturbance {
            Disturbance::SlowReceiver => None,
            Disturbance::Churn => self.churn.as_ref(),
            Disturbance::Storm | Disturbance::StormResumed => self.storm.as_ref(),
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
        for crowd in [self.churn, self.storm].into_iter().flatten().chain(self.background) {
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
