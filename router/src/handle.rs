//! A running router, seen from the program that started it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_engine::control::{ControlMetrics, Status};
use millrace_proto::{Incarnation, RouterId};
use millrace_quic::Keys;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::admin::AdminAddresses;
use crate::asked::Process;
use crate::canary::{Canary, Flight};
use crate::config::RouterConfig;
use crate::entrance::{Entrance, quic_keys};
use crate::forward::{self, ForwardInbox, Forwarder, Orders, Parts};
use crate::mail::{Command, Input, PictureFrame};
use crate::metrics::CoreSnapshot;
use crate::resolve::Places;
use crate::start_error::{ReloadError, StartError};
use crate::starting::Starting;
use crate::tls::Identity;
use crate::view::{CoreLink, Ended, View};

/// Time that is left for writing what was queued, once clients had their grace.
const FLUSH: Duration = Duration::from_millis(500);
/// The longest time that clients may take to leave.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Between two looks at a condition that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

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

/// A running router. Dropping it ends the router at once; [`RouterHandle::stop`] does so in order.
pub struct RouterHandle {
    view: Arc<View>,
    control: Mutex<Option<JoinHandle<()>>>,
    selectors: Mutex<Option<JoinHandle<()>>>,
    /// The thread of history files, while there is one.
    files: Mutex<Option<JoinHandle<()>>>,
    /// The thread of the admin page, which ends when the sender is dropped.
    admin: Mutex<Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>>,
    /// Selectors that wait are not read any more.
    ending: Arc<AtomicBool>,
    hurry: AtomicBool,
    /// The router's own session, while it has one.
    canary: Mutex<Option<Canary>>,
    /// The thread of links to other clusters.
    forwarder: Mutex<Option<Forwarder>>,
    /// Which links there are to be.
    orders: watch::Sender<Orders>,
    /// The identity that the canary shows.
    identities: watch::Sender<Identity>,
    /// Where the router looks for others.
    places: watch::Sender<Places>,
    /// Its keys as they were at start.
    keys: Keys,
    /// The name in this router's certificate.
    certified: String,
}

