//! A running router, seen from the program that started it.

mod one_core;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_engine::control::{Control, ControlMetrics, Status};
use millrace_proto::{Incarnation, RouterId};
use millrace_quic::Keys;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;

use crate::asked::{Process, Reloaded};
use crate::config::RouterConfig;
use crate::entrance::Entrance;
use crate::mail::{Command, ControlPicture, CorePost, Input, PictureFrame};
use crate::metrics::CoreSnapshot;
use crate::placement::Placement;
use crate::start_error::{ReloadError, StartError};
use crate::starting::Starting;

/// Time that is left for writing what was queued, once clients had their grace.
const FLUSH: Duration = Duration::from_millis(500);
/// The longest time that clients may take to leave.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a thread may take to answer; turns take less than a millisecond.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Between two looks at a condition that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The router has ended, or does not answer.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("the router has ended")]
pub struct Ended;

/// A condition did not come true in time.
#[derive(Debug, Clone, Error)]
#[error("it did not come true within {waited:?}")]
pub struct TimedOut {
    /// How long it was waited for.
    pub waited: Duration,
    /// What was seen last.
    pub last: Box<Seen>,
}

/// A router at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What control knows.
    pub status: Status,
    /// What control counted.
    pub control: ControlMetrics,
    /// Each core.
    pub cores: Vec<CoreSnapshot>,
}

impl Seen {
    /// Sums one number over the cores.
    pub fn sum(&self, number: impl Fn(&CoreSnapshot) -> u64) -> u64 {
        self.cores.iter().map(number).sum()
    }
}

/// The way to one core, and its thread.
pub(crate) struct CoreLink {
    post: CorePost,
    last: Arc<Mutex<Option<CoreSnapshot>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl CoreLink {
    pub(crate) fn new(
        post: CorePost,
        last: Arc<Mutex<Option<CoreSnapshot>>>,
        thread: JoinHandle<()>,
    ) -> Self {
        Self { post, last, thread: Mutex::new(Some(thread)) }
    }
}

/// What can be asked of a router from any thread.
pub(crate) struct View {
    pub(crate) addr: SocketAddr,
    pub(crate) admin_addr: Option<SocketAddr>,
    pub(crate) router: RouterId,
    pub(crate) incarnation: Incarnation,
    pub(crate) advertise: String,
    pub(crate) name: String,
    /// Where the threads run.
    pub(crate) placement: Placement,
    ca_pem: String,
    /// End of the certificate, seconds since 1970.
    certificate_expiry: AtomicI64,
    process: OnceLock<Process>,
    cores: Vec<CoreLink>,
    inputs: tokio::sync::mpsc::Sender<Input>,
    pictures: PictureFrame,
}

impl View {
    /// Asks control; `answer` is called on its thread, or dropped when it has ended.
    pub(crate) fn ask_control(&self, answer: impl FnOnce(&Control) + Send + 'static) -> Result<(), Ended> {
        self.inputs.try_send(Input::Ask(Box::new(answer))).map_err(|_| Ended)
    }

    /// Asks every core; `answer` is called once for each that lives, on its thread. Returns the
    /// last pictures of those that have ended.
    pub(crate) fn ask_cores(
        &self,
        answer: impl Fn(CoreSnapshot) + Send + Clone + 'static,
    ) -> Vec<CoreSnapshot> {
        let mut ended = Vec::new();
        for core in &self.cores {
            let last = core.last.lock().ok().and_then(|last| last.clone());
            match last {
                Some(last) => ended.push(last),
                None => core.post.send(Command::Inspect(Box::new(answer.clone()))),
            }
        }
        ended
    }

    /// When the certificate ends that new connections are shown, seconds since 1970.
    pub(crate) fn certificate_expiry(&self) -> i64 {
        self.certificate_expiry.load(Ordering::Relaxed)
    }

    /// Has the process read its settings anew, and waits until they are applied or refused. Returns
    /// a line for each difference.
    pub(crate) fn reload(&self) -> Reloaded {
        self.process.get().ok_or(ReloadError::Embedded)?.reload()
    }

    /// Has the process end in order; returns the time that clients have.
    pub(crate) fn drain(&self, grace: Option<Duration>) -> Result<Duration, ReloadError> {
        self.process.get().ok_or(ReloadError::Embedded)?.drain(grace)
    }

    /// [`View::ask_cores`] for whoever must not wait: cores whose mailbox is full are not asked.
    pub(crate) fn try_ask_cores(
        &self,
        answer: impl Fn(CoreSnapshot) + Send + Clone + 'static,
    ) -> Vec<CoreSnapshot> {
        let mut ended = Vec::new();
        for core in &self.cores {
            let last = core.last.lock().ok().and_then(|last| last.clone());
            match last {
                Some(last) => ended.push(last),
                // What is not taken is dropped, and its answer with it.
                None => drop(core.post.try_send(Command::Inspect(Box::new(answer.clone())))),
            }
        }
        ended
    }

