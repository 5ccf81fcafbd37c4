//! A client: one connection, with a receiver, a publisher, or both.

use std::collections::BTreeMap;

use millrace_attach::{ClientConnection, Event, Failure};
use millrace_client::session::publisher::PublishError;
use millrace_client::session::{
    ConfirmLevel, ConnectionConfig, Outcome, PublisherConfig, PublisherSession, Tags,
};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamKey};
use millrace_proto::control::{Ack, AckKind, OpenReceiver, Stage, Ticket};
use millrace_proto::data::optional::{Addressed, REPLY_TOKEN_BYTES};
use millrace_proto::{
    Epoch, PublisherId, PublisherKey, PublisherSecret, ReceiverNumber, SubscriptionNumber, TagSet,
};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::plan::{Part, Role};
use super::taken::{Given, Taken};
use crate::network::Wire;

/// Bytes that are read from a stream at a time.
const READ_BYTES: usize = 16 * 1024;
/// The only receiver of a connection, and how much it may be ahead of its application.
const NUMBER: ReceiverNumber = ReceiverNumber(0);
const WINDOW_BYTES: u64 = 1 << 18;
const QUEUE_BYTES: u64 = 4 << 20;

/// What a program does when it has worked on what it was given.
#[derive(Debug)]
pub(super) enum Done {
    Ack(Ticket),
    Reply { to: [u8; REPLY_TOKEN_BYTES], request: (u32, u64) },
}

/// One life of a client.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) role: Role,
    pub(super) connection: ClientConnection,
    session: Option<PublisherSession>,
    taken: Taken,
    /// What its program works on, by when it is done.
    works: BTreeMap<(Time, u64), Done>,
    worked: u64,
    /// Of whom the events are that it has published, by their seqs.
    sent: BTreeMap<u64, (u32, u64)>,
    /// Its next event.
    pub(super) n: u64,
}

/// What a client has heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Its subscription is effective in the cluster.
    pub(super) is_effective: bool,
    pub(super) runs: Vec<Given>,
    /// What its program has done.
    pub(super) replied: Vec<(u32, u64)>,
    pub(super) ended: Vec<((u32, u64), Outcome)>,
}

/// Who publishes under this secret.
pub(super) fn publisher(client: u32) -> (PublisherSecret, PublisherId) {
    let mut secret = [9; 32];
    secret[..4].copy_from_slice(&client.to_le_bytes());
    let secret = PublisherSecret(secret);
    let id = PublisherId::derive(&secret, "", 0);
    (secret, id)
}

impl Party {
    /// A client with a new connection, in its life of this number.
    pub(super) fn new(
        client: u32,
        life: u64,
        role: Role,
        conn: ConnKey,
        level: ConfirmLevel,
        now: Time,
    ) -> Self {
        let (secret, publisher) = publisher(client);
        let receiving = receiving(role.part);
        let config = ConnectionConfig {
            secret: Some(secret),
            confirms: true,
            receivers: u32::from(receiving.is_some()),
            ..ConnectionConfig::default()
        };
        let mut connection = ClientConnection::new(conn, config, now);
        if let Some((request, select)) = receiving
            && connection.open_receiver(request, WINDOW_BYTES).is_ok()
            && !select.is_empty()
        {
            connection.subscribe(NUMBER, SubscriptionNumber(0), &[select]);
        }
        let key = PublisherKey { publisher, epoch: Epoch(life) };
        let config = PublisherConfig { level, linger_ns: 0, ..PublisherConfig::new(key) };
        let publishes = !matches!(role.part, Part::Member { .. });
        Self {
            role,
            connection,
            session: publishes.then(|| PublisherSession::new(config)),
            taken: Taken::default(),
            works: BTreeMap::new(),
            worked: 0,
            sent: BTreeMap::new(),
            n: 0,
        }
    }

    pub(super) fn read(&mut self, wire: &mut Wire<'_>, now: Time, stream: StreamKey) -> Result<(), Failure> {
        while self.connection.readable(wire, now, stream, READ_BYTES, &mut self.taken)? == ReadState::More {}
        Ok(())
    }

