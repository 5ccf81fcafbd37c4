//! The fleet's threads: built from a plan, started, ordered about, and joined.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use millrace_client::session::liveness::LivenessConfig;
use millrace_client::session::{ConnectionConfig, ConnectionSession, ReceiverConfig};
use millrace_proto::TagSet;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::GapReason;
use millrace_quic::{ClientSettings, Core, CoreSettings, Dial, Io, SocketId};
use millrace_verify::checker::{GapCount, Verdict};
use millrace_verify::oracle::Expected;
use millrace_verify::workload::{Generator, WorkloadError};

use super::app::{Connection, FleetApp, Mine, Role};
use super::order::{Order, Orders, Stretch};
use super::publisher::{Emitters, Epochs, Publisher};
use super::receiver::{Latency, Receivers, Watch, empty_latency};
use super::tally::{Sum, Tally};
use crate::scenario::Scenario;

/// Handshakes under way per thread: enough to keep a router busy, few enough not to be turned away.
const DIALS_MAX: usize = 16;
/// Sockets per thread, at most: connections beyond it share them. One process may hold 20,000 file descriptors.
const SOCKETS_MAX: usize = 512;
/// Sessions of a loaded generator are not declared dead by a scheduling hiccup.
const SILENCE_NS: u64 = 15_000_000_000;
/// How long a thread waits for its connections to close.
const CLOSE_WAIT: Duration = Duration::from_millis(300);

/// A router to connect to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The name that its certificate has.
    pub server_name: String,
}

/// What the fleet is made of.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// The scenario.
    pub scenario: Scenario,
    /// The routers.
    pub targets: Vec<Target>,
    /// TLS and transport of publishing and receiving connections.
    pub client: Arc<ClientSettings>,
    /// The workload's tags and selectors.
    pub generator: Arc<Generator>,
    /// Who must get what.
    pub expected: Arc<Expected>,
    /// All emitters' tag sets.
    pub tag_sets: Arc<[TagSet]>,
}

/// Why a fleet cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The workload does not generate.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A socket or thread could not be had.
    #[error("the fleet cannot start: {0}")]
    System(#[from] std::io::Error),
    /// A thread is gone.
    #[error("a thread of the fleet has died; run again with RUST_BACKTRACE=1")]
    Thread,
}

/// What a thread says.
#[derive(Debug)]
pub(super) enum Report {
    Published(Vec<(u32, u64)>),
    Judged(Box<(Verdict, Latency, Gaps)>),
    Lost(String),
}

/// Gap markers by reason.
pub type Gaps = BTreeMap<GapReason, GapCount>;

/// A verdict with its latencies.
#[derive(Debug)]
pub struct Judged {
    /// What was expected and what came.
    pub verdict: Verdict,
    /// Scheduled time to application, microseconds.
    pub latency: Latency,
    /// Gap markers since the last reset, by reason.
    pub gaps: Gaps,
}

/// Connections that are yet to be made.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) wishes: Vec<Wish>,
    pub(super) pending: usize,
    pub(super) open: usize,
    pub(super) lost: Option<String>,
    sockets: Vec<SocketId>,
    client: Arc<ClientSettings>,
    window_bytes: u64,
    linger_us: u64,
}

/// A connection to be made.
#[derive(Debug)]
pub(super) struct Wish {
    target: Target,
    shard: Option<u16>,
    role: WishRole,
}

#[derive(Debug)]
enum WishRole {
    /// Index of the publisher.
    Publisher(usize),
    /// Router number, and each receiver with its subscriptions.
    Receiver(u8, Vec<(u32, Vec<(u32, Vec<String>)>)>),
}

/// A running fleet.
#[derive(Debug)]
pub struct Fleet {
    orders: Arc<Orders>,
    tallies: Vec<Arc<Tally>>,
    reports: Receiver<Report>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Subscriptions that have to become effective.
    pub subscriptions: u64,
    /// Publishers that have to get credit.
    pub publishers: u64,
    /// Reasons of lost connections, as they are heard.
    pub losses: Vec<String>,
    emitters: usize,
}

