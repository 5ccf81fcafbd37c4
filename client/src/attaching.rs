//! Runs the attachment of one connection: each lookup and each dial that it asks for is a task.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_proto::Shard;
use millrace_proto::control::{Goaway, Welcome};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::address::RouterAddress;
use crate::apart::Apart;
use crate::change::Change;
use crate::clock::nanos;
use crate::connector::{Connected, Connector, Wants, close_done};
use crate::disconnect::Disconnect;
use crate::error::{AttemptError, ConnectError};
use crate::link::{Link, Place};
use crate::session::attachment::{
    Attachment, AttachmentConfig, AttemptId, Failure, Input, Nearer, Output, Router,
};
use crate::time::Time;
use crate::turn::Turn;

/// What became of a lookup or a dial.
enum Done {
    Resolved(RouterAddress, Result<Vec<SocketAddr>, AttemptError>),
    Dialled(AttemptId, Result<Box<Connected>, AttemptError>),
}

/// What the attachment wants of the task that owns the connection.
enum Step {
    Attached(Box<Connected>),
    Leave { latest: Time },
    GaveUp(Failure<RouterAddress, AttemptError>),
}

/// A dial under way.
struct Dialling {
    task: AbortHandle,
    /// Whether its router has answered.
    answers: Arc<AtomicBool>,
}

/// Finds a router for one connection, again and again.
pub(crate) struct Attaching {
    attachment: Attachment<RouterAddress, AttemptError>,
    connector: Connector,
    wants: Wants,
    /// Lookups and dials under way.
    tasks: JoinSet<Done>,
    /// Dials that the attachment has not abandoned.
    dials: BTreeMap<AttemptId, Dialling>,
    /// Connections that their router has welcomed and the attachment has neither taken nor
    /// abandoned.
    welcomed: BTreeMap<AttemptId, Box<Connected>>,
    /// The attempt that made the newest connection.
    current: AttemptId,
    /// Whether the router of the newest connection asked to be left and the attachment looks for
    /// another one.
    is_moving: bool,
    /// Keeps it away from the router of another session.
    apart: Option<Apart>,
    /// Its place among those of this process who look for a router.
    turn: Turn,
}

impl Attaching {
    /// Begins to look for a router of the configuration.
    pub(crate) fn new(connector: Connector, wants: Wants) -> Self {
        Self::begin(connector, wants, false)
    }

    /// As [`Attaching::new`], for a connection whose owner has work without it: the first search
    /// has no end either.
    pub(crate) fn insisting(connector: Connector, wants: Wants) -> Self {
        Self::begin(connector, wants, true)
    }

    fn begin(connector: Connector, wants: Wants, insists: bool) -> Self {
        let config = connector.config();
        let settings = AttachmentConfig {
            attempt_ns: nanos(config.connect_timeout),
            backoff_max_ns: nanos(config.backoff_max),
            patience_ns: nanos(config.connect_within),
            insists,
            return_every_ns: nanos(config.return_every),
            look_after_ns: if config.nearest { AttachmentConfig::default().look_after_ns } else { 0 },
            ..AttachmentConfig::default()
        };
        let (levels, now) = (config.levels(), connector.clock().now());
        let zone = config.zone.clone().unwrap_or_default();
        Self {
            attachment: Attachment::leveled(settings, levels, rand::random(), now).in_zone(zone),
            connector,
            wants,
            tasks: JoinSet::new(),
            dials: BTreeMap::new(),
            welcomed: BTreeMap::new(),
            current: AttemptId::default(),
            is_moving: false,
            apart: None,
            turn: Turn::new(),
        }
    }

    /// Never uses the router of the other session.
    pub(crate) fn apart(mut self, apart: Apart) -> Self {
        self.apart = Some(apart);
        self
    }

    pub(crate) const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Takes over a connection that [`Connector::connect_to`] made.
    pub(crate) fn begin_attached(&mut self, link: &mut Link, welcome: &Welcome) {
        let Place { router, address } = link.place.clone();
        let round_trip_ns = Some(self.connector.round_trip_ns(link));
        let now = self.connector.clock().now();
        self.current = self.attachment.begin_attached((router, address), round_trip_ns, welcome, now);
        link.attempt = self.current;
    }