    /// Publishes an event with an address. Whether it did.
    pub(super) fn publish(
        &mut self,
        now: Time,
        tags: &TagSet,
        event: (u32, u64),
        address: &Addressed<'_>,
    ) -> Result<bool, PublishError> {
        let mut payload = vec![0; PAYLOAD_BYTES_MIN];
        let stamp = Stamp { emitter: event.0, n: event.1, scheduled_ns: now.0 };
        let Some(session) = self.session.as_mut().filter(|session| session.has_stream()) else {
            return Ok(false);
        };
        if stamp.encode(b"", &mut payload).is_err() {
            return Ok(false);
        }
        let mut field = Vec::new();
        if *address != Addressed::default() {
            address.put(&mut field);
        }
        match session.publish_addressed(now, Tags::Set(tags), now.0, &payload, &field) {
            Ok(seq) => {
                self.sent.insert(seq, event);
                Ok(true)
            }
            Err(PublishError::WouldBlock) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Its program is given something to do, and does it by then.
    pub(super) fn work(&mut self, due: Time, done: Done) {
        self.works.insert((due, self.worked), done);
        self.worked += 1;
    }

    /// Does what is due, and moves what there is to move.
    pub(super) fn flow(&mut self, wire: &mut Wire<'_>, now: Time) -> Result<Heard, Failure> {
        let mut heard = Heard::default();
        self.connection.handle_timeout(now);
        while let Some(event) = self.connection.poll_event(wire, self.session.as_mut())? {
            match event {
                Event::Welcomed(welcome) => {
                    if let Some(session) = &mut self.session {
                        session.stream_started(welcome.tables);
                    }
                }
                Event::Subscribed(said) if said.stage == Stage::Cluster => heard.is_effective = true,
                _ => {}
            }
        }
        let mut tickets = Vec::new();
        while let Some(entry) = self.works.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Done::Ack(ticket) => tickets.push(ticket),
                Done::Reply { to, request } => {
                    let address = Addressed { answers: Some(to), ..Addressed::default() };
                    let Ok(none) = TagSet::from_texts::<&str>([]) else { continue };
                    if self.publish(now, &none, request, &address) == Ok(true) {
                        heard.replied.push(request);
                    }
                }
            }
        }
        if !tickets.is_empty() {
            self.connection.acknowledge(&Ack { kind: AckKind::Taken, tickets, ..Ack::default() });
        }
        heard.runs = std::mem::take(&mut self.taken.runs);
        let mut expects = true;
        if let Some(session) = &mut self.session {
            while let Some(ended) = session.poll_ended() {
                for seq in ended.seqs {
                    heard.ended.extend(self.sent.remove(&seq).map(|event| (event, ended.outcome.clone())));
                }
            }
            self.connection.publish(wire, now, session);
            expects = session.expects_answer(now) || receiving(self.role.part).is_some();
        }
        self.connection.set_attentive(now, expects);
        self.connection.flush(wire);
        Ok(heard)
    }

    pub(super) fn poll_timeout(&self, now: Time) -> Option<Time> {
        let session = self.session.as_ref();
        let output = session
            .and_then(PublisherSession::poll_timeout)
            .filter(|_| !self.connection.is_publish_blocked());
        let answer = session.and_then(PublisherSession::answer_due).filter(|&due| due > now);
        let work = self.works.first_key_value().map(|(&(due, _), _)| due);
        output.into_iter().chain(answer).chain(work).chain(self.connection.poll_timeout()).min()
    }
}

/// What a client's receiver is, and what it selects.
fn receiving(part: Part) -> Option<(OpenReceiver, String)> {
    let open = OpenReceiver { receiver: NUMBER, queue_bytes: QUEUE_BYTES, ..OpenReceiver::default() };
    match part {
        Part::Feeder { .. } => None,
        Part::Member { group, level, max_inflight } => {
            let open = OpenReceiver { group: format!("group-{group}"), level, max_inflight, ..open };
            Some((open, format!("work={group}")))
        }
        // Replies need no subscription.
        Part::Asker { .. } => Some((open, String::new())),
        Part::Responder { service } => Some((open, format!("service={service}"))),
    }
}
