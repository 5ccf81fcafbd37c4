//! The fleet's threads: built from a plan, started, ordered about, and joined.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use millrace_quic::{Core, CoreSettings};
use millrace_verify::workload::WorkloadError;

use super::build::build;
use super::clock::Epochs;
use super::judged::Judged;
use super::library::{Part, play};
use super::order::{Order, Orders, Stretch};
use super::plan::FleetPlan;
use super::shared::{Report, Shared};
use super::state::FleetApp;
use super::tally::{Sum, Tally};
use crate::scenario::Driver;

/// How long a thread waits for its connections to close.
const CLOSE_WAIT: Duration = Duration::from_millis(300);

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

/// Time of a thread on a CPU, and in the queue for one, nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    /// It ran.
    pub ran_ns: u64,
    /// It was ready, and no CPU was free.
    pub waited_ns: u64,
}

impl ThreadTimes {
    /// What was added since `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self { ran_ns: self.ran_ns - before.ran_ns, waited_ns: self.waited_ns - before.waited_ns }
    }
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
            fleet.tallies.push(Arc::clone(&tally));
            let builder = std::thread::Builder::new().name(format!("fleet-{thread}"));
            let handle = match plan.scenario.driver {
                Driver::Fleet => {
                    let (app, subscriptions) = build(plan, thread, tally, shared)?;
                    fleet.subscriptions += subscriptions;
                    builder.spawn(move || follow(app))?
                }
                Driver::Client => {
                    let part = Part { plan: plan.clone(), thread, tally, shared };
                    builder.spawn(move || play(part))?
                }
            };
            fleet.threads.push(handle);
        }
        if plan.scenario.driver == Driver::Client {
            for receiver in 0..plan.scenario.workload.receivers {
                fleet.subscriptions += plan.generator.subscriptions(receiver)?.len() as u64;
            }
        }
        Ok(fleet)
    }

    /// Times of each thread so far.
    #[must_use]
    pub fn thread_times(&self) -> Vec<ThreadTimes> {
        let times =
            |tally: &Arc<Tally>| ThreadTimes { ran_ns: tally.cpu_ns.get(), waited_ns: tally.waited_ns.get() };
        self.tallies.iter().map(times).collect()
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
        let mut judged = Judged::default();
        self.orders.give(Order::Judge(published.into()));
        self.collect(|report| match report {
            Report::Judged(part) => {
                judged.merge(&part);
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