    /// Waits for the next connection; `shard` chooses the core of its router. The future may be
    /// dropped at any time, because lookups and dials go on in their tasks.
    ///
    /// # Errors
    /// [`ConnectError`] says why no router has welcomed the first connection. Later connections are
    /// looked for without end.
    pub(crate) async fn attach(&mut self, shard: Option<Shard>) -> Result<Box<Connected>, ConnectError> {
        loop {
            let clock = self.connector.clock();
            if self.attachment.is_to_search(clock.now()) {
                self.turn.come().await;
            }
            let step = self.step(shard);
            if !self.attachment.is_searching() {
                self.turn.end();
            }
            match step {
                Some(Step::Attached(connected)) => return Ok(connected),
                Some(Step::GaveUp(failure)) => return Err(ConnectError::of(failure)),
                Some(Step::Leave { .. }) => {}
                None => {
                    let due = self.attachment.poll_timeout().unwrap_or(Time::from_nanos(u64::MAX));
                    tokio::select! {
                        Some(done) = self.tasks.join_next() => self.handle(done),
                        () = tokio::time::sleep_until(clock.instant(due)) => {}
                        () = self.turn.pass() => {}
                    }
                }
            }
        }
    }

    /// Notes that the router of a connection goes away.
    pub(crate) fn goaway(&mut self, goaway: &Goaway, link: &Link) {
        self.connector.tell(Change::Leaving);
        let attempt = link.attempt;
        self.attachment.handle(Input::Goaway { attempt, goaway }, self.connector.clock().now());
    }

    /// Returns, once, that the present router is to be left: the latest moment to close its
    /// connection, `link`. The owner asks while it has one; then [`Attaching::attach`] finds the
    /// next. `shard` chooses the core of a router that is better than the present one.
    pub(crate) fn poll_leave(&mut self, link: &Link, shard: Option<Shard>) -> Option<Time> {
        let now = link.clock.now();
        if self.is_moving || self.attachment.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        let (attempt, round_trip_ns) = (self.current, self.connector.round_trip_ns(link));
        self.attachment.handle(Input::Measured { attempt, round_trip_ns }, now);
        if Turn::are_all_taken() {
            // Who has a router lets those go first who have none.
            self.attachment.look_later(now);
        }
        match self.step(shard) {
            Some(Step::Leave { latest }) => {
                self.is_moving = true;
                Some(latest)
            }
            Some(Step::Attached(_) | Step::GaveUp(_)) | None => None,
        }
    }

    /// Waits for what a lookup or a dial beside the present connection comes to; the owner is to
    /// ask [`Attaching::poll_leave`] then. May be dropped at any time.
    pub(crate) async fn hear(&mut self) {
        match self.tasks.join_next().await {
            Some(done) => self.handle(done),
            None => std::future::pending().await,
        }
    }

