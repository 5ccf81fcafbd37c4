//! A cluster of controls with fake cores: they apply directories with a delay, and their lanes are
//! FIFO queues with delays, all drawn from one seed. Frames cross as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::data::GapReason;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::mesh::{LaneFrame, MeshFrame, PeerHello};
use millrace_proto::{CloseCode, Incarnation, RouterId, Selector, frame};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::router::Router;
use crate::control::{ControlConfig, ControlOutput, PeerState, PeerStatus};
use crate::message::{CoreIndex, DialId, PeerIndex, PrepareOrder, ToControl, ToCore, Token};
use crate::time::Time;
use crate::transport::ConnKey;

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// When a first packet that nobody answers is sent again, as QUIC's first probe timeout has it.
const FIRST_RESEND: Duration = ms(1000);
/// A first packet is not sent again after a pause of this length: control gives up before.
const GIVE_UP: Duration = ms(8000);

/// One end of a connection: router, its life, and core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    router: usize,
    life: u64,
    core: CoreIndex,
    open: bool,
    greeted: bool,
    accepted: bool,
    dial: Option<DialId>,
    /// When the last thing on its way to this end arrives.
    busy_until: Time,
}

#[derive(Debug)]
enum Event {
    ToControl(usize, u64, CoreIndex, ToControl),
    ToCore(usize, u64, CoreIndex, ToCore),
    Frame(u64, usize, Vec<u8>),
    Closed(u64, usize, bool, Option<CloseCode>),
    DialFailed(usize, u64, DialId),
    /// A first packet is sent again to where nobody has answered.
    Dial(usize, u64, Duration, Box<Call>),
}

/// What a router dials, as long as nobody answers.
#[derive(Debug, Clone)]
struct Call {
    dial: DialId,
    target: String,
    core: CoreIndex,
    shard: u16,
    hello: PeerHello,
}

