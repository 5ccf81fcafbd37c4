//! One connection of a client, from `CONNACK` to its end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::EventId;
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::aliases::{Heard, Told};
use super::answers::Answers;
use super::codec::{Code, Decoder, Encoder, Packet, Version, Wish, Wrong};
use super::door::Mqtt;
use super::sessions::{EXPIRY_MAX_S, Seat, SessionState, Takeover};
use super::subscriptions::Way;
use super::will::LastWill;
use super::writing::write;
use crate::admission::{Refusal, Right, Socket, Standing};
use crate::counters::Reason;

/// Bytes that one read takes.
const READ_BYTES: usize = 32 * 1024;
/// Messages that are written at once.
const EVENTS_AT_ONCE: usize = 512;
/// How long nothing may be heard of a client that has no keep-alive: until its connection ends.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a connection ends.
pub(super) enum End {
    /// The client has gone without a word.
    Gone,
    /// It said that it leaves.
    Left {
        with_will: bool,
    },
    /// It is told why.
    Told(Code, String),
    /// Another connection has its name.
    TakenOver(Takeover),
    /// The routers refuse what it subscribes to.
    Refused(Arc<str>),
    /// The client has lost a right.
    Withdrawn(Refusal),
    Stopping,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl From<Wrong> for End {
    fn from(wrong: Wrong) -> Self {
        Self::Told(wrong.code(), wrong.to_string())
    }
}

/// What a client and the door have agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    pub(super) version: Version,
    /// The client is given up when nothing was heard of it for so long; zero for no bound.
    pub(super) silence_max: Duration,
    /// Messages of QoS 1 that it may leave unacknowledged.
    pub(super) inflight_max: usize,
    /// Bytes of a packet that it takes.
    pub(super) packet_max: usize,
    /// Topic aliases that it keeps.
    pub(super) topic_alias_max: u16,
    /// How long its session is kept.
    pub(super) expiry: Duration,
}

/// One connection.
pub(super) struct Session {
    pub(super) door: Mqtt,
    pub(super) standing: Standing,
    pub(super) granted: Granted,
    decoder: Decoder,
    pub(super) encoder: Encoder,
    to: WriteHalf<Socket>,
    seat: Seat,
    pub(super) state: SessionState,
    will: Option<LastWill>,
    /// What is published and not answered yet.
    pub(super) answers: Answers,
    /// The client's last events, by which their copies are known where it wants none.
    pub(super) own: VecDeque<EventId>,
    pub(super) heard_aliases: Heard,
    pub(super) told_aliases: Told,
}

impl Session {
    pub(super) fn new(
        door: Mqtt,
        standing: Standing,
        granted: Granted,
        decoder: Decoder,
        encoder: Encoder,
        (to, seat, state, will): (WriteHalf<Socket>, Seat, SessionState, Option<LastWill>),
    ) -> Self {
        Self {
            door,
            standing,
            granted,
            decoder,
            encoder,
            to,
            seat,
            state,
            will,
            answers: Answers::default(),
            own: VecDeque::new(),
            heard_aliases: Heard::default(),
            told_aliases: Told::new(granted.topic_alias_max),
        }
    }

    /// Serves the client until either side has enough.
    pub(super) async fn serve(mut self, mut from: ReadHalf<Socket>) {
        let Err(end) = self.run(&mut from).await;
        let told = match &end {
            End::Gone | End::Left { .. } => None,
            End::Told(code, why) => {
                self.door.refused(*code);
                Some((*code, why.as_str()))
            }
            End::TakenOver(_) => Some((Code::TAKEN_OVER, "another connection has this client identifier")),
            End::Refused(why) => Some((Code::NOT_AUTHORIZED, &**why)),
            End::Withdrawn(refusal) => {
                tracing::info!(%refusal, "an MQTT client has lost a right");
                self.door.counted(Reason::Withdrawn);
                Some((Code::NOT_AUTHORIZED, "a right of this client was withdrawn"))
            }
            End::Stopping => Some((Code::SHUTTING_DOWN, "the gateway stops: connect again")),
        };
        if let Some((code, why)) = told {
            self.encoder.disconnect(code, why);
        }
        // It may have gone.
        let _ = write(&mut self.to, self.encoder.bytes()).await;
        let Self { door, seat, state, will, granted, .. } = self;
        match end {
            End::TakenOver(takeover) => seat.hand_on(takeover, state, will, &door.room),
            End::Left { with_will: false } => seat.leave(state, granted.expiry, None, &door.room),
            // Its clients are not lost: they connect to another gateway.
            End::Stopping => seat.leave(state, Duration::ZERO, None, &door.room),
            // Nothing is kept for it, and nothing said in its name.
            End::Withdrawn(_) => seat.leave(state, Duration::ZERO, None, &door.room),
            // The same would be refused again.
            End::Refused(_) => seat.leave(state, Duration::ZERO, will, &door.room),
            End::Gone | End::Told(..) | End::Left { with_will: true } => {
                seat.leave(state, granted.expiry, will, &door.room);
            }
        }
    }

