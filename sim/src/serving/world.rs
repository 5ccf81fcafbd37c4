//! What clients do, and what is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::session::{ConfirmLevel, Outcome as Ended};
use millrace_engine::time::Time;
use millrace_engine::transport::ConnKey;
use millrace_proto::control::OutcomeReason;
use millrace_proto::data::optional::Addressed;
use millrace_proto::{CloseCode, PublisherId, TagSet};
use millrace_sansio::Transport;
use millrace_verify::checker::Findings;
use millrace_verify::checker::groups::Groups;
use millrace_verify::checker::requests::{Requests, Told};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::party::{Done, Heard, Party, publisher};
use super::plan::{Part, Plan, Role};
use crate::event::Event;
use crate::network::Notice;
use crate::router::{Around, Process};
use crate::stage::{self, Course, Play, Stage};

/// Clients publish and ask from the first time until the second.
const BEGIN: Duration = Duration::from_millis(1_500);
const END: Duration = Duration::from_secs(16);
/// When nothing is on its way any more: what a member did not acknowledge goes to another one 30 s
/// later.
const OVER: Duration = Duration::from_secs(52);
/// From here on level 1 is in use wherever nobody ends: it may have come after level 2.
const SETTLED: Duration = Duration::from_secs(9);
/// Processes end between these times.
const ENDS: std::ops::Range<u64> = 2_000_000..15_000_000;
/// Steps of a run, at most: one that has more is stuck in a loop.
const STEPS_MAX: u64 = 10_000_000;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong.
    pub findings: Findings,
    /// Events that groups have given to members.
    pub given: u64,
    /// Of them, those that were marked as given before, perhaps.
    pub marked: u64,
    /// Replies that who asked was given.
    pub replies: u64,
    /// A hash of it.
    pub hash: u64,
    /// Steps of the simulation.
    pub steps: u64,
}

/// A client, by the number of its host.
#[derive(Debug)]
struct Client {
    role: Role,
    life: u64,
    level: ConfirmLevel,
    party: Option<Party>,
    /// When it is looked at again.
    timer: Option<Time>,
}

struct World {
    stage: Stage,
    clients: Vec<Client>,
    publishers: BTreeMap<PublisherId, u32>,
    groups: Groups,
    requests: Requests,
}

/// Runs the groups and requests of a seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut world = World::of(seed);
    let Course { hash, steps } = stage::run(&mut world, seed, OVER, STEPS_MAX);
    let World { stage: Stage { mut findings, .. }, groups, requests, .. } = world;
    groups.finish(&mut findings);
    requests.finish(&mut findings);
    let (given, marked) = (groups.copies, groups.marked);
    Outcome { given, marked, replies: requests.replies, findings, hash, steps }
}

fn time(after: Duration) -> Time {
    Time::ZERO + after
}

