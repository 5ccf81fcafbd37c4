//! A thread of the fleet on the public client library: what users' programs get, with the same
//! schedule and checkers.
//!
//! With [`Ways::redundant`](crate::scenario::Ways) and `failover` each client knows several
//! routers, of which some may be killed meanwhile.
//!
//! One tokio runtime per thread. A task per receiver checks what it gets in batches; one loop
//! follows orders and offers events by the schedule. Tag sets of runs are not looked at here, only
//! payloads: the library's own tests do.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use millrace_client::receiver::BatchItem;
use millrace_client::{
    Client, Config, ConfirmLevel, Connections, GapReason, Publisher, PublisherOptions, Receiver,
    ReceiverConnection, ReceiverOptions, RouterAddress, Trust,
};
use millrace_measure::kernel;
use tokio::task::LocalSet;

use super::build::emitter_routers;
use super::clock::Epochs;
use super::order::{Order, Orders};
use super::plan::{FleetPlan, Target};
use super::schedule::Schedule;
use super::shared::{Report, Shared};
use super::tally::Tally;
use super::watch::{Slow, Watch, checkers};

/// Sessions of a loaded generator are not declared dead by a scheduling hiccup.
const SILENCE: Duration = Duration::from_secs(15);
/// Longest pause between attempts to reach a router, where routers are killed.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Between two looks at the schedule: the finest that tokio's timer knows.
const TICK: Duration = Duration::from_millis(1);
/// How long publishers may take to close.
const CLOSE_WAIT: Duration = Duration::from_millis(300);
/// Bytes that a publisher queues at most, as in the fleet.
const PUBLISHER_QUEUE_BYTES: usize = 4 << 20;

/// What one thread plays.
pub(super) struct Part {
    pub(super) plan: FleetPlan,
    pub(super) thread: u32,
    pub(super) tally: Arc<Tally>,
    pub(super) shared: Shared,
}

/// What the tasks of a thread share.
struct Desk {
    watch: RefCell<Watch>,
    tally: Arc<Tally>,
    clock: Epochs,
    reports: Sender<Report>,
}

impl Desk {
    fn lost(&self, reason: String) {
        self.tally.connections_lost.add(1);
        // The run has gone away when nobody listens.
        let _ = self.reports.send(Report::Lost(reason));
    }
}

/// Plays a part until the order to finish.
pub(super) fn play(part: Part) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            part.tally.connections_lost.add(1);
            let _ = part.shared.reports.send(Report::Lost(error.to_string()));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, part.run());
}

impl Part {
    fn holds(&self, connection: u32) -> bool {
        connection % u32::from(self.plan.scenario.fleet_threads.max(1)) == self.thread
    }

    async fn run(self) {
        let Shared { clock, orders, reports } = self.shared.clone();
        let routers = u32::try_from(self.plan.targets.len()).unwrap_or(1).max(1);
        let checkers = self.checkers();
        let watch =
            Watch::new(checkers, emitter_routers(&self.plan.scenario, routers), self.plan.tag_sets.to_vec());
        let tally = Arc::clone(&self.tally);
        let desk = Rc::new(Desk { watch: RefCell::new(watch), tally, clock, reports });
        let publishers = match self.connect(&desk, routers).await {
            Ok(publishers) => publishers,
            Err(reason) => {
                desk.lost(reason);
                Vec::new()
            }
        };
        let schedule = self.schedule(&publishers);
        self.follow(&desk, &orders, schedule, &publishers).await;
        for publisher in publishers {
            // What is not received by then was counted as lost before.
            let _ = tokio::time::timeout(CLOSE_WAIT, publisher.close()).await;
        }
    }

    fn checkers(
        &self,
    ) -> (millrace_verify::checker::FleetChecker, Option<millrace_verify::checker::FleetChecker>) {
        checkers(&self.plan.expected, Slow::of(&self.plan.scenario), |receiver| self.holds(receiver))
    }

    /// Connects this thread's receivers and publishers, and subscribes.
    async fn connect(&self, desk: &Rc<Desk>, routers: u32) -> Result<Vec<Publisher>, String> {
        let scenario = &self.plan.scenario;
        for number in (0..scenario.workload.receivers).filter(|&receiver| self.holds(receiver)) {
            let router = scenario.receiver_router(scenario.receiver_connection(number), routers);
            let others = if scenario.ways.redundant { scenario.receiving_routers(routers) } else { 0..0 };
            let receiver = self.client(&self.plan.targets_of_receivers, router, others)?;
            let receiver = self.receiver(desk, &receiver, number).await?;
            let router = u8::try_from(router).unwrap_or(u8::MAX);
            tokio::task::spawn_local(receive(Rc::clone(desk), receiver, number, router));
        }
        let mut publishers = Vec::new();
        for connection in (0..scenario.publisher_connections).filter(|&connection| self.holds(connection)) {
            let router = scenario.publisher_router(connection, routers);
            let first = connection % scenario.workload.emitters;
            let options = PublisherOptions::default()
                .linger(scenario.publish_linger)
                .received_within(scenario.received_within)
                .buffer_bytes(PUBLISHER_QUEUE_BYTES)
                .shard(self.plan.tag_sets[first as usize].shard())
                .connections(Connections::One);
            let (options, others) = if scenario.ways.failover {
                (options.level(ConfirmLevel::Routed), 0..routers)
            } else {
                (options, 0..0)
            };
            let publisher = self.client(&self.plan.targets, router, others)?.publisher(options).await;
            publishers.push(publisher.map_err(|error| error.to_string())?);
            desk.tally.welcomed.add(1);
            desk.tally.credited.add(1);
        }
        Ok(publishers)
    }