    async fn run(&mut self, from: &mut ReadHalf<Socket>) -> Result<std::convert::Infallible, End> {
        let (room, mailbox) = (self.door.room.clone(), self.state.mailbox.clone());
        let silence_max = Some(self.granted.silence_max).filter(|max| !max.is_zero()).unwrap_or(FOR_EVER);
        let mut heard = Instant::now();
        let feeds = room.upstream.feeds();
        self.state.subscriptions.join_groups(Way { mapping: &self.door.mapping, feeds, mailbox: &mailbox });
        self.send_again();
        loop {
            while !self.answers.is_full()
                && let Some(packet) = self.decoder.packet()?
            {
                self.packet(packet).await?;
            }
            write(&mut self.to, self.encoder.bytes()).await?;
            self.encoder.clear();
            let may_read = !self.answers.is_full();
            let may_send = self.granted.inflight_max.saturating_sub(self.state.inflight.len());
            self.decoder.buffer().reserve(READ_BYTES);
            tokio::select! {
                read = from.read_buf(self.decoder.buffer()), if may_read => {
                    if read? == 0 {
                        return Err(End::Gone);
                    }
                    heard = Instant::now();
                }
                letters = mailbox.take(may_send.min(EVENTS_AT_ONCE)), if may_send > 0 => {
                    self.deliver(letters.map_err(End::Refused)?);
                }
                (question, outcome) = self.answers.next() => self.answer(question, outcome)?,
                () = sleep_until(heard + silence_max), if may_read => {
                    return Err(End::Told(Code::KEEP_ALIVE, "nothing was heard within the keep-alive".to_owned()));
                }
                takeover = self.seat.taken_over() => return Err(End::TakenOver(takeover)),
                refusal = self.standing.withdrawn() => return Err(End::Withdrawn(refusal)),
                () = room.stopped() => return Err(End::Stopping),
            }
        }
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Connect(_) => return Err(Wrong::Protocol("a second CONNECT").into()),
            Packet::Publish(publish) => self.publish(*publish).await?,
            Packet::PubAck(packet) => self.state.inflight.acknowledge(packet),
            Packet::PubRel(packet) => {
                self.state.received.remove(&packet);
                self.encoder.completed(packet);
            }
            Packet::Subscribe { packet, subscription, wishes } => {
                self.subscribe(packet, subscription, &wishes).await;
            }
            Packet::Unsubscribe { packet, filters } => self.unsubscribe(packet, &filters),
            Packet::Ping => self.encoder.pong(),
            Packet::Disconnect { with_will, session_expiry } => {
                if let Some(expiry) = session_expiry {
                    if expiry > 0 && !self.seat.is_kept() {
                        return Err(Wrong::Protocol("a session that was not to be kept is to be kept").into());
                    }
                    self.granted.expiry = Duration::from_secs(u64::from(expiry.min(EXPIRY_MAX_S)));
                }
                return Err(End::Left { with_will });
            }
        }
        Ok(())
    }

    async fn subscribe(&mut self, packet: u16, identifier: Option<u32>, wishes: &[Wish]) {
        let may = self.standing.check(Right::Subscribe);
        let feeds = self.door.room.upstream.feeds().clone();
        let way = Way { mapping: &self.door.mapping, feeds: &feeds, mailbox: &self.state.mailbox };
        let mut codes = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let added = match may {
                Ok(()) => self.state.subscriptions.add(wish, identifier, way),
                Err(_) => Err(Code::NOT_AUTHORIZED),
            };
            codes.push(added.unwrap_or_else(|code| {
                self.door.refused(code);
                code
            }));
        }
        self.state.subscriptions.effective().await;
        self.encoder.subscribed(packet, &codes);
    }

    fn unsubscribe(&mut self, packet: u16, filters: &[String]) {
        let remove = |filter: &String| match self.state.subscriptions.remove(filter) {
            true => Code::SUCCESS,
            false => Code::NO_SUBSCRIPTION,
        };
        let codes: Vec<Code> = filters.iter().map(remove).collect();
        self.encoder.unsubscribed(packet, &codes);
    }
}
