//! The fleet's threads: built from a plan, started, ordered about, and joined.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use millrace_proto::TagSet;
use millrace_proto::data::GapReason;
use millrace_quic::{ClientSettings, Core, CoreSettings};
use millrace_verify::checker::{GapCount, Verdict};
use millrace_verify::oracle::Expected;
use millrace_verify::workload::{Generator, WorkloadError};

use super::app::FleetApp;
use super::build::{Shared, build};
use super::order::{Order, Orders, Stretch};
use super::publisher::Epochs;
use super::receiver::{Latency, empty_latency};
use super::tally::{Sum, Tally};
use crate::scenario::Scenario;

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
            let shared = Shared { clock, orders: Arc::clone(&fleet.orders), reports: sender.clone() };
            let (app, subscriptions) = build(plan, thread, Arc::clone(&tally), shared)?;
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