impl RouterHandle {
    pub(crate) fn new(
        starting: &Starting,
        admin: AdminAddresses,
        cores: Vec<CoreLink>,
        (inputs, places): (mpsc::Sender<Input>, watch::Sender<Places>),
        ending: Arc<AtomicBool>,
    ) -> Self {
        let view = Arc::new(View::new(starting, admin, cores, inputs));
        Self {
            view,
            control: Mutex::new(None),
            selectors: Mutex::new(None),
            files: Mutex::new(None),
            admin: Mutex::new(None),
            ending,
            hurry: AtomicBool::new(false),
            canary: Mutex::new(None),
            forwarder: Mutex::new(None),
            orders: watch::Sender::new(Orders {
                entries: starting.config.forwards.clone(),
                identity: starting.config.identity.clone(),
            }),
            identities: watch::Sender::new(starting.config.identity.clone()),
            places,
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

    /// Lets a canary fly, if it is to.
    pub(crate) fn start_canary(
        &self,
        every: Duration,
        settle: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        if every.is_zero() {
            return Ok(());
        }
        let View { addr, router, canary, pictures, .. } = &*self.view;
        let (record, pictures) = (canary.clone(), pictures.clone());
        let flight = Flight { addr: *addr, router: *router, every, record, pictures };
        let started = Canary::start(flight, self.identities.subscribe(), settle)?;
        if let Ok(mut canary) = self.canary.lock() {
            *canary = Some(started);
        }
        Ok(())
    }

    /// Starts the thread of links to other clusters, where this router may have some.
    pub(crate) fn start_forwarding(
        &self,
        starting: &Starting,
        inbox: ForwardInbox,
        control: mpsc::Sender<Input>,
        settle: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(cluster) = starting.config.cluster else { return Ok(()) };
        let (clock, book) = (starting.clock, self.view.links.clone());
        let parts = Parts { clock, cluster, book, inbox, control, orders: self.orders.subscribe() };
        let started = Forwarder::start(parts, settle)?;
        if let Ok(mut forwarder) = self.forwarder.lock() {
            *forwarder = Some(started);
        }
        Ok(())
    }

    fn stop_canary(&self) {
        let canary = self.canary.lock().ok().and_then(|mut canary| canary.take());
        if let Some(canary) = canary {
            canary.stop();
        }
    }

    pub(crate) fn set_selectors_thread(&self, thread: JoinHandle<()>) {
        if let Ok(mut selectors) = self.selectors.lock() {
            *selectors = Some(thread);
        }
    }

    pub(crate) fn set_files_thread(&self, thread: Option<JoinHandle<()>>) {
        if let Ok(mut files) = self.files.lock() {
            *files = thread;
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
        self.view.admin.plain
    }

    /// Where the admin page over TLS is, for certificates of the role admin.
    #[must_use]
    pub fn admin_tls_addr(&self) -> Option<SocketAddr> {
        self.view.admin.secure
    }

    /// The identity, and each that a reload brings.
    pub(crate) fn identities(&self) -> watch::Receiver<Identity> {
        self.identities.subscribe()
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

    /// When that certificate should have been renewed, in seconds since 1970: 14 days before its
    /// end, or when a quarter of its life is left, if that is less.
    #[must_use]
    pub fn certificate_renewal(&self) -> i64 {
        self.view.certificate_renewal()
    }

    /// Gives new connections, on all cores, the identity and secret of `config` and its rule for
    /// clients without a certificate; gives all sessions the rights and quotas of `config`; and
    /// looks for other routers where it says. Connections that stand are not disturbed. Other
    /// settings of `config` count from the next start. Returns when every core has it.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing was changed.
    pub fn reload(&self, config: &RouterConfig) -> Result<(), ReloadError> {
        config.check().map_err(StartError::from)?;
        let (old, new) = (&self.certified, config.identity.name());
        if old != new {
            return Err(ReloadError::OtherRouter { old: old.clone(), new: new.to_owned() });
        }
        // A secret that follows from the key would change with each certificate.
        let keys = match config.identity.has_shared_secret() {
            true => quic_keys(&config.identity, &self.view.advertise, self.view.addr),
            false => self.keys.clone(),
        };
        let entrance = Arc::new(Entrance::of(config, &keys, &self.view.meters)?);
        for core in &self.view.cores {
            core.post.send(Command::Enter(entrance.clone()));
        }
        // A core that answers has taken what was sent before: whoever connects from here on meets
        // the new identity.
        self.view.cores();
        self.view.meters.list(&entrance.roll.grants);
        self.identities.send_if_modified(|identity| {
            let is_new = !identity.is_same(&config.identity);
            identity.clone_from(&config.identity);
            is_new
        });
        self.orders.send_if_modified(|orders| {
            let is_new = orders.entries != config.forwards || !orders.identity.is_same(&config.identity);
            *orders = Orders { entries: config.forwards.clone(), identity: config.identity.clone() };
            is_new
        });
        self.places.send_replace(Places::of(&config.mesh));
        self.tell_control(Input::Hide(config.mesh.no_advertise), || true);
        self.tell_control(Input::Rebalance(config.mesh.rebalance), || true);
        self.view.certificate_expiry.store(config.identity.expiry(), Ordering::Relaxed);
        self.view.certificate_renewal.store(config.identity.renewal(), Ordering::Relaxed);
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
        self.stop_canary();
        let end = Instant::now() + grace;
        self.tell_control(Input::Drain(grace), || {
            Instant::now() < end && !self.hurry.load(Ordering::Relaxed)
        });
        let gone = |cores: &[CoreSnapshot]| cores.iter().all(|core| core.engine.clients == 0);
        while Instant::now() < end && !self.hurry.load(Ordering::Relaxed) && !gone(&self.view.cores()) {
            std::thread::park_timeout(LOOK_EVERY * 5);
        }
        let busy = Arc::new(AtomicUsize::new(self.view.cores.len()));
        self.end(forward::End::InOrder, || Command::ShutDown { flush: FLUSH, busy: busy.clone() });
    }

    /// Cuts the grace of a [`RouterHandle::stop`] that is under way on another thread.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Ends at once and without a word, as a crash would: clients and peers find out by silence.
    pub fn kill(&self) {
        self.end(forward::End::Now, || Command::Kill);
    }

    /// Waits for room in control's mailbox for as long as `patience` says, and logs when it gives
    /// up; one that has ended takes everything.
    fn tell_control(&self, mut input: Input, patience: impl Fn() -> bool) {
        while let Err(TrySendError::Full(back)) = self.view.inputs.try_send(input) {
            input = back;
            if !patience() {
                tracing::warn!(?input, "control is too busy to hear this");
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn end(&self, links: forward::End, command: impl Fn() -> Command) {
        self.ending.store(true, Ordering::Relaxed);
        self.stop_canary();
        for core in &self.view.cores {
            core.post.send(command());
        }
        for core in &self.view.cores {
            join(&core.thread);
        }
        let forwarder = self.forwarder.lock().ok().and_then(|mut forwarder| forwarder.take());
        if let Some(forwarder) = forwarder {
            forwarder.stop(links);
        }
        join(&self.selectors);
        join(&self.files);
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