    /// The picture that control left last.
    pub(crate) fn control_picture(&self) -> Option<ControlPicture> {
        self.pictures.lock().ok()?.clone()
    }

    pub(crate) fn core_count(&self) -> u16 {
        u16::try_from(self.cores.len()).unwrap_or(u16::MAX)
    }

    fn cores(&self) -> Vec<CoreSnapshot> {
        let (sender, answers) = mpsc::channel();
        // Nobody listens when the caller has given up.
        let mut snapshots = self.ask_cores(move |snapshot| drop(sender.send(snapshot)));
        let end = Instant::now() + ANSWER_MAX;
        // The channel closes when the last core has answered or has ended.
        while let Ok(snapshot) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
            snapshots.push(snapshot);
        }
        snapshots.sort_by_key(|snapshot| snapshot.core);
        snapshots
    }

    fn control(&self) -> Result<(Status, ControlMetrics), Ended> {
        let (sender, answer) = mpsc::sync_channel(1);
        self.ask_control(move |control| drop(sender.send((control.status(), *control.metrics()))))?;
        answer.recv_timeout(ANSWER_MAX).map_err(|_| Ended)
    }
}

/// A running router. Dropping it ends the router at once; [`RouterHandle::stop`] does so in order.
pub struct RouterHandle {
    view: Arc<View>,
    control: Mutex<Option<JoinHandle<()>>>,
    selectors: Mutex<Option<JoinHandle<()>>>,
    /// The thread of the admin page, which ends when the sender is dropped.
    admin: Mutex<Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>>,
    /// Selectors that wait are not read any more.
    ending: Arc<AtomicBool>,
    hurry: AtomicBool,
    keys: Keys,
    /// The name in this router's certificate.
    certified: String,
}

impl RouterHandle {
    pub(crate) fn new(
        starting: &Starting,
        admin_addr: Option<SocketAddr>,
        cores: Vec<CoreLink>,
        inputs: tokio::sync::mpsc::Sender<Input>,
        ending: Arc<AtomicBool>,
    ) -> Self {
        let view = Arc::new(View {
            addr: starting.addr,
            admin_addr,
            router: starting.router,
            incarnation: starting.incarnation,
            name: starting.config.name.clone().unwrap_or_else(|| starting.advertise.clone()),
            advertise: starting.advertise.clone(),
            placement: starting.placement.clone(),
            ca_pem: starting.config.identity.ca_pem().to_owned(),
            certificate_expiry: AtomicI64::new(starting.config.identity.expiry()),
            process: OnceLock::new(),
            cores,
            inputs,
            pictures: PictureFrame::default(),
        });
        Self {
            view,
            control: Mutex::new(None),
            selectors: Mutex::new(None),
            admin: Mutex::new(None),
            ending,
            hurry: AtomicBool::new(false),
            keys: starting.keys.clone(),
            certified: starting.config.identity.name().to_owned(),
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    pub(crate) fn set_control_thread(&self, thread: JoinHandle<()>) {
        if let Ok(mut control) = self.control.lock() {
            *control = Some(thread);
        }
    }

    /// Where control leaves its pictures.
    pub(crate) fn pictures(&self) -> PictureFrame {
        self.view.pictures.clone()
    }

    pub(crate) fn set_admin_thread(&self, stop: tokio::sync::oneshot::Sender<()>, thread: JoinHandle<()>) {
        if let Ok(mut admin) = self.admin.lock() {
            *admin = Some((stop, thread));
        }
    }

    pub(crate) fn set_selectors_thread(&self, thread: JoinHandle<()>) {
        if let Ok(mut selectors) = self.selectors.lock() {
            *selectors = Some(thread);
        }
    }

    /// UDP address for clients and peers, with its real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.view.addr
    }

    /// TCP address of the admin page, with its real port.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.view.admin_addr
    }

    /// This router's id.
    #[must_use]
    pub fn router_id(&self) -> RouterId {
        self.view.router
    }