impl World {
    fn of(seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x7365_7276_696e_6700);
        let plan = Plan::of(&mut rng);
        let addresses: BTreeMap<String, u32> =
            plan.routers.iter().map(|setup| (setup.address.clone(), setup.index)).collect();
        let mut stage = Stage::new(rng, vec![addresses; plan.routers.len()]);
        plan.routers.iter().for_each(|setup| stage.start(setup));
        let mut world = Self {
            stage,
            clients: Vec::new(),
            publishers: BTreeMap::new(),
            groups: Groups::new(plan.steady, time(SETTLED).0),
            requests: Requests::default(),
        };
        for (client, role) in (0..).zip(plan.roles) {
            world.publishers.insert(publisher(client).1, client);
            let levels = [ConfirmLevel::None, ConfirmLevel::Routed, ConfirmLevel::Delivered];
            let level = match role.part {
                Part::Feeder { .. } => levels[world.stage.rng.random_range(0..3)],
                _ => ConfirmLevel::Routed,
            };
            world.clients.push(Client { role, life: 0, level, party: None, timer: None });
            let early = Duration::from_micros(world.stage.rng.random_range(0..300_000));
            world.stage.queue.after(early, Event::ClientDial { client });
            if matches!(role.part, Part::Feeder { .. } | Part::Asker { .. }) {
                world.stage.queue.after(BEGIN + early, Event::Publish { client });
            }
            for _ in 0..if role.ends { world.stage.rng.random_range(1..4) } else { 0 } {
                let at = Duration::from_micros(world.stage.rng.random_range(ENDS));
                world.stage.queue.after(at, Event::Churn { client });
            }
        }
        world
    }

    /// A client's process begins.
    fn dial(&mut self, number: u32) {
        let now = self.stage.queue.now();
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        if client.party.is_some() {
            return;
        }
        client.life += 1;
        let conn = self.stage.dial(number, client.role.router);
        client.party = Some(Party::new(number, client.life, client.role, conn, client.level, now));
    }

    /// A client's process ends, and begins again a little later.
    fn end(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        let Some(party) = client.party.take() else { return };
        let conn = party.connection.id();
        if self.stage.rng.random() {
            self.stage.network.abandon(&mut self.stage.queue, conn);
        } else {
            let wire = &mut self.stage.wire();
            wire.close(conn, CloseCode::Done.code(), "");
        }
        match client.role.part {
            Part::Member { group, .. } => self.groups.left(group, number),
            Part::Responder { service } => self.requests.left(service, number),
            Part::Feeder { .. } | Part::Asker { .. } => {}
        }
        let pause = Duration::from_micros(1 << self.stage.rng.random_range(10..23));
        self.stage.queue.after(pause, Event::ClientDial { client: number });
    }

    /// A program has something to publish, or to ask.
    fn publish(&mut self, number: u32) {
        let now = self.stage.queue.now();
        let time_us = 1 << self.stage.rng.random_range(17..22);
        let replies = self.stage.rng.random_range(0..3);
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        if let Some(party) = &mut client.party {
            let event = (number, party.n);
            let (tag, address) = match client.role.part {
                Part::Feeder { group } => (format!("work={group}"), Addressed::default()),
                Part::Asker { service } => {
                    let request = Some(party.n);
                    let asks = Addressed { request, deadline_us: time_us, replies, ..Addressed::default() };
                    (format!("service={service}"), asks)
                }
                Part::Member { .. } | Part::Responder { .. } => return,
            };
            let host = format!("host={number}");
            let Ok(tags) = TagSet::from_texts([host.as_str(), tag.as_str()]) else { return };
            match party.publish(now, &tags, event, &address) {
                Ok(true) => {
                    party.n += 1;
                    match client.role.part {
                        Part::Feeder { group } => self.groups.published(group, event, now.0),
                        Part::Asker { service } => {
                            self.requests.asked(event, service, now.0, time_us * 1000, replies);
                        }
                        Part::Member { .. } | Part::Responder { .. } => {}
                    }
                }
                Ok(false) => {}
                Err(error) => self.stage.findings.add("session", || format!("client {number}: {error}")),
            }
        }
        self.flow(number);
        let pause = Duration::from_micros(self.stage.rng.random_range(1_000..80_000));
        if now + pause < time(END) {
            self.stage.queue.after(pause, Event::Publish { client: number });
        }
    }

    fn flow(&mut self, number: u32) {
        let now = self.stage.queue.now();
        let wire = &mut self.stage.wire();
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        let Some(party) = &mut client.party else { return };
        match party.flow(wire, now) {
            Ok(heard) => self.hear(number, heard),
            Err(failure) => self.stage.findings.add("session", || format!("client {number}: {failure}")),
        }
        let Client { party, timer, .. } = &mut self.clients[number as usize];
        let due = party.as_ref().and_then(|party| party.poll_timeout(now));
        let due = due.map(|due| due.max(now + Duration::from_micros(10)));
        if let Some(due) = due.filter(|&due| timer.is_none_or(|timer| due < timer)) {
            *timer = Some(due);
            self.stage.queue.at(due, Event::ClientTimer { client: number });
        }
    }

    /// Judges what a client has heard, and gives its program what it has to do.
    fn hear(&mut self, number: u32, heard: Heard) {
        let now = self.stage.queue.now();
        let Self { clients, groups, requests, publishers, stage: Stage { findings, rng, .. } } = self;
        let Some(party) = clients[number as usize].party.as_mut() else { return };
        for &request in &heard.replied {
            requests.replied(number, request, now.0);
        }
        if heard.is_effective {
            match party.role.part {
                Part::Member { group, .. } => groups.joined(group, number, now.0),
                Part::Responder { service } => requests.joined(service, number, now.0),
                Part::Feeder { .. } | Part::Asker { .. } => {}
            }
        }
        for run in heard.runs {
            let work = u64::try_from(party.role.work.as_micros()).unwrap_or(0);
            let due = now + Duration::from_micros(rng.random_range(0..=work));
            match party.role.part {
                Part::Member { level, .. } => {
                    for &event in &run.events {
                        groups.given((number, level), event, run.is_marked, findings);
                    }
                    run.ticket.into_iter().for_each(|ticket| party.work(due, Done::Ack(ticket)));
                }
                Part::Responder { .. } => {
                    for &request in &run.events {
                        requests.had(number, request, findings);
                        if let Some(to) = run.reply_to {
                            party.work(due, Done::Reply { to, request });
                        }
                    }
                }
                Part::Asker { .. } => {
                    let responder = publishers.get(&run.publisher).copied().unwrap_or(u32::MAX);
                    for &(_, n) in &run.events {
                        if run.answers != Some(n) {
                            let answers = run.answers;
                            findings.add("requests", || {
                                format!("a reply to {n} says that it is one to {answers:?}")
                            });
                        }
                    }
                    for request in run.events {
                        requests.given(request, responder, now.0, findings);
                    }
                }
                Part::Feeder { .. } => {}
            }
        }
        for (event, outcome) in heard.ended {
            match party.role.part {
                Part::Asker { .. } => requests.told(event, told(&outcome), findings),
                Part::Responder { .. } => requests.reply_told(number, event, told(&outcome), now.0, findings),
                Part::Feeder { .. } | Part::Member { .. } => {}
            }
        }
    }
}