    /// When the owner is to ask [`Attaching::poll_leave`] again.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.attachment.poll_timeout().filter(|_| !self.is_moving)
    }

    /// Notes that the newest connection is lost.
    pub(crate) fn lost(&mut self, reason: &Disconnect) {
        self.is_moving = false;
        if let Some(apart) = &self.apart {
            apart.left();
        }
        let (attempt, verdict) = (self.current, reason.verdict());
        self.connector.tell(Change::Lost { reason: reason.clone() });
        self.attachment.handle(Input::Lost { attempt, verdict }, self.connector.clock().now());
    }

    /// Notes that the newest connection is lost while the one before still serves: another one is
    /// looked for.
    pub(crate) fn follower_lost(&mut self, reason: &Disconnect) {
        self.lost(reason);
        self.is_moving = true;
    }

    /// Does what the attachment asks for, until it wants something of the connection's owner.
    fn step(&mut self, shard: Option<Shard>) -> Option<Step> {
        let now = self.connector.clock().now();
        // In time for the next dial, which is what it puts off.
        for (&attempt, _) in self.dials.iter().filter(|(_, dial)| dial.answers.load(Ordering::Relaxed)) {
            self.attachment.handle(Input::Answered { attempt }, now);
        }
        while let Some(output) = self.attachment.poll_output(now) {
            match output {
                Output::Resolve { router } => {
                    self.tasks.spawn(async move {
                        let outcome = Connector::resolve(&router).await;
                        Done::Resolved(router, outcome)
                    });
                }
                Output::Dial { attempt, router, address } => {
                    let (connector, wants) = (self.connector.clone(), self.wants);
                    let answers = Arc::new(AtomicBool::new(false));
                    let answered = answers.clone();
                    let task = self.tasks.spawn(async move {
                        let place = Place { router, address };
                        let outcome = connector.dial(place, shard, wants, &answered).await;
                        Done::Dialled(attempt, outcome.map(Box::new))
                    });
                    self.dials.insert(attempt, Dialling { task, answers });
                }
                Output::Abandon { attempt } => {
                    if let Some(dial) = self.dials.remove(&attempt) {
                        dial.task.abort();
                    }
                    if let Some(connected) = self.welcomed.remove(&attempt) {
                        if let Some(apart) = &self.apart {
                            apart.unclaim();
                        }
                        close_done(&connected.0);
                    }
                }
                Output::Attached { attempt, router, address, away_ns, nearer } => {
                    let Some(mut connected) = self.welcomed.remove(&attempt) else { continue };
                    connected.0.attempt = attempt;
                    self.current = attempt;
                    self.is_moving = false;
                    if let Some(apart) = &self.apart {
                        apart.attached(&connected.1);
                    }
                    if let Some(Nearer { from_ns, to_ns }) = nearer {
                        let (from, to) = (Duration::from_nanos(from_ns), Duration::from_nanos(to_ns));
                        self.connector.tell(Change::Nearer { router: router.clone(), from, to });
                    }
                    let away = Duration::from_nanos(away_ns);
                    self.connector.tell(Change::Attached { router, address, away });
                    return Some(Step::Attached(connected));
                }
                Output::Leave { latest } => return Some(Step::Leave { latest }),
                Output::Trouble { failure, away_ns } => {
                    let reason = ConnectError::of(failure).to_string();
                    self.connector.tell(Change::Trouble { reason, away: Duration::from_nanos(away_ns) });
                }
                Output::GaveUp { failure } => return Some(Step::GaveUp(failure)),
            }
        }
        None
    }

    fn handle(&mut self, done: Result<Done, JoinError>) {
        let now = self.connector.clock().now();
        match done {
            Ok(Done::Resolved(router, outcome)) => {
                self.attachment.handle(Input::Resolved { router: &router, outcome }, now);
            }
            // A dial without a handle was abandoned; the next arm drops its connection.
            Ok(Done::Dialled(attempt, outcome)) if self.dials.remove(&attempt).is_some() => match outcome {
                Ok(connected) if self.apart.as_ref().is_some_and(|apart| !apart.claim(&connected.1)) => {
                    close_done(&connected.0);
                    self.attachment.handle(Input::Taken { attempt, welcome: &connected.1 }, now);
                }
                Ok(connected) => {
                    let round_trip_ns = self.connector.round_trip_ns(&connected.0);
                    self.attachment.handle(Input::Measured { attempt, round_trip_ns }, now);
                    self.attachment.handle(Input::Welcomed { attempt, welcome: &connected.1 }, now);
                    self.welcomed.insert(attempt, connected);
                }
                Err(error) => {
                    let verdict = error.verdict();
                    self.attachment.handle(Input::Failed { attempt, verdict, error }, now);
                }
            },
            Ok(Done::Dialled(..)) => {}
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

impl Router for RouterAddress {
    type Address = SocketAddr;

    fn address(&self) -> Option<SocketAddr> {
        self.socket_address()
    }

    fn named(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}