    /// Its process life.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.view.incarnation
    }

    /// How others reach it.
    #[must_use]
    pub fn advertise(&self) -> &str {
        &self.view.advertise
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// Where its cores run and why, in words: `soft on 0,1 (other programs may run on these CPUs)`.
    #[must_use]
    pub fn placement(&self) -> String {
        self.view.placement.to_string()
    }

    /// The authority's certificates, for clients, as they were at start.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.view.ca_pem
    }

    /// What control knows at this moment. Waits for the control thread, usually for microseconds.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn status(&self) -> Result<Status, Ended> {
        self.view.control().map(|(status, _)| status)
    }

    /// A picture of each core, in order. Waits for one turn of each; those that have ended show
    /// their last one.
    #[must_use]
    pub fn cores(&self) -> Vec<CoreSnapshot> {
        self.view.cores()
    }

    /// Status and pictures of all cores.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn look(&self) -> Result<Seen, Ended> {
        let (status, control) = self.view.control()?;
        Ok(Seen { status, control, cores: self.view.cores() })
    }

    /// Whether a thread of the router has ended by itself, which only a defect of the program does.
    /// What it held is lost; the router should be started anew.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let ended = |thread: &Mutex<Option<JoinHandle<()>>>| {
            thread.lock().is_ok_and(|thread| thread.as_ref().is_some_and(JoinHandle::is_finished))
        };
        ended(&self.control)
            || ended(&self.selectors)
            || self.view.cores.iter().any(|core| ended(&core.thread))
    }

    /// Waits until `condition` is true of the router, and returns what was seen then.
    ///
    /// # Errors
    /// [`TimedOut`]. A router that has ended counts as one of which the condition never comes true.
    ///
    /// # Panics
    /// When the router has ended before it was seen once.
    pub fn wait_until(
        &self,
        within: Duration,
        mut condition: impl FnMut(&Seen) -> bool,
    ) -> Result<Seen, TimedOut> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            if let Ok(seen) = self.look() {
                if condition(&seen) {
                    return Ok(seen);
                }
                last = Some(seen);
            }
            if begin.elapsed() >= within {
                let last = Box::new(last.expect("a router that is waited for was seen"));
                return Err(TimedOut { waited: begin.elapsed(), last });
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// When the certificate ends that new connections are shown, in seconds since 1970.
    #[must_use]
    pub fn certificate_expiry(&self) -> i64 {
        self.view.certificate_expiry()
    }

    /// Gives new connections, on all cores, the identity of `config` and its rule for clients
    /// without a certificate. Connections that stand are not disturbed. Other settings of
    /// `config` count from the next start. Returns when every core has it.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing was changed.
    pub fn reload(&self, config: &RouterConfig) -> Result<(), ReloadError> {
        config.check().map_err(StartError::from)?;
        let (old, new) = (&self.certified, config.identity.name());
        if old != new {
            return Err(ReloadError::OtherRouter { old: old.clone(), new: new.to_owned() });
        }
        let entrance = Arc::new(Entrance::of(config, &self.keys)?);
        for core in &self.view.cores {
            core.post.send(Command::Enter(entrance.clone()));
        }
        // A core that answers has taken what was sent before: whoever connects from here on meets the new
        // identity.
        self.view.cores();
        self.view.certificate_expiry.store(config.identity.expiry(), Ordering::Relaxed);
        Ok(())
    }

    /// Whom the admin page asks for what only the process can do; the first one stays.
    pub(crate) fn set_process(&self, process: Process) {
        let _ = self.view.process.set(process);
    }

    /// Says goodbye to clients and peers, waits until clients are gone or `grace` is over, writes
    /// what is queued, and ends. A grace of more than a day counts as a day.
    pub fn stop(&self, grace: Duration) {
        let grace = grace.min(GRACE_MAX);
        let end = Instant::now() + grace;
        self.tell_control(Input::Drain(grace), || {
            Instant::now() < end && !self.hurry.load(Ordering::Relaxed)
        });
        let gone = |cores: &[CoreSnapshot]| cores.iter().all(|core| core.engine.clients == 0);
        while Instant::now() < end && !self.hurry.load(Ordering::Relaxed) && !gone(&self.view.cores()) {
            std::thread::park_timeout(LOOK_EVERY * 5);
        }
        let busy = Arc::new(AtomicUsize::new(self.view.cores.len()));
        self.end(|| Command::ShutDown { flush: FLUSH, busy: busy.clone() });
    }

    /// Cuts the grace of a [`RouterHandle::stop`] that is under way on another thread.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Ends at once and without a word, as a crash would: clients and peers find out by silence.
    pub fn kill(&self) {
        self.end(|| Command::Kill);
    }

    /// Waits for room in control's mailbox for as long as `patience` says; one that has ended takes
    /// everything.
    fn tell_control(&self, mut input: Input, patience: impl Fn() -> bool) {
        while let Err(TrySendError::Full(back)) = self.view.inputs.try_send(input) {
            if !patience() {
                tracing::warn!("control is too busy to say goodbye to clients and peers");
                return;
            }
            input = back;
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn end(&self, command: impl Fn() -> Command) {
        self.ending.store(true, Ordering::Relaxed);
        for core in &self.view.cores {
            core.post.send(command());
        }
        for core in &self.view.cores {
            join(&core.thread);
        }
        join(&self.selectors);
        self.tell_control(Input::Stop, || true);
        join(&self.control);
        let admin = self.admin.lock().ok().and_then(|mut admin| admin.take());
        if let Some((stop, thread)) = admin {
            drop(stop);
            join(&Mutex::new(Some(thread)));
        }
    }
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let taken = thread.lock().ok().and_then(|mut thread| thread.take());
    if let Some(thread) = taken
        && thread.join().is_err()
    {
        tracing::error!("a thread of the router panicked");
    }
}

impl Drop for RouterHandle {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for RouterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterHandle").field("addr", &self.view.addr).finish_non_exhaustive()
    }
}
