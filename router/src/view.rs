//! What can be asked of a running router from any thread: its control, its cores, its process.

mod one_core;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_engine::control::{Control, ControlMetrics, Status};
use millrace_engine::rights::Meters;
use millrace_engine::standby::Handed;
use millrace_proto::{ClusterId, Incarnation, RouterId};
use thiserror::Error;

use crate::admin::AdminAddresses;
use crate::asked::{Process, Reloaded};
use crate::canary::Record;
use crate::clock::Clock;
use crate::files::FilesBook;
use crate::forward::Book;
use crate::mail::{Command, ControlPicture, CorePost, Input, PictureFrame};
use crate::metrics::CoreSnapshot;
use crate::placement::Placement;
use crate::start_error::ReloadError;
use crate::starting::Starting;

/// How long a thread may take to answer; turns take less than a millisecond.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The router has ended, or does not answer.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("the router has ended")]
pub struct Ended;

/// The way to one core, and its thread.
pub(crate) struct CoreLink {
    pub(crate) post: CorePost,
    last: Arc<Mutex<Option<CoreSnapshot>>>,
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
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
    /// Where the admin page is.
    pub(crate) admin: AdminAddresses,
    pub(crate) router: RouterId,
    pub(crate) incarnation: Incarnation,
    pub(crate) advertise: String,
    pub(crate) name: String,
    /// Where the router is.
    pub(crate) zone: Option<String>,
    /// Where the threads run.
    pub(crate) placement: Placement,
    /// What the canary has measured.
    pub(crate) canary: Arc<Record>,
    pub(crate) clock: Clock,
    /// The router's cluster, if it has an id.
    pub(crate) cluster: Option<ClusterId>,
    /// Links to other clusters.
    pub(crate) links: Arc<Book>,
    /// What identities with a quota have taken.
    pub(crate) meters: Arc<Meters>,
    /// What history files hold, where there are any.
    pub(crate) files: Option<FilesBook>,
    pub(crate) ca_pem: String,
    /// End of the certificate, seconds since 1970.
    pub(crate) certificate_expiry: AtomicI64,
    /// When it should have been renewed, seconds since 1970.
    pub(crate) certificate_renewal: AtomicI64,
    pub(crate) process: OnceLock<Process>,
    pub(crate) cores: Vec<CoreLink>,
    pub(crate) inputs: tokio::sync::mpsc::Sender<Input>,
    /// Where control leaves its pictures.
    pub(crate) pictures: PictureFrame,
}

impl View {
    pub(crate) fn new(
        starting: &Starting,
        admin: AdminAddresses,
        cores: Vec<CoreLink>,
        inputs: tokio::sync::mpsc::Sender<Input>,
    ) -> Self {
        Self {
            addr: starting.addr,
            admin,
            router: starting.router,
            incarnation: starting.incarnation,
            name: starting.config.name.clone().unwrap_or_else(|| starting.advertise.clone()),
            zone: starting.config.zone.clone(),
            advertise: starting.advertise.clone(),
            placement: starting.placement.clone(),
            canary: Arc::default(),
            clock: starting.clock,
            cluster: starting.config.cluster,
            links: Arc::default(),
            meters: Arc::clone(&starting.meters),
            files: starting.files.clone(),
            ca_pem: starting.config.identity.ca_pem().to_owned(),
            certificate_expiry: AtomicI64::new(starting.config.identity.expiry()),
            certificate_renewal: AtomicI64::new(starting.config.identity.renewal()),
            process: OnceLock::new(),
            cores,
            inputs,
            pictures: PictureFrame::default(),
        }
    }

    /// Asks control; `answer` is called on its thread, or dropped when it has ended.
    pub(crate) fn ask_control(&self, answer: impl FnOnce(&Control) + Send + 'static) -> Result<(), Ended> {
        self.inputs.try_send(Input::Ask(Box::new(answer))).map_err(|_| Ended)
    }

    /// Has the holder of a set of standby publishers hand it over; none when control has ended.
    pub(crate) async fn hand_over(&self, set: String) -> Option<Handed> {
        let (answer, handed) = tokio::sync::oneshot::channel();
        self.inputs.try_send(Input::HandOver { set, answer }).ok()?;
        tokio::time::timeout(ANSWER_MAX, handed).await.ok()?.ok()
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

    /// When that certificate should have been renewed, seconds since 1970.
    pub(crate) fn certificate_renewal(&self) -> i64 {
        self.certificate_renewal.load(Ordering::Relaxed)
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

    pub(crate) fn cores(&self) -> Vec<CoreSnapshot> {
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

    pub(crate) fn control(&self) -> Result<(Status, ControlMetrics), Ended> {
        let (sender, answer) = mpsc::sync_channel(1);
        self.ask_control(move |control| drop(sender.send((control.status(), *control.metrics()))))?;
        answer.recv_timeout(ANSWER_MAX).map_err(|_| Ended)
    }
}
