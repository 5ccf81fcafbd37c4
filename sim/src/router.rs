//! A simulated router: the engine's cores and its control, joined by mailboxes that take their
//! time.
//!
//! Each core and control is a thread of its own in a real router; here each is called when an event
//! is due for it. Mail between them is first in, first out, and random times pass before it is
//! taken; some mailboxes and connections are late for a while
//! ([`Service`]). A core takes in whatever arrives at once and ends its turn a
//! little later, as a loop does that reads before it writes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::control::{Control, ControlConfig, ControlOutput};
use millrace_engine::core::{Core, CoreConfig};
use millrace_engine::history::FromFiles;
use millrace_engine::matching::Location;
use millrace_engine::message::{CoreIndex, CoreOutput, ToCore};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, Transport};
use millrace_proto::data::Source;
use millrace_proto::{CloseCode, Incarnation, RouterId};
use millrace_verify::checker::Findings;
use millrace_verify::checker::convergence::Directory;
use rand_pcg::Pcg64Mcg;

use crate::core_host::{CoreHost, Mail};
use crate::event::{Event, RouterEvent};
use crate::files::Files;
use crate::network::{Crossings, Endpoint, Host, Network, Notice, Place, Wire, tap_batch, up_to};
use crate::queue::Queue;
use crate::router_setup::RouterSetup;
use crate::rules::RuleReload;
use crate::service::{Served, Service, mail_delay};

/// Batches that one core's mailbox to another holds: with more, the sender keeps them.
pub const MAILBOX_BATCHES: usize = 8;
/// Messages between a core and control that are plausible in a small cluster.
pub const MAIL_PLAUSIBLE: usize = 4096;

/// What is around a process.
#[derive(Debug)]
pub struct Around<'a> {
    /// The network.
    pub network: &'a mut Network,
    /// What happens next.
    pub queue: &'a mut Queue<Event>,
    /// Chance.
    pub rng: &'a mut Pcg64Mcg,
    /// Where defects are noted.
    pub findings: &'a mut Findings,
    /// Where every router is.
    pub addresses: &'a BTreeMap<String, u32>,
}

/// One life of a router.
#[derive(Debug)]
pub struct Process {
    index: u32,
    id: RouterId,
    life: u32,
    mail_delay: Duration,
    rules: Option<RuleReload>,
    files: Option<Files>,
    service: Service,
    cores: Vec<CoreHost>,
    control: Control,
    timer: Option<Time>,
    crossings: Crossings,
    end: End,
}

/// How far the end in order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not begun.
    Far,
    /// Clients are closed, and what they published is on its way to its owners.
    Mail,
    /// Lanes are finished.
    Lanes,
}

impl Process {
    /// Starts a router.
    #[must_use]
    pub fn start(setup: &RouterSetup, life: u32, around: &mut Around<'_>) -> Self {
        let now = around.queue.now();
        let incarnation = Incarnation(u64::from(setup.index + 1) << 32 | u64::from(life));
        let cores = setup.core.cores;
        around.network.process_started(setup.index, setup.id, life, cores);
        let present = Source { router: setup.id, incarnation, owner: 0 };
        let files = setup.disk.as_ref().map(|disk| Files::open(disk, present, now)).transpose();
        let (files, past) = files
            .unwrap_or_else(|error| {
                around.findings.add("files", || format!("router {}: {error}", setup.id));
                None
            })
            .unzip();
        let host = |core| {
            let config = CoreConfig { core, router: setup.id, incarnation, ..setup.core.clone() };
            let core = Core::new(config, now);
            CoreHost::new(
                match &past {
                    Some(past) => core.with_files(Arc::clone(past)),
                    None => core,
                },
                cores,
            )
        };
        let control = ControlConfig { router: setup.id, incarnation, ..setup.control.clone() };
        let rules = setup.rules.clone();
        if let Some(reload) = rules.as_ref().filter(|reload| now < reload.at) {
            let what = RouterEvent::Reload;
            let event = Event::Router { router: setup.index, life, what };
            around.queue.after(reload.at.since(now), event);
        }
        let mut process = Self {
            rules,
            files,
            index: setup.index,
            id: setup.id,
            life,
            mail_delay: setup.mail_delay,
            service: Service::new(setup.core.seed ^ u64::from(life), setup.mail_delay),
            cores: (0..cores).map(host).collect(),
            control: Control::new(control, now),
            timer: None,
            crossings: around.network.crossings(),
            end: End::Far,
        };
        process.reload(now);
        process.control.set_seeds(now, around.addresses.keys().cloned().collect());
        process.control.handle_timeout(now);
        process.take_from_control(around);
        process
    }

    /// Which life this is.
    #[must_use]
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// Its control, to look at.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Its cores, to look at.
    pub fn cores(&mut self) -> impl Iterator<Item = &mut Core> {
        self.cores.iter_mut().map(|host| &mut host.core)
    }