impl Fleet {
    /// Starts the threads; they connect and subscribe at once.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn start(plan: &FleetPlan) -> Result<Self, FleetError> {
        let orders = Arc::new(Orders::default());
        let (sender, reports) = channel();
        let clock = Epochs::now();
        let mut fleet = Self {
            orders,
            tallies: Vec::new(),
            reports,
            threads: Vec::new(),
            subscriptions: 0,
            publishers: u64::from(plan.scenario.publisher_connections),
            losses: Vec::new(),
            emitters: plan.tag_sets.len(),
        };
        for thread in 0..u32::from(plan.scenario.fleet_threads) {
            let tally = Arc::new(Tally::default());
            let (app, subscriptions) =
                build(plan, thread, clock, Arc::clone(&tally), Arc::clone(&fleet.orders), sender.clone())?;
            fleet.subscriptions += subscriptions;
            fleet.tallies.push(tally);
            let handle =
                std::thread::Builder::new().name(format!("fleet-{thread}")).spawn(move || follow(app))?;
            fleet.threads.push(handle);
        }
        Ok(fleet)
    }

    /// The threads' counters at this moment.
    #[must_use]
    pub fn sum(&self) -> Sum {
        Sum::of(self.tallies.iter().map(Arc::as_ref))
    }

    /// Begins a stretch; returns its order's number.
    pub fn publish(&self, stretch: Stretch) -> u64 {
        self.orders.give(Order::Publish(stretch))
    }

    /// Whether every thread has published all of the stretch with this number.
    #[must_use]
    pub fn has_published(&self, order: u64) -> bool {
        self.tallies.iter().all(|tally| tally.published_order.get() == order)
    }

    /// How far the thread that is furthest behind its schedule is behind.
    #[must_use]
    pub fn behind(&self) -> Duration {
        Duration::from_nanos(self.tallies.iter().map(|tally| tally.behind_ns.get()).max().unwrap_or(0))
    }

    /// What was published and what came of it, since the last reset.
    ///
    /// # Errors
    /// [`FleetError::Thread`].
    pub fn judge(&mut self) -> Result<Judged, FleetError> {
        let mut published = vec![0; self.emitters];
        self.orders.give(Order::Count);
        self.collect(|report| match report {
            Report::Published(counts) => {
                for (emitter, count) in counts {
                    if let Some(slot) = published.get_mut(emitter as usize) {
                        *slot = count;
                    }
                }
                true
            }
            _ => false,
        })?;
        let mut judged = Judged { verdict: Verdict::default(), latency: empty_latency(), gaps: Gaps::new() };
        self.orders.give(Order::Judge(published.into()));
        self.collect(|report| match report {
            Report::Judged(part) => {
                judged.verdict += part.0;
                // Both have the same bounds.
                let _ = judged.latency.add(&part.1);
                for (reason, count) in part.2 {
                    let sum = judged.gaps.entry(reason).or_default();
                    sum.gaps += count.gaps;
                    sum.events += count.events;
                }
                true
            }
            _ => false,
        })?;
        Ok(judged)
    }

    /// Takes one report of each thread that `take` wants.
    fn collect(&mut self, mut take: impl FnMut(Report) -> bool) -> Result<(), FleetError> {
        let mut missing = self.threads.len();
        while missing > 0 {
            match self.reports.recv_timeout(Duration::from_secs(30)).map_err(|_| FleetError::Thread)? {
                Report::Lost(reason) => self.losses.push(reason),
                report => missing -= usize::from(take(report)),
            }
        }
        Ok(())
    }

    /// Hears of lost connections.
    pub fn listen(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Lost(reason) = report {
                self.losses.push(reason);
            }
        }
    }

    /// Closes all connections and joins the threads.
    ///
    /// # Errors
    /// [`FleetError::Thread`].
    pub fn finish(self) -> Result<(), FleetError> {
        self.orders.give(Order::Finish);
        for thread in self.threads {
            thread.join().map_err(|_| FleetError::Thread)?;
        }
        Ok(())
    }
}

/// CPU time of the calling thread, nanoseconds.
pub(super) fn thread_cpu_ns() -> u64 {
    crate::run::cpu::thread_ns()
}

fn follow(app: FleetApp) {
    let settings = CoreSettings { handshakes_per_turn: 64, ..CoreSettings::default() };
    let Ok(mut core) = Core::new(settings, None, None, app) else { return };
    while !core.app().finishing {
        core.turn(Duration::from_millis(10));
    }
    let until = Instant::now() + CLOSE_WAIT;
    while core.app().dialling.open > 0 && Instant::now() < until {
        core.turn(Duration::from_millis(10));
    }
}