pub(super) struct Cluster {
    pub(super) now: Time,
    rng: Pcg64Mcg,
    pub(super) routers: Vec<Router>,
    pub(super) addresses: BTreeMap<String, usize>,
    conns: BTreeMap<u64, [End; 2]>,
    events: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    /// Takes frames away: sender, frame.
    #[expect(clippy::type_complexity, reason = "one closure of the tests")]
    pub(super) filter: Box<dyn FnMut(usize, &MeshFrame) -> bool>,
    /// Nobody says that there is no router at an address.
    pub(super) is_silent: bool,
    /// Closing a connection drops what was written last.
    pub(super) closes_overtake: bool,
    /// Longest way from one place to the next, in microseconds.
    pub(super) delay_max_us: u64,
    /// Every output, for comparing two runs.
    pub(super) trace: Vec<String>,
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            rng: Pcg64Mcg::seed_from_u64(seed),
            routers: Vec::new(),
            addresses: BTreeMap::new(),
            conns: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            filter: Box::new(|_, _| true),
            is_silent: false,
            closes_overtake: false,
            delay_max_us: 5_000,
            trace: Vec::new(),
        }
    }

    /// A router with this id at `r<place>:1`, which is also its place in the list.
    pub(super) fn add(&mut self, id: u64, cores: u16, seeds: &[&str]) -> usize {
        self.add_with(id, cores, seeds, |_| {})
    }

    pub(super) fn add_with(
        &mut self,
        id: u64,
        cores: u16,
        seeds: &[&str],
        change: impl FnOnce(&mut ControlConfig),
    ) -> usize {
        let place = self.routers.len();
        let address = format!("r{place}:1");
        let mut config =
            ControlConfig::new(RouterId(id), Incarnation(id.wrapping_mul(1000)), address.clone(), cores);
        config.forget_after = ms(5000);
        config.digest_every = ms(1000);
        change(&mut config);
        self.addresses.insert(address, place);
        let seeds: Vec<String> = seeds.iter().map(|&seed| seed.to_owned()).collect();
        self.routers.push(Router::new(config, seeds.clone(), self.now));
        self.routers[place].control.set_seeds(self.now, seeds);
        self.drain_outputs(place);
        place
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(50..self.delay_max_us))
    }

    fn at(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.events.insert((time, self.sequence), event);
    }

    pub(super) fn inform(&mut self, router: usize, core: CoreIndex, message: ToControl) {
        let time = self.now + self.delay();
        let busy = &mut self.routers[router].to_control_busy[usize::from(core)];
        *busy = time.max(*busy);
        let (time, life) = (*busy, self.routers[router].life);
        self.at(time, Event::ToControl(router, life, core, message));
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 2_000_000, "the cluster does not come to rest");
            let event = self.events.first_key_value().map(|(&key, _)| key);
            let timer = (0..self.routers.len())
                .filter(|&router| self.routers[router].alive)
                .filter_map(|router| Some((self.routers[router].control.poll_timeout()?, router)))
                .min();
            let event_at = event.map_or(Time(u64::MAX), |key| key.0);
            let timer_at = timer.map_or(Time(u64::MAX), |timer| timer.0);
            if event_at.min(timer_at) > end {
                self.now = end;
                return;
            }
            if let (Some((at, router)), true) = (timer, timer_at < event_at) {
                self.now = self.now.max(at);
                self.routers[router].control.handle_timeout(self.now);
                self.drain_outputs(router);
            } else if let Some((_, event)) = self.events.pop_first() {
                self.now = self.now.max(event_at);
                self.take(event);
            }
        }
    }

    fn lives(&self, router: usize, life: u64) -> bool {
        self.routers[router].alive && self.routers[router].life == life
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::ToControl(router, life, core, message) if self.lives(router, life) => {
                self.routers[router].control.handle(self.now, core, message);
                self.drain_outputs(router);
            }
            Event::ToCore(router, life, core, message) if self.lives(router, life) => {
                self.core_takes(router, core, message);
            }
            Event::DialFailed(router, life, dial) if self.lives(router, life) => {
                self.routers[router].control.dial_failed(self.now, dial);
                self.drain_outputs(router);
            }
            Event::Dial(router, life, resend, call) if self.lives(router, life) && resend < GIVE_UP => {
                self.dial(router, resend, *call);
            }
            Event::Frame(conn, side, bytes) => self.frame_arrives(conn, side, &bytes),
            Event::Closed(conn, side, orderly, code) => {
                let Some(ends) = self.conns.get_mut(&conn) else { return };
                let end = ends[side];
                ends[side].open = false;
                if end.open && self.lives(end.router, end.life) {
                    if end.accepted && !orderly {
                        self.lane_lost(conn, side);
                    }
                    let conn = key(conn, side);
                    self.inform(
                        end.router,
                        end.core,
                        ToControl::LaneClosed { conn, dial: end.dial, orderly, code },
                    );
                }
            }
            _ => {}
        }
    }

    fn frame_arrives(&mut self, conn: u64, side: usize, bytes: &[u8]) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let end = ends[side];
        if !end.open || !self.lives(end.router, end.life) {
            return;
        }
        let ends = self.conns.get_mut(&conn).unwrap();
        ends[side].greeted = true;
        let (kind, body, _) = frame::split(bytes, CONTROL_FRAME_BYTES_MAX).unwrap().unwrap();
        let frame = MeshFrame::decode(kind, body).unwrap();
        let conn = key(conn, side);
        let message = match frame {
            MeshFrame::Lane(LaneFrame::PeerHello(hello)) if !end.greeted => {
                ToControl::LaneHello { conn, dial: end.dial, hello }
            }
            MeshFrame::Link(frame) => ToControl::LinkFrame { conn, frame },
            _ => return,
        };
        self.inform(end.router, end.core, message);
    }

    /// Puts something on its way to the other end of a connection.
    fn send(&mut self, conn: u64, from: usize, event: impl FnOnce(usize) -> Event) {
        let time = self.now + self.delay();
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let end = &mut ends[1 - from];
        end.busy_until = end.busy_until.max(time);
        let time = end.busy_until;
        self.at(time, event(1 - from));
    }

    fn send_frame(&mut self, conn: ConnKey, frame: &MeshFrame) {
        let (conn, from) = (conn.0 / 2, usize::try_from(conn.0 % 2).unwrap());
        let Some(ends) = self.conns.get(&conn) else { return };
        if !ends[from].open || !(self.filter)(ends[from].router, frame) {
            return;
        }
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send(conn, from, |to| Event::Frame(conn, to, bytes));
    }

    fn core_takes(&mut self, router: usize, core: CoreIndex, message: ToCore) {
        let now = self.now;
        match message {
            ToCore::Directory { version, index, joined, .. } => {
                self.routers[router].applied[usize::from(core)] = index;
                for peer in joined {
                    self.missed(router, core, peer);
                }
                let position = self.routers[router].positions[usize::from(core)];
                self.inform(router, core, ToControl::Applied { version, position, settled: true });
            }
            ToCore::AcceptLane { conn, peer, lane, outgoing, missed, lost, hello, .. } => {
                let (number, side) = (conn.0 / 2, usize::try_from(conn.0 % 2).unwrap());
                let Some(ends) = self.conns.get_mut(&number) else { return };
                ends[side].accepted = true;
                let other = ends[1 - side].router;
                if outgoing {
                    self.routers[router].outgoing.push((core, lane));
                    self.routers[router].lanes_out.insert((core, peer), (other, 0));
                }
                if missed {
                    self.missed(router, core, peer);
                }
                if lost {
                    self.lane_lost(number, side);
                }
                if let Some(hello) = hello {
                    self.send_frame(conn, &MeshFrame::from(hello));
                }
            }
            ToCore::CloseLane { conn, hello, code } => {
                self.routers[router].refused.push(code);
                if let Some(hello) = hello.filter(|_| !self.closes_overtake) {
                    self.send_frame(conn, &MeshFrame::from(hello));
                }
                let (number, side) = (conn.0 / 2, usize::try_from(conn.0 % 2).unwrap());
                if self.conns.get(&number).is_some_and(|ends| ends[side].open && ends[side].accepted) {
                    self.lane_lost(number, side);
                }
                self.close(conn, Some(code), code == CloseCode::GoingAway);
            }
            ToCore::LinkFrame { conn, frame } => self.send_frame(conn, &frame.into()),
            ToCore::MoveClients { count, to, .. } => self.clients_move(router, core, count, &to),
            ToCore::Synced(true) if core == 0 => self.routers[router].synced = Some(now),
            ToCore::Alternates(alternates) if core == 0 => self.routers[router].set_alternates(alternates),
            ToCore::Prepared { result, .. } => {
                self.routers[router].prepared.push(result.map(|prepared| prepared.len()));
            }
            _ => {}
        }
    }

    /// A lane ends at this end before all of it was read.
    fn lane_lost(&mut self, conn: u64, side: usize) {
        let ends = &self.conns[&conn];
        let lost = self.routers[ends[1 - side].router].config.router;
        self.routers[ends[side].router].gaps.push((GapReason::RouterLost, lost));
    }

    /// A core tells a peer what it may have missed.
    fn missed(&mut self, router: usize, core: CoreIndex, peer: PeerIndex) {
        let position = self.routers[router].positions[usize::from(core)];
        let id = self.routers[router].config.router;
        let Some((other, told)) = self.routers[router].lanes_out.get_mut(&(core, peer)) else { return };
        if position > *told {
            *told = position;
            let other = *other;
            self.routers[other].gaps.push((GapReason::Joined, id));
        }
    }

    fn close(&mut self, conn: ConnKey, code: Option<CloseCode>, orderly: bool) {
        let (conn, from) = (conn.0 / 2, usize::try_from(conn.0 % 2).unwrap());
        if let Some(ends) = self.conns.get_mut(&conn)
            && std::mem::take(&mut ends[from].open)
        {
            self.send(conn, from, |to| Event::Closed(conn, to, orderly, code));
        }
    }

    pub(super) fn drain_outputs(&mut self, router: usize) {
        while let Some(said) = self.routers[router].control.poll_notice() {
            self.routers[router].said.push(said.notice);
        }
        while let Some(output) = self.routers[router].control.poll_output() {
            self.trace.push(format!("{} {router} {}", self.now, describe(&output)));
            match output {
                ControlOutput::ToCore { core, message } => {
                    if let ToCore::Effective(said) = &message {
                        self.check_effective(router, said.token, said.stage, &said.left_out);
                        self.routers[router].effective.push((said.token, said.stage, said.left_out.clone()));
                        self.routers[router].unanswered = said.unanswered;
                    }
                    let time = self.now + self.delay();
                    let busy = &mut self.routers[router].to_core_busy[usize::from(core)];
                    *busy = time.max(*busy);
                    let (time, life) = (*busy, self.routers[router].life);
                    self.at(time, Event::ToCore(router, life, core, message));
                }
                ControlOutput::Dial { dial, target, core, shard, hello, .. } => {
                    self.dial(router, FIRST_RESEND, Call { dial, target, core, shard, hello });
                }
            }
        }
    }

    /// Connects two routers. Where nobody is, the attempt fails at once, or its first packet is
    /// sent again after longer and longer pauses.
    fn dial(&mut self, router: usize, resend: Duration, call: Call) {
        let life = self.routers[router].life;
        let answers = self.addresses.get(&call.target).copied();
        let Some(to) = answers.filter(|&to| self.routers.get(to).is_some_and(|there| there.alive)) else {
            if self.is_silent {
                self.at(self.now + resend, Event::Dial(router, life, 2 * resend, Box::new(call)));
            } else {
                let time = self.now + self.delay();
                self.at(time, Event::DialFailed(router, life, call.dial));
            }
            return;
        };
        self.sequence += 1;
        let conn = self.sequence;
        let end = |router: usize, life, core, dial| End {
            router,
            life,
            core,
            open: true,
            greeted: false,
            accepted: false,
            dial,
            busy_until: Time::ZERO,
        };
        let there = call.shard % self.routers[to].config.cores;
        let ends =
            [end(router, life, call.core, Some(call.dial)), end(to, self.routers[to].life, there, None)];
        self.conns.insert(conn, ends);
        self.send_frame(key(conn, 0), &MeshFrame::from(call.hello));
    }

    pub(super) fn subscribe(&mut self, router: usize, core: CoreIndex, text: &str) -> Token {
        self.sequence += 1;
        let token = Token(self.sequence);
        self.routers[router].wants.insert((core, text.to_owned()));
        self.routers[router].waits.insert(token, (core, text.to_owned()));
        let add = vec![Arc::new(Selector::parse(text).unwrap())];
        self.inform(router, core, ToControl::Interest { add, remove: Vec::new(), token: Some(token) });
        token
    }

    pub(super) fn unsubscribe(&mut self, router: usize, core: CoreIndex, text: &str) {
        let wanted = (core, text.to_owned());
        self.routers[router].wants.remove(&wanted);
        self.routers[router].waits.retain(|_, waiting| *waiting != wanted);
        let remove = vec![Arc::new(Selector::parse(text).unwrap())];
        self.inform(router, core, ToControl::Interest { add: Vec::new(), remove, token: None });
    }

    pub(super) fn tell(&mut self, router: usize, core: CoreIndex, message: ToControl) {
        self.routers[router].control.handle(self.now, core, message);
        self.drain_outputs(router);
    }

    /// A core has selectors read by control.
    pub(super) fn prepare(&mut self, router: usize, core: CoreIndex, order: &PrepareOrder) {
        self.routers[router].control.prepare(self.now, core, order);
        self.drain_outputs(router);
    }

    /// The lanes of a router that are open at both ends: its key, core, and the router at the other
    /// end.
    pub(super) fn lanes_of(&self, router: usize) -> Vec<(ConnKey, CoreIndex, usize)> {
        let of = |(&conn, ends): (&u64, &[End; 2])| {
            let side = ends.iter().position(|end| end.router == router && self.lives(router, end.life))?;
            let open = ends.iter().all(|end| end.open && end.greeted);
            open.then(|| (key(conn, side), ends[side].core, ends[1 - side].router))
        };
        self.conns.iter().filter_map(of).collect()
    }

    /// Loses a connection: both ends notice some time later.
    pub(super) fn cut(&mut self, conn: ConnKey) {
        let conn = conn.0 / 2;
        for side in 0..2 {
            let time = self.now + self.delay();
            self.at(time, Event::Closed(conn, side, false, None));
        }
    }

    /// Ends a router without a word. Its peers notice silence after 1 s, and lose its lanes after 3
    /// s.
    pub(super) fn crash(&mut self, router: usize) {
        let life = self.routers[router].life;
        let ends: Vec<_> = self
            .conns
            .iter()
            .filter_map(|(&conn, ends)| {
                let side = ends.iter().position(|end| (end.router, end.life) == (router, life))?;
                Some((conn, 1 - side, ends[1 - side]))
            })
            .collect();
        for (conn, side, end) in ends {
            let silent = ToControl::LaneSilent { conn: key(conn, side) };
            self.at(self.now + ms(1000), Event::ToControl(end.router, end.life, end.core, silent));
            self.at(self.now + ms(3000), Event::Closed(conn, side, false, None));
        }
        self.routers[router].alive = false;
    }

    /// Begins a new life of a router that crashed, with the same seeds and nothing else.
    pub(super) fn restart(&mut self, router: usize) {
        let mut config = self.routers[router].config.clone();
        config.incarnation.0 += 1;
        let (life, seeds) = (self.routers[router].life + 1, self.routers[router].seeds.clone());
        self.routers[router] = Router::new(config, seeds.clone(), self.now);
        self.routers[router].life = life;
        self.routers[router].control.set_seeds(self.now, seeds);
        self.drain_outputs(router);
    }

    pub(super) fn peer(&self, router: usize, peer: usize) -> Option<PeerStatus> {
        let id = self.routers[peer].config.router;
        self.routers[router].control.status().peers.into_iter().find(|status| status.router == id)
    }

    pub(super) fn state(&self, router: usize, peer: usize) -> Option<PeerState> {
        self.peer(router, peer).map(|status| status.state)
    }
}

const fn key(conn: u64, side: usize) -> ConnKey {
    ConnKey(conn * 2 + side as u64)
}

/// An output without the index, which prints memory.
fn describe(output: &ControlOutput) -> String {
    match output {
        ControlOutput::ToCore { core, message: ToCore::Directory { version, .. } } => {
            format!("core {core} directory {version}")
        }
        other => format!("{other:?}"),
    }
}