    /// Whether control has told a core that it knows all interest.
    #[must_use]
    pub fn knows_all_interest(&self, core: CoreIndex) -> bool {
        self.cores.get(usize::from(core)).is_some_and(|host| host.knows_all_interest)
    }

    /// The fullest mailbox between cores, and the fullest between a core and control.
    #[must_use]
    pub fn mailboxes(&self) -> (usize, usize) {
        let between = self.cores.iter().flat_map(|host| &host.batches).map(VecDeque::len).max();
        let control = self.cores.iter().map(|host| host.from_control.len().max(host.to_control.len())).max();
        (between.unwrap_or(0), control.unwrap_or(0))
    }

    /// The directory as control has it.
    #[must_use]
    pub fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        for (location, text) in self.control.directory_dump() {
            match location {
                Location::Core(_) => {
                    directory.own.insert(text.to_owned());
                }
                Location::Peer(peer) => {
                    let router = self.control.router_at(peer).unwrap_or(RouterId(u64::from(peer)));
                    directory.peers.entry(router).or_default().insert(text.to_owned());
                }
                // Control tells where members are, not who they are; links are not simulated.
                Location::Member(_) | Location::Forward(_) => {}
            }
        }
        directory
    }

    /// A core learns something of a connection.
    pub fn notice(&mut self, core: CoreIndex, conn: ConnKey, notice: Notice, around: &mut Around<'_>) {
        let now = around.queue.now();
        if let Notice::Readable(stream) = notice {
            let late = self.service.delay(Served::Connection(conn.0), now);
            if late > Duration::ZERO {
                let what = RouterEvent::Readable { core, conn, stream };
                around.queue.after(late, Event::Router { router: self.index, life: self.life, what });
                return;
            }
        }
        let Some(host) = self.cores.get_mut(usize::from(core)) else { return };
        if matches!(notice, Notice::Closed(_)) {
            host.open.remove(&conn);
        } else {
            host.open.insert(conn);
        }
        let core_of = &mut host.core;
        let wire = &mut Wire { network: around.network, queue: around.queue };
        match notice {
            Notice::Connected { peer: true } => core_of.peer_connected(now, wire, conn),
            Notice::Connected { peer: false } => core_of.client_connected(now, conn),
            Notice::StreamOpened(stream) => core_of.stream_opened(now, wire, conn, stream),
            Notice::Readable(stream) => core_of.readable(now, wire, conn, stream),
            Notice::Writable(stream) => core_of.writable(now, wire, conn, stream),
            Notice::Acknowledged => {
                if core_of.poll_timeout() == Some(Time::ZERO) {
                    self.schedule_turn(core, Duration::from_micros(20), around);
                }
                return;
            }
            Notice::StreamsAvailable => core_of.streams_available(now, wire, conn),
            Notice::Stopped(stream) => core_of.stopped(now, wire, conn, stream),
            Notice::Closed(code) => core_of.closed(now, wire, conn, code),
        }
        self.after_input(core, around);
    }

    /// Something is due within the process.
    pub fn handle(&mut self, event: RouterEvent, around: &mut Around<'_>) {
        match event {
            RouterEvent::Turn { core } => self.turn(core, around),
            RouterEvent::MailToCore { core } => self.mail_to_core(core, around),
            RouterEvent::MailToControl { core } => {
                let Some(message) = self.cores[usize::from(core)].to_control.pop_front() else { return };
                let now = around.queue.now();
                match message {
                    CoreOutput::ToControl(message) => self.control.handle(now, core, message),
                    CoreOutput::Prepare(order) => self.control.prepare(now, core, &order),
                }
                self.take_from_control(around);
            }
            RouterEvent::Batch { from, to } => {
                let host = &mut self.cores[usize::from(to)];
                let Some(batch) = host.batches[usize::from(from)].pop_front() else { return };
                let now = around.queue.now();
                host.hear_siblings(now);
                if let Err(error) = host.core.batch(now, from, &batch) {
                    let router = self.id;
                    around.findings.add("mailbox", || {
                        format!("router {router}: core {to} cannot read a batch of core {from}: {error}")
                    });
                }
                self.after_input(to, around);
                // The mailbox has room again.
                self.schedule_turn(from, Duration::from_micros(20), around);
            }
            RouterEvent::Readable { core, conn, stream } => {
                let wire = &mut Wire { network: around.network, queue: around.queue };
                self.cores[usize::from(core)].core.readable(wire.queue.now(), wire, conn, stream);
                self.after_input(core, around);
            }
            RouterEvent::ControlTimer => {
                let now = around.queue.now();
                if self.timer.is_none_or(|timer| timer > now) {
                    return;
                }
                self.timer = None;
                self.control.handle_timeout(now);
                self.take_from_control(around);
            }
            RouterEvent::Files => self.take_files(around),
            RouterEvent::ShutDown => self.shut_down(around),
            RouterEvent::Reload => self.reload(around.queue.now()),
        }
        if self.end == End::Mail && self.mail_is_over() {
            self.end = End::Lanes;
            for core in 0..self.cores.len() {
                let wire = &mut Wire { network: around.network, queue: around.queue };
                self.cores[core].core.finish_lanes(wire);
                self.after_input(CoreIndex::try_from(core).unwrap_or(CoreIndex::MAX), around);
            }
        }
    }

    /// Gives the rules of this time to all cores.
    fn reload(&mut self, now: Time) {
        if let Some(rules) = &self.rules {
            self.cores.iter_mut().for_each(|host| host.core.set_rules(rules.at(now).clone()));
        }
    }

    /// Tells everyone that it goes away, and ends in order after `grace`.
    pub fn drain(&mut self, grace: Duration, around: &mut Around<'_>) {
        self.control.drain(around.queue.now(), grace);
        self.take_from_control(around);
        let what = RouterEvent::ShutDown;
        around.queue.after(grace, Event::Router { router: self.index, life: self.life, what });
    }

    /// Tells control something that neither cores nor peers say.
    pub fn tell_control(&mut self, around: &mut Around<'_>, say: impl FnOnce(&mut Control, Time)) {
        say(&mut self.control, around.queue.now());
        self.take_from_control(around);
    }

    fn shut_down(&mut self, around: &mut Around<'_>) {
        let now = around.queue.now();
        self.end = End::Mail;
        for core in 0..self.cores.len() {
            let wire = &mut Wire { network: around.network, queue: around.queue };
            self.cores[core].core.close_clients(now, wire);
            self.after_input(CoreIndex::try_from(core).unwrap_or(CoreIndex::MAX), around);
        }
    }

    /// Whether every run that clients published is at its owner.
    fn mail_is_over(&self) -> bool {
        self.cores.iter().all(|host| !host.core.has_batches() && host.batches.iter().all(VecDeque::is_empty))
    }

    /// Closes what is left, before the process ends.
    pub fn close_all(&mut self, around: &mut Around<'_>) {
        if let Some(files) = &mut self.files {
            for (core, host) in (0..).zip(&mut self.cores) {
                host.core.end_files();
                std::iter::from_fn(|| host.core.next_to_files()).for_each(|word| files.put(core, word));
            }
            files.end(around.queue.now());
        }
        for host in &self.cores {
            for &conn in &host.open {
                let mut wire = Wire { network: around.network, queue: around.queue };
                wire.close(conn, CloseCode::GoingAway.code(), "");
            }
        }
    }

    fn turn(&mut self, core: CoreIndex, around: &mut Around<'_>) {
        let now = around.queue.now();
        let (index, life, id) = (self.index, self.life, self.id);
        let host = &mut self.cores[usize::from(core)];
        if host.turn.is_none_or(|turn| turn > now) {
            return;
        }
        host.turn = None;
        host.hear_siblings(now);
        self.press(core);
        let host = &mut self.cores[usize::from(core)];
        host.core.turn(now, &mut Wire { network: around.network, queue: around.queue });
        for to in 0..self.cores.len() {
            let room = MAILBOX_BATCHES.saturating_sub(self.cores[to].batches[usize::from(core)].len());
            let to = CoreIndex::try_from(to).unwrap_or(CoreIndex::MAX);
            while let Some(word) = self.cores[usize::from(core)].core.next_to_sibling(to) {
                self.cores[usize::from(to)].words.push_back((core, word));
                self.schedule_turn(to, Duration::from_micros(20), around);
            }
            for _ in 0..room {
                let Some(batch) = self.cores[usize::from(core)].core.next_batch(to) else { break };
                tap_batch(
                    &batch,
                    Place { router: id, core },
                    Place { router: id, core: to },
                    &self.crossings,
                );
                self.cores[usize::from(to)].batches[usize::from(core)].push_back(batch);
                let what = RouterEvent::Batch { from: core, to };
                let late = self.service.delay(Served::Sibling { from: core, to }, now);
                let delay = mail_delay(self.mail_delay, around.rng) + late;
                around.queue.after(delay, Event::Router { router: index, life, what });
            }
        }
        self.press(core);
        self.post_to_files(core, around);
        self.post_to_control(core, around);
        if let Some(due) = self.cores[usize::from(core)].core.poll_timeout() {
            self.schedule_turn(core, due.since(now).max(Duration::from_micros(50)), around);
        }
    }

    /// Tells a core whether one of its mailboxes is above half. A batch that is taken leads to its
    /// next turn.
    fn press(&mut self, core: CoreIndex) {
        let depths = self.cores.iter().map(|host| host.batches[usize::from(core)].len());
        let pressed = depths.max().is_some_and(|depth| depth > MAILBOX_BATCHES / 2);
        self.cores[usize::from(core)].core.set_pressed(pressed);
    }

    fn mail_to_core(&mut self, core: CoreIndex, around: &mut Around<'_>) {
        let now = around.queue.now();
        let host = &mut self.cores[usize::from(core)];
        let Some(mail) = host.from_control.pop_front() else { return };
        let message = match mail {
            Mail::Message(message) => message,
            Mail::Dial { dial, target: None, .. } => {
                self.control.dial_failed(now, dial);
                self.take_from_control(around);
                return;
            }
            Mail::Dial { dial, target: Some(target), shard, hello } => {
                let from = Endpoint { host: Host::Router(self.index), life: self.life, core };
                let conn = around.network.connect(around.queue, from, target, true, shard);
                ToCore::LaneDialled { dial, conn, hello }
            }
        };
        if let ToCore::KnowsAllInterest(knows) = message {
            host.knows_all_interest = knows;
        }
        host.core.handle_message(now, &mut Wire { network: around.network, queue: around.queue }, message);
        self.after_input(core, around);
    }

    fn after_input(&mut self, core: CoreIndex, around: &mut Around<'_>) {
        self.post_to_control(core, around);
        let delay = up_to(around.rng, Duration::from_micros(300));
        self.schedule_turn(core, delay, around);
    }

    fn post_to_control(&mut self, core: CoreIndex, around: &mut Around<'_>) {
        let host = &mut self.cores[usize::from(core)];
        while let Some(message) = host.core.poll_output() {
            host.to_control.push_back(message);
            let what = RouterEvent::MailToControl { core };
            let late = self.service.delay(Served::ToControl(core), around.queue.now());
            let delay = mail_delay(self.mail_delay, around.rng) + late;
            around.queue.after(delay, Event::Router { router: self.index, life: self.life, what });
        }
    }

    fn post_to_files(&mut self, core: CoreIndex, around: &mut Around<'_>) {
        let Some(files) = &mut self.files else { return };
        while let Some(word) = self.cores[usize::from(core)].core.next_to_files() {
            files.put(core, word);
            let delay = mail_delay(self.mail_delay, around.rng);
            let what = RouterEvent::Files;
            around.queue.after(delay, Event::Router { router: self.index, life: self.life, what });
        }
    }

    /// The thread of the history files takes its next word.
    fn take_files(&mut self, around: &mut Around<'_>) {
        let Some(files) = &mut self.files else { return };
        let mut told: Vec<(CoreIndex, FromFiles)> = files.take(around.queue.now()).into_iter().collect();
        if let Some(past) = files.news() {
            let to_all = (0..).zip(&self.cores).map(|(core, _)| (core, FromFiles::Past(Arc::clone(&past))));
            told.extend(to_all);
        }
        for (core, word) in told {
            self.mail(core, Mail::Message(ToCore::Files(Box::new(word))), around);
        }
    }

    /// Puts something into a core's mailbox.
    fn mail(&mut self, core: CoreIndex, mail: Mail, around: &mut Around<'_>) {
        let Some(host) = self.cores.get_mut(usize::from(core)) else {
            around.findings.add("mailbox", || format!("core {core} does not exist, and has mail"));
            return;
        };
        host.from_control.push_back(mail);
        let late = self.service.delay(Served::FromControl(core), around.queue.now());
        let delay = mail_delay(self.mail_delay, around.rng) + late;
        let what = RouterEvent::MailToCore { core };
        around.queue.after(delay, Event::Router { router: self.index, life: self.life, what });
    }

    fn schedule_turn(&mut self, core: CoreIndex, delay: Duration, around: &mut Around<'_>) {
        let at = around.queue.now() + delay;
        let host = &mut self.cores[usize::from(core)];
        if host.turn.is_none_or(|turn| turn > at) {
            host.turn = Some(at);
            let what = RouterEvent::Turn { core };
            around.queue.at(at, Event::Router { router: self.index, life: self.life, what });
        }
    }

    fn take_from_control(&mut self, around: &mut Around<'_>) {
        let (router, life) = (self.index, self.life);
        while let Some(output) = self.control.poll_output() {
            let (core, mail) = match output {
                ControlOutput::ToCore { core, message } => (core, Mail::Message(message)),
                ControlOutput::Dial { dial, target, core, lane: _, shard, hello } => {
                    let target = around.addresses.get(&target).copied();
                    (core, Mail::Dial { dial, target, shard, hello })
                }
            };
            self.mail(core, mail, around);
        }
        if let Some(due) = self.control.poll_timeout() {
            let due = due.max(around.queue.now());
            if self.timer.is_none_or(|timer| timer > due) {
                self.timer = Some(due);
                around.queue.at(due, Event::Router { router, life, what: RouterEvent::ControlTimer });
            }
        }
    }
}