fn build(
    plan: &FleetPlan,
    thread: u32,
    clock: Epochs,
    tally: Arc<Tally>,
    orders: Arc<Orders>,
    reports: Sender<Report>,
) -> Result<(FleetApp, u64), FleetError> {
    let FleetPlan { scenario, targets, generator, .. } = plan;
    let threads = u32::from(scenario.fleet_threads.max(1));
    let routers = u32::try_from(targets.len()).unwrap_or(1).max(1);
    let workload = &scenario.workload;
    let mine = Mine { connections: scenario.receiver_connections, threads, thread };
    let emitters_here = (0..workload.emitters)
        .filter(|&emitter| scenario.emitter_connection(emitter) % threads == thread)
        .collect::<Vec<_>>();
    let share = emitters_here.len() as f64 / f64::from(workload.emitters);
    let mut emitters =
        Emitters::new(workload.payload_bytes, workload.events_per_run, workload.words.clone(), share);
    let mut publishers = Vec::new();
    let mut wishes = Vec::new();
    let mut subscriptions = 0;
    for connection in (thread..scenario.publisher_connections).step_by(threads as usize) {
        let router = scenario.publisher_router(connection, routers);
        let id = u128::from(workload.seed) << 64 | u128::from(connection) + 1;
        publishers.push(Publisher::new(id, scenario.publish_linger, 4 << 20));
        let first = generator.tags(connection % workload.emitters);
        wishes.push(Wish {
            target: targets[router as usize].clone(),
            shard: Some(first.shard().number()),
            role: WishRole::Publisher(publishers.len() - 1),
        });
    }
    for emitter in emitters_here {
        let publisher = scenario.emitter_connection(emitter) / threads;
        let tags = &plan.tag_sets[emitter as usize];
        emitters.add(emitter, publisher, &mut publishers[publisher as usize], tags);
    }
    for connection in (thread..scenario.receiver_connections).step_by(threads as usize) {
        let router = scenario.receiver_router(connection, routers);
        let mut receivers = Vec::new();
        for receiver in (connection..workload.receivers).step_by(scenario.receiver_connections as usize) {
            let wanted = generator.subscriptions(receiver)?;
            subscriptions += wanted.len() as u64;
            let texts = wanted.into_iter().map(|subscription| {
                let selectors =
                    subscription.selectors.iter().map(|selector| selector.text().to_owned()).collect();
                (subscription.number, selectors)
            });
            receivers.push((receiver, texts.collect()));
        }
        wishes.push(Wish {
            target: targets[router as usize].clone(),
            shard: None,
            role: WishRole::Receiver(u8::try_from(router).unwrap_or(u8::MAX), receivers),
        });
    }
    wishes.reverse();
    let emitter_router = (0..workload.emitters)
        .map(|emitter| scenario.publisher_router(scenario.emitter_connection(emitter), routers))
        .map(|router| u8::try_from(router).unwrap_or(u8::MAX))
        .collect();
    let watch =
        Watch::new(&plan.expected, |receiver| mine.holds(receiver), emitter_router, plan.tag_sets.to_vec());
    let tick = (scenario.publish_linger / 10).clamp(Duration::from_micros(50), Duration::from_micros(500));
    let app = FleetApp {
        clock,
        tally,
        orders,
        reports,
        seen: 0,
        first: thread == 0,
        finishing: false,
        dialling: Dialling {
            wishes,
            pending: 0,
            open: 0,
            lost: None,
            sockets: Vec::new(),
            client: Arc::clone(&plan.client),
            window_bytes: scenario.receive_window_bytes,
            linger_us: u64::try_from(scenario.receive_linger.as_micros()).unwrap_or(u64::MAX),
        },
        connections: Vec::new(),
        by_id: HashMap::default(),
        publisher_conns: vec![millrace_quic::ConnId::from_u64(u64::MAX); publishers.len()],
        publishers,
        receivers: Vec::new(),
        emitters,
        watch,
        expected: Arc::clone(&plan.expected),
        mine,
        dirty: Vec::new(),
        tick,
        published_at: Instant::now(),
        tended_at: Instant::now(),
    };
    Ok((app, subscriptions))
}

/// Dials the connections that are missing, a few at a time.
pub(super) fn dial_more(app: &mut FleetApp, io: &mut Io<'_>) {
    while app.dialling.pending < DIALS_MAX {
        let Some(wish) = app.dialling.wishes.pop() else { return };
        if let Err(reason) = dial(app, io, wish) {
            app.tally.connections_lost.add(1);
            let _ = app.reports.send(Report::Lost(reason));
        }
    }
}

fn dial(app: &mut FleetApp, io: &mut Io<'_>, wish: Wish) -> Result<(), String> {
    let Wish { target, shard, role } = wish;
    let via = if app.dialling.sockets.len() < SOCKETS_MAX {
        let any: IpAddr = match target.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = io.add_socket(SocketAddr::new(any, 0)).map_err(|error| format!("socket: {error}"))?;
        app.dialling.sockets.push(socket);
        socket
    } else {
        app.dialling.sockets[app.connections.len() % SOCKETS_MAX]
    };
    let client = Arc::clone(&app.dialling.client);
    let server_name = target.server_name;
    let conn = io
        .connect(&Dial { remote: target.address, server_name, client, via, shard })
        .map_err(|error| error.to_string())?;
    app.dialling.pending += 1;
    app.dialling.open += 1;
    let time = app.clock.time(io.now());
    let receivers = match &role {
        WishRole::Publisher(_) => 0,
        WishRole::Receiver(_, receivers) => u32::try_from(receivers.len()).unwrap_or(u32::MAX),
    };
    let liveness =
        LivenessConfig { silence_ns: SILENCE_NS, idle_silence_ns: 2 * SILENCE_NS, welcome_ns: SILENCE_NS };
    let config = ConnectionConfig {
        software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")).to_owned(),
        receivers,
        liveness,
        ..ConnectionConfig::default()
    };
    let mut session = ConnectionSession::new(config, time);
    let role = match role {
        WishRole::Publisher(number) => {
            app.publisher_conns[number] = conn;
            Role::Publisher(number)
        }
        WishRole::Receiver(router, wanted) => {
            let config =
                ReceiverConfig { window_bytes: app.dialling.window_bytes, tables: TableCapacity::CLIENT };
            let mut half = Receivers::new(router, config);
            for (receiver, subscriptions) in wanted {
                half.open(&mut session, receiver, app.dialling.linger_us, subscriptions);
            }
            app.receivers.push(half);
            Role::Receiver(app.receivers.len() - 1)
        }
    };
    app.by_id.insert(conn, app.connections.len());
    app.connections.push(Connection::new(conn, session, role));
    Ok(())
}
