//! Starts a router: checks its settings, binds everything, and then runs threads.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

use millrace_engine::control::{Control, ControlConfig};
use millrace_engine::core::{Core as EngineCore, CoreConfig};
use millrace_engine::history::PastLives;
use millrace_engine::message::CoreIndex;
use millrace_mailbox::{Doorbell, mailbox};
use millrace_proto::data::Source;
use millrace_proto::{Incarnation, PublisherSecret};
use millrace_quic::{Core, CoreSettings, steer};
use tokio::sync::watch;

use crate::admin::Admin;
use crate::app::{AppParts, CoreApp};
use crate::clock::{Clock, unix_now_ns};
use crate::config::RouterConfig;
use crate::control_thread::ControlThread;
use crate::core_thread::CoreThread;
use crate::credentials::router_id;
use crate::entrance::{Entrance, quic_keys};
use crate::files::{self, FilesPost, FilesThread, Opened};
use crate::forward::ForwardPost;
use crate::handle::RouterHandle;
use crate::mail::{
    BATCHES_MAX, COMMANDS_MAX, ControlPost, CorePost, INPUTS_MAX, Input, PictureFrame, SEGMENTS_MAX,
    SelectorsPost, Sibling, WORDS_MAX,
};
use crate::placement::{Machine, plan, seat_core, seat_other};
use crate::reachable::Reachable;
use crate::resolve::{Places, Resolver, watch_places};
use crate::selectors_thread::SelectorsThread;
use crate::start_error::StartError;
use crate::starting::Starting;
use crate::view::CoreLink;

/// A router that can be started, also several times in one process.
#[derive(Debug)]
pub struct Router;

impl Router {
    /// Starts a router: when this returns, its sockets are bound and its threads run.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: RouterConfig) -> Result<RouterHandle, StartError> {
        config.check()?;
        let failed = |source| StartError::Listen { address: config.listen, source };
        let cids = config.cids()?;
        let group = steer::bind_group_of(config.listen, config.cores, &cids).map_err(failed)?;
        if config.cores > 1 && !config.kernel_steering {
            group.detach().map_err(failed)?;
        }
        let addr = group.addr;
        let advertise = config.advertise.clone().unwrap_or_else(|| Reachable::from(addr).address.to_string());
        let router = router_id(&config.identity.router_name(), &advertise);
        let (clock, incarnation) = (Clock::start(), Incarnation((rand::random::<u64>() >> 2) | 1));
        let present = Source { router, incarnation, owner: 0 };
        let files = files::open(&config.history, present, unix_now_ns())?;
        let starting = Starting {
            clock,
            addr,
            router,
            placement: plan(&config.pinning, config.cores, &Machine::of_this_host(), router.0),
            incarnation,
            keys: quic_keys(&config.identity, &advertise, addr),
            advertise,
            seed: rand::random(),
            meters: Arc::default(),
            files: files.as_ref().map(|files| files.book.clone()),
            cids,
            config,
        };
        starting.start(group, files)
    }
}

/// A core's QUIC, and the ends by which others reach the core.
struct Made {
    quic: Core<CoreApp>,
    post: CorePost,
    bell: Arc<Doorbell>,
}