impl Play for World {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut Around<'_>)) {
        self.stage.within(router, work);
    }

    fn notice(&mut self, number: u32, conn: ConnKey, notice: Notice) {
        let now = self.stage.queue.now();
        let wire = &mut self.stage.wire();
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        let Some(party) = client.party.as_mut().filter(|party| party.connection.id() == conn) else { return };
        let read = match notice {
            Notice::Connected { .. } => {
                party.connection.connected(wire);
                Ok(())
            }
            Notice::StreamOpened(stream) => {
                party.connection.stream_opened(stream);
                Ok(())
            }
            Notice::Readable(stream) => party.read(wire, now, stream).map_err(|failure| failure.to_string()),
            Notice::Closed(code) => Err(format!("closed with {code:?}")),
            _ => Ok(()),
        };
        if let Err(wrong) = read {
            self.stage.findings.add("session", || format!("client {number}: {wrong}"));
        }
        self.flow(number);
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::ClientTimer { client } => {
                let now = self.stage.queue.now();
                let timer = self.clients.get_mut(client as usize).map(|client| &mut client.timer);
                if timer.is_some_and(|timer| timer.take_if(|due| *due <= now).is_some()) {
                    self.flow(client);
                }
            }
            Event::ClientDial { client } => self.dial(client),
            Event::Publish { client } => self.publish(client),
            Event::Churn { client } => self.end(client),
            _ => {}
        }
    }
}

/// An outcome as the checker knows it.
fn told(outcome: &Ended) -> Told {
    match outcome {
        Ended::Confirmed { receivers } => Told::Confirmed(*receivers),
        Ended::Dropped { reason: OutcomeReason::NoReceiver } => Told::Nobody,
        other if other.is_requester_gone() => Told::Nobody,
        _ => Told::Other,
    }
}