    /// A client of one of the routers `targets`, which knows `others`, too: it goes to one of them
    /// when its own is lost.
    fn client(&self, targets: &[Target], router: u32, others: Range<u32>) -> Result<Client, String> {
        let address = |router: u32| -> Result<RouterAddress, String> {
            let target = &targets[router as usize];
            target.address.to_string().parse().map_err(|error| format!("{error}"))
        };
        let fallbacks: Vec<_> =
            others.filter(|&other| other != router).map(address).collect::<Result<_, _>>()?;
        let config = Config::new([address(router)?])
            .trust(Trust::Pem(self.plan.ca_pem.to_vec()))
            .server_name(targets[router as usize].server_name.clone());
        let config = if fallbacks.is_empty() {
            config.silence(SILENCE)
        } else {
            config.fallbacks([fallbacks]).backoff_max(BACKOFF_MAX)
        };
        Client::new(config).map_err(|error| error.to_string())
    }

    async fn receiver(&self, desk: &Desk, client: &Client, number: u32) -> Result<Receiver, String> {
        let scenario = &self.plan.scenario;
        let options = ReceiverOptions::default()
            .queue_bytes(scenario.receive_queue_bytes)
            .linger(scenario.receive_linger)
            .window_bytes(scenario.receive_window_bytes)
            .connection(ReceiverConnection::Own)
            .redundant(scenario.ways.redundant);
        let receiver = client.receiver(options).await.map_err(|error| error.to_string())?;
        desk.tally.welcomed.add(1);
        let subscriptions = self.plan.generator.subscriptions(number).map_err(|error| error.to_string())?;
        for subscription in subscriptions {
            let texts = subscription.selectors.iter().map(millrace_proto::Selector::text);
            let mut subscription = receiver.subscribe(texts).map_err(|error| error.to_string())?;
            subscription.in_cluster().await.map_err(|error| error.to_string())?;
            desk.tally.effective.add(1);
        }
        Ok(receiver)
    }

    fn schedule(&self, publishers: &[Publisher]) -> Schedule {
        let scenario = &self.plan.scenario;
        let workload = &scenario.workload;
        let threads = u32::from(scenario.fleet_threads.max(1));
        let mine = |emitter: &u32| self.holds(scenario.emitter_connection(*emitter));
        let here: Vec<u32> = (0..workload.emitters).filter(mine).collect();
        let share = here.len() as f64 / f64::from(workload.emitters);
        // The library lingers by itself, from when it is given an event.
        let mut schedule = Schedule::new(workload, share, Duration::ZERO);
        for emitter in here {
            let index = scenario.emitter_connection(emitter) / threads;
            let Some(publisher) = publishers.get(index as usize) else { continue };
            if let Ok(handle) = publisher.register(&self.plan.tag_sets[emitter as usize]) {
                schedule.add(emitter, index, handle);
            }
        }
        schedule
    }

    /// Follows orders and offers events until the order to finish.
    async fn follow(&self, desk: &Desk, orders: &Orders, mut schedule: Schedule, publishers: &[Publisher]) {
        let (tally, clock) = (&desk.tally, desk.clock);
        let mut seen = 0;
        loop {
            if let Some((number, order)) = orders.newer(seen) {
                seen = number;
                match order {
                    Order::Idle => {}
                    Order::Publish(stretch) => {
                        let mut watch = desk.watch.borrow_mut();
                        if stretch.reset {
                            watch.reset(self.checkers());
                        }
                        watch.begin(&stretch, clock.ns(stretch.start));
                        schedule.begin(number, &stretch, self.thread == 0);
                    }
                    Order::Count => {
                        let _ = desk.reports.send(Report::Published(schedule.published().collect()));
                    }
                    Order::Judge(published) => {
                        let mut judged = desk.watch.borrow_mut().judge(&published);
                        judged.lag = schedule.lag().clone();
                        let _ = desk.reports.send(Report::Judged(Box::new(judged)));
                    }
                    Order::Finish => return,
                }
            }
            let more = schedule.offer(Instant::now(), clock, tally, |event| {
                let publisher = &publishers[event.publisher as usize];
                let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(event.scheduled_ns);
                publisher.try_publish_at(event.tags, time, event.payload).map(|_| ())
            });
            self.show(desk, publishers);
            if more {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    fn show(&self, desk: &Desk, publishers: &[Publisher]) {
        let tally = &desk.tally;
        tally.received.set(publishers.iter().map(|publisher| publisher.stats().received).sum());
        tally.cpu_ns.set(kernel::thread_ns());
        tally.waited_ns.set(kernel::thread_waited_ns());
        tally.faults.set(desk.watch.borrow().faults());
        for lost in publishers.iter().filter_map(Publisher::try_lost) {
            desk.lost(format!("{lost:?}"));
        }
    }
}

/// Checks what a receiver gets, for as long as it lives.
async fn receive(desk: Rc<Desk>, mut receiver: Receiver, number: u32, router: u8) {
    while let Some(batch) = receiver.next_batch().await {
        let now_ns = desk.clock.ns(Instant::now());
        let mut watch = desk.watch.borrow_mut();
        watch.turn_slice(now_ns);
        for item in batch.iter() {
            match item {
                BatchItem::Event(event) => watch.deliver(number, router, event.payload, now_ns, &desk.tally),
                BatchItem::Gap(gap) => {
                    watch.gap(gap, &desk.tally);
                    if gap.reason == GapReason::SessionLost {
                        desk.lost("a receiver's session".to_owned());
                    }
                }
                _ => {}
            }
        }
    }
}