impl Starting {
    fn start(self, group: steer::Group, files: Option<Opened>) -> Result<RouterHandle, StartError> {
        let admin = Admin::bind(&self.config)?;
        let (inputs, inbox) = tokio::sync::mpsc::channel(INPUTS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let (orders, selectors) = SelectorsThread::new(stop.clone());
        let (forward, crossing) = ForwardPost::new();
        let (past, files) =
            files.map_or((None, None), |files| (Some((files.past, files.post)), Some(files.thread)));
        let posts = (&ControlPost::new(inputs.clone()), &orders, &forward);
        let made = self.make_cores(group.sockets, posts, past)?;
        drop(forward);
        drop(orders);
        let posts: Vec<CorePost> = made.iter().map(|made| made.post.clone()).collect();
        let selectors = self.run_selectors(selectors, posts.clone())?;
        let files = files.map(|files| self.run_files(files, posts.clone())).transpose()?;
        let mut links = Vec::new();
        for (made, number) in made.into_iter().zip(0..) {
            links.push(self.run_core(made, number)?);
        }
        let (places, sought) = watch::channel(Places::of(&self.config.mesh));
        let handle = RouterHandle::new(&self, admin.addresses()?, links, (inputs.clone(), places), stop);
        handle.set_selectors_thread(selectors);
        handle.set_files_thread(files);
        let control = self.make_control(posts, (inputs.clone(), inbox), handle.pictures());
        let inputs_of_links = inputs.clone();
        let seeds = watch_places(self.resolver(), sought, self.config.mesh.resolve_every, inputs);
        let overflows = crate::herald::watch_overflows(handle.view());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        run_admin(admin, &handle)?;
        let placement = self.placement.clone();
        let thread = thread::Builder::new().name("millrace-control".into()).spawn(move || {
            step_back();
            seat_other(&placement);
            runtime.block_on(async {
                tokio::spawn(seeds);
                tokio::spawn(overflows);
                control.run().await;
            });
            runtime.shutdown_background();
        })?;
        handle.set_control_thread(thread);
        let placement = self.placement.clone();
        handle.start_forwarding(&self, crossing, inputs_of_links, move || {
            step_back();
            seat_other(&placement);
        })?;
        let placement = self.placement.clone();
        handle.start_canary(self.config.canary_every, move || {
            step_back();
            seat_other(&placement);
        })?;
        Ok(handle)
    }

    fn resolver(&self) -> Resolver {
        Resolver { ipv4_only: self.addr.is_ipv4(), servers: self.config.mesh.dns_servers.clone().into() }
    }

    fn make_control(
        &self,
        posts: Vec<CorePost>,
        channel: (tokio::sync::mpsc::Sender<Input>, tokio::sync::mpsc::Receiver<Input>),
        pictures: PictureFrame,
    ) -> ControlThread {
        let mut settings =
            ControlConfig::new(self.router, self.incarnation, self.advertise.clone(), self.config.cores);
        settings.seed = self.seed;
        self.config.apply_to_control(&mut settings);
        settings.hidden = self.config.mesh.no_advertise;
        if let Some(name) = &self.config.name {
            settings.name.clone_from(name);
        }
        let control = Control::new(settings, self.clock.now());
        ControlThread::new(self.clock, control, posts, (self.resolver(), self.addr), channel, pictures)
    }

    fn make_cores(
        &self,
        sockets: Vec<UdpSocket>,
        (control, selectors, forward): (&ControlPost, &SelectorsPost, &ForwardPost),
        files: Option<(Arc<PastLives>, FilesPost)>,
    ) -> Result<Vec<Made>, StartError> {
        let entrance = Entrance::of(&self.config, &self.keys, &self.meters)?;
        self.meters.list(&entrance.roll.grants);
        let secret = PublisherSecret(rand::random());
        let mut made: Vec<Made> = Vec::new();
        for (socket, number) in sockets.into_iter().zip(0..) {
            let mut settings = CoreConfig::new(self.router, self.incarnation, number, self.config.cores);
            settings.seed = self.seed;
            settings.secret = secret;
            self.config.apply_to_core(&mut settings);
            let mut engine = EngineCore::new(settings, self.clock.now())
                .with_roll(entrance.roll.clone())
                .with_rules(entrance.rules.clone())
                .with_time_of_day(self.clock.unix_at_start_ns());
            if let Some((past, _)) = &files {
                engine = engine.with_files(past.clone());
            }
            let (commands, receiver) = mpsc::sync_channel(COMMANDS_MAX);
            let app = CoreApp::new(AppParts {
                clock: self.clock,
                number,
                engine,
                commands: receiver,
                control: control.sibling(),
                selectors: selectors.sibling(),
                forward: forward.clone(),
                files: files.as_ref().map_or_else(FilesPost::none, |(_, post)| post.clone()),
                siblings: Vec::new(),
                dialling: entrance.dialling.clone(),
                local: self.addr,
                require_client_certificate: entrance.require_client_certificate,
            });
            let settings = CoreSettings {
                core: number,
                cores: self.config.cores,
                cids: self.cids,
                connections_max: self.config.limits.connections_per_core,
                socket_buffer_bytes: self.config.limits.socket_buffer_bytes,
                spin: self.config.spin,
                ..CoreSettings::default()
            };
            let quic = Core::new(settings, Some(entrance.server.clone()), Some(socket), app)?;
            let (waker, for_bell) = (quic.waker(), quic.waker());
            let bell = Doorbell::new(move || for_bell.wake());
            made.push(Made { quic, post: CorePost { commands, waker }, bell });
        }
        link_siblings(&mut made);
        Ok(made)
    }

    fn run_selectors(&self, selectors: SelectorsThread, posts: Vec<CorePost>) -> io::Result<JoinHandle<()>> {
        let placement = self.placement.clone();
        thread::Builder::new().name("millrace-selectors".into()).spawn(move || {
            step_back();
            seat_other(&placement);
            selectors.run(&posts);
        })
    }

    fn run_files(&self, files: FilesThread, posts: Vec<CorePost>) -> io::Result<JoinHandle<()>> {
        let placement = self.placement.clone();
        thread::Builder::new().name("millrace-history".into()).spawn(move || {
            step_back();
            seat_other(&placement);
            files.run(&posts);
        })
    }

    fn run_core(&self, made: Made, number: CoreIndex) -> Result<CoreLink, StartError> {
        let placement = self.placement.clone();
        let last = Arc::new(Mutex::new(None));
        let core = CoreThread { quic: made.quic, bell: made.bell, last: last.clone() };
        let thread = thread::Builder::new().name(format!("millrace-core-{number}")).spawn(move || {
            seat_core(&placement, number);
            core.run();
        })?;
        Ok(CoreLink::new(made.post, last, thread))
    }
}

/// Runs the admin page on a thread of its own, because control can be busy for seconds and the page
/// must say so.
fn run_admin(admin: Admin, handle: &RouterHandle) -> io::Result<()> {
    if admin.is_off() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (view, identities) = (handle.view(), handle.identities());
    let thread = thread::Builder::new().name("millrace-admin".into()).spawn(move || {
        step_back();
        runtime.block_on(admin.serve(view, identities, stopped));
        runtime.shutdown_background();
    })?;
    handle.set_admin_thread(stop, thread);
    Ok(())
}

/// Gives this thread a third of a core's share where CPUs are short: events come before changes to
/// their routes.
fn step_back() {
    const NICE: i32 = 5;
    // Where the system refuses, threads are equal.
    let _ = rustix::process::nice(NICE);
}

/// Connects each core with each other one.
fn link_siblings(made: &mut [Made]) {
    let mut siblings: Vec<Vec<Sibling>> = made.iter().map(|_| Vec::new()).collect();
    for a in 0..made.len() {
        for b in a + 1..made.len() {
            let (a_words_out, b_words_in) = mailbox(WORDS_MAX, &made[b].bell);
            let (b_words_out, a_words_in) = mailbox(WORDS_MAX, &made[a].bell);
            let (a_out, b_in) = mailbox(BATCHES_MAX, &made[b].bell);
            let (b_out, a_in) = mailbox(BATCHES_MAX, &made[a].bell);
            let (a_segments_out, b_segments_in) = mailbox(SEGMENTS_MAX, &made[b].bell);
            let (b_segments_out, a_segments_in) = mailbox(SEGMENTS_MAX, &made[a].bell);
            siblings[a].push(Sibling {
                core: index(b),
                words_out: a_words_out,
                words_in: a_words_in,
                batches_out: a_out,
                batches_in: a_in,
                segments_out: a_segments_out,
                segments_in: a_segments_in,
            });
            siblings[b].push(Sibling {
                core: index(a),
                words_out: b_words_out,
                words_in: b_words_in,
                batches_out: b_out,
                batches_in: b_in,
                segments_out: b_segments_out,
                segments_in: b_segments_in,
            });
        }
    }
    for (made, siblings) in made.iter_mut().zip(siblings) {
        made.quic.app_mut().set_siblings(siblings);
    }
}

fn index(core: usize) -> CoreIndex {
    CoreIndex::try_from(core).expect("cores are counted as u16")
}
