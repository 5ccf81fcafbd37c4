//! One client of the door.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use millrace_client::{EventId, Outcome, TagSet};
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, interval_at, sleep_until, timeout, timeout_at};

use super::envelope::{self, is_header_block};
use super::greeting::Connect;
use super::parser::{Command, Message, ParseError, Parser};
use super::subscriptions::Subscriptions;
use super::writer::Writer;
use crate::admission::{Access, HEAD_MAX, Peer, Right, Socket, Standing, withdrawn};
use crate::counters::{Door, Reason};
use crate::doors::naming::{Dialect, Mapping, RecentNames, RecentTags};
use crate::room::Room;
use crate::upstream::{Delivery, Letter, Level, Mailbox, NewEvent, Underway};

/// Bytes that one read takes.
const READ_BYTES: usize = 32 * 1024;
/// Requests whose receivers are not known yet; beyond it the client's next commands wait.
const REQUESTS_MAX: usize = 4096;
/// Events that are written at once.
const EVENTS_AT_ONCE: usize = 512;
/// `PING` is answered after this time: nats-py sends it before what it has queued when a program
/// flushes, and the program takes the answer for "all of it is done".
const ANSWER_AFTER: Duration = Duration::from_millis(2);
/// Questions that wait for their answer; beyond it the client's next commands wait.
const QUESTIONS_MAX: usize = 4096;
/// Messages behind a request that go its way, while its receivers are not known, at most: beyond,
/// the next one waits until they are,
const BEHIND_MAX: u32 = 256;
/// and no longer than this, as a request waits for what was published before it. Both take a round
/// trip; where no router answers, there is no order to keep.
const IN_ORDER_WITHIN: Duration = Duration::from_secs(5);
/// A quiet client is asked this often whether it is there.
const PING_EVERY: Duration = Duration::from_secs(60);
/// Questions that it may leave unanswered.
const PINGS_MAX: u32 = 2;
/// A client that wants no echo: its last events, by which their copies are known.
const OWN_MAX: usize = 8192;
/// What requests to JetStream's API begin with.
const JETSTREAM: &str = "$JS.API.";
/// What they are answered.
const NO_JETSTREAM: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.error","error":{"code":503,"err_code":10076,"description":"JetStream is not available here"}}"#;

/// Why a session ends.
enum End {
    Gone,
    /// The client is told.
    Told(&'static str),
    Parse(ParseError),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A `PING` of the client.
struct Question {
    answer_at: Instant,
    /// Subscriptions that the client had ended before have ended by then.
    behind: Option<Instant>,
}

/// Waits until then; for ever if there is no such time.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// A request that nobody takes: its subject and its reply subject.
type Unheard = Option<(String, String)>;

/// One client.
pub(super) struct Session {
    pub(super) room: Room,
    pub(super) mapping: Arc<Mapping>,
    pub(super) access: Access,
    pub(super) peer: Peer,
    connect: Connect,
    standing: Option<Standing>,
    recent_tags: RecentTags,
    recent_names: RecentNames,
    writer: Writer,
    to: WriteHalf<Socket>,
    mailbox: Arc<Mailbox>,
    subscriptions: Subscriptions,
    /// Events whose receivers are not known yet: requests, and messages behind them.
    requests: FuturesUnordered<BoxFuture<'static, Unheard>>,
    /// Messages that went the way of requests since a message found that empty.
    behind: u32,
    /// Messages went their own way, and may not have reached a router.
    has_streamed: bool,
    own: VecDeque<EventId>,
    pings: u32,
    /// Questions of the client that wait for their answer.
    questions: VecDeque<Question>,
}

impl Session {
    pub(super) fn new(
        room: Room,
        mapping: Arc<Mapping>,
        access: Access,
        peer: Peer,
        to: WriteHalf<Socket>,
    ) -> Self {
        let mailbox = Mailbox::new(Door::Nats, room.counters.clone());
        let mut session = Self {
            room,
            mapping,
            access,
            peer,
            connect: Connect::default(),
            standing: None,
            recent_tags: RecentTags::default(),
            recent_names: RecentNames::default(),
            writer: Writer::default(),
            to,
            mailbox,
            subscriptions: Subscriptions::default(),
            requests: FuturesUnordered::new(),
            behind: 0,
            has_streamed: false,
            own: VecDeque::new(),
            pings: 0,
            questions: VecDeque::new(),
        };
        // Where the connection proves the identity, nobody has to introduce itself.
        session.standing = session.access.stand(&session.peer, None).ok();
        session
    }

    /// Serves the client until either side has enough.
    pub(super) async fn serve(mut self, mut from: ReadHalf<Socket>) {
        let Err(end) = self.run(&mut from).await;
        match end {
            End::Gone => return,
            End::Told(why) => self.writer.error(why),
            End::Parse(error) => {
                let reason = match error {
                    ParseError::Operation => Reason::Malformed,
                    ParseError::Unauthorized => Reason::Unauthenticated,
                    ParseError::Line | ParseError::Payload => Reason::TooLarge,
                };
                self.refused(reason);
                self.writer.error(error);
            }
        }
        // It may have gone.
        let _ = self.writer.flush(&mut self.to).await;
    }

    async fn run(&mut self, from: &mut ReadHalf<Socket>) -> Result<std::convert::Infallible, End> {
        let (room, mailbox) = (self.room.clone(), self.mailbox.clone());
        let admitted_until = Instant::now() + HEAD_MAX;
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut parser = Parser::default();
        loop {
            if self.standing.is_some() {
                parser.admit();
            }
            let may_read = self.requests.len() < REQUESTS_MAX && self.questions.len() < QUESTIONS_MAX;
            let ends_at = self.subscriptions.next_end();
            let asked = self.questions.front().filter(|asked| !self.subscriptions.is_ending_by(asked.behind));
            let answer_at = asked.map(|asked| asked.answer_at);
            let bytes = parser.room().min(READ_BYTES);
            parser.buffer().reserve(bytes);
            let mut from = (&mut *from).take(bytes as u64);
            tokio::select! {
                read = from.read_buf(parser.buffer()), if may_read => {
                    if read? == 0 {
                        return Err(End::Gone);
                    }
                    self.read(&mut parser).await?;
                }
                letters = mailbox.take(EVENTS_AT_ONCE) => {
                    let letters = letters.map_err(|_| End::Told("Permissions Violation"))?;
                    self.deliver(&letters);
                }
                Some(unheard) = self.requests.next(), if !self.requests.is_empty() => {
                    self.no_responders(unheard);
                }
                () = until(ends_at) => self.subscriptions.end_due(),
                () = until(answer_at) => {
                    self.subscriptions.effective().await;
                    self.questions.pop_front();
                    self.writer.line("PONG");
                }
                _ = ping.tick() => {
                    if self.pings == PINGS_MAX {
                        return Err(End::Told("Stale Connection"));
                    }
                    self.pings += 1;
                    self.writer.line("PING");
                }
                () = sleep_until(admitted_until), if self.standing.is_none() => {
                    self.refused(Reason::Slow);
                    return Err(End::Told("Authentication Timeout"));
                }
                refusal = withdrawn(self.standing.as_mut()) => {
                    tracing::info!(ip = %self.peer.ip, %refusal, "a NATS client has lost a right");
                    self.refused(Reason::Withdrawn);
                    return Err(End::Told("User Authentication Revoked"));
                }
                () = room.stopped() => return Err(End::Told("Server Shutdown")),
            }
            self.writer.flush(&mut self.to).await?;
        }
    }

    fn refused(&self, reason: Reason) {
        self.room.counters.refused(Door::Nats, reason);
    }

    /// Does what has arrived.
    async fn read(&mut self, parser: &mut Parser) -> Result<(), End> {
        let now = SystemTime::now();
        while let Some(command) = parser.command().map_err(End::Parse)? {
            self.command(command, now).await?;
            if self.standing.is_some() {
                parser.admit();
            }
        }
        Ok(())
    }

    async fn command(&mut self, command: Command<'_>, now: SystemTime) -> Result<(), End> {
        if let Command::Connect(json) = command {
            return self.connect(json);
        }
        let Some(admitted) = self.standing.as_deref() else {
            self.refused(Reason::Unauthenticated);
            return Err(End::Told("Authorization Violation"));
        };
        match command {
            Command::Connect(_) => {}
            Command::Ping => {
                let (answer_at, behind) = (Instant::now() + ANSWER_AFTER, self.subscriptions.last_end());
                self.questions.push_back(Question { answer_at, behind });
                return Ok(());
            }
            Command::Pong => {
                self.pings = 0;
                return Ok(());
            }
            Command::Publish(message) => {
                if admitted.check(Right::Publish).is_err() {
                    self.refused(Reason::Forbidden);
                    self.writer
                        .error(format_args!("Permissions Violation for Publish to \"{}\"", message.subject));
                    return Ok(());
                }
                self.subscriptions.effective().await;
                self.publish(message, now).await;
            }
            Command::Subscribe { subject, queue, sid } => {
                if admitted.check(Right::Subscribe).is_err() {
                    self.refused(Reason::Forbidden);
                    self.writer
                        .error(format_args!("Permissions Violation for Subscription to \"{subject}\""));
                    return Ok(());
                }
                let (wish, feeds) = ((subject, queue, sid), self.room.upstream.feeds());
                if let Err(refused) = self.subscriptions.add(wish, &self.mapping, feeds, &self.mailbox) {
                    self.refused(Reason::Malformed);
                    self.writer.error(refused);
                    return Ok(());
                }
            }
            Command::Unsubscribe { sid, max } => self.subscriptions.remove(sid, max),
        }
        if self.connect.verbose {
            self.writer.line("+OK");
        }
        Ok(())
    }

    fn connect(&mut self, json: &[u8]) -> Result<(), End> {
        let connect = Connect::read(json).ok_or(End::Parse(ParseError::Operation))?;
        match self.access.stand(&self.peer, connect.token()) {
            Ok(standing) => self.standing = Some(standing),
            Err(refusal) => {
                tracing::debug!(ip = %self.peer.ip, %refusal, "a NATS client is refused");
                self.refused(Reason::Unauthenticated);
                return Err(End::Told("Authorization Violation"));
            }
        }
        if connect.verbose {
            self.writer.line("+OK");
        }
        self.connect = connect;
        Ok(())
    }

    async fn publish(&mut self, message: Message<'_>, now: SystemTime) {
        let Message { subject, reply, headers, payload } = message;
        let Some(tags) = self.tags(subject) else {
            self.refused(Reason::Malformed);
            return self.writer.error("Invalid Publish Subject");
        };
        let is_right =
            reply.is_none_or(|reply| Dialect::Nats.is_name(reply)) && headers.is_none_or(is_header_block);
        if !is_right {
            self.refused(Reason::Malformed);
            return self.writer.error("Invalid Publish Subject");
        }
        if let Some(reply) = reply.filter(|_| subject.starts_with(JETSTREAM)) {
            return self.answer(reply, None, NO_JETSTREAM);
        }
        let sealed = envelope::seal(reply, headers, payload);
        if sealed.len() > millrace_proto::limits::PAYLOAD_BYTES_MAX {
            self.refused(Reason::TooLarge);
            return self.writer.error("Maximum Payload Violation");
        }
        let asks = reply.filter(|_| self.connect.no_responders && self.connect.headers);
        let goes_with_requests = if asks.is_some() {
            self.after_messages().await;
            true
        } else {
            !self.requests.is_empty() && self.follows_requests().await
        };
        if goes_with_requests
            && let Ok(event) = NewEvent::new(tags.clone(), now, sealed.to_vec().into())
            && let Ok(underway) =
                self.room.upstream.publish(Door::Nats, Level::Routed, std::slice::from_ref(&event))
        {
            underway.ids().iter().for_each(|id| self.remember(*id));
            let asked = asks.map(|reply| (subject.to_owned(), reply.to_owned()));
            self.requests.push(unheard(underway, asked).boxed());
            return;
        }
        self.has_streamed = true;
        match self.room.upstream.stream_parts(Door::Nats, &tags, now, &sealed).await {
            Ok(id) => self.remember(id),
            Err(unavailable) => self.room.counters.dropped(Door::Nats, unavailable.into(), 1),
        }
    }

    /// Waits until a router has the messages before a request, which goes another way: each way has
    /// an order of its own.
    async fn after_messages(&mut self) {
        if std::mem::take(&mut self.has_streamed) {
            // What takes longer comes later, or is lost with its router.
            let _ = timeout(IN_ORDER_WITHIN, self.room.upstream.streamed()).await;
        }
    }

    /// Whether a message is to go the way of the requests before it, because it could pass them on
    /// its own.
    async fn follows_requests(&mut self) -> bool {
        while let Some(Some(unheard)) = self.requests.next().now_or_never() {
            self.no_responders(unheard);
        }
        if self.behind == BEHIND_MAX {
            let until = Instant::now() + IN_ORDER_WITHIN;
            while let Ok(Some(unheard)) = timeout_at(until, self.requests.next()).await {
                self.no_responders(unheard);
            }
        }
        if self.requests.is_empty() {
            self.behind = 0;
            return false;
        }
        // Nobody waits twice for the same requests.
        self.behind = (self.behind + 1).min(BEHIND_MAX + 1);
        self.behind <= BEHIND_MAX
    }

    /// The tags of a subject that the client publishes on; `None` if it may have none.
    fn tags(&mut self, subject: &str) -> Option<TagSet> {
        let admitted = self.standing.as_deref()?;
        let make = || {
            let tags = self.mapping.tags(subject, &[], admitted.tags()).map_err(drop)?;
            let is_right = Dialect::Nats.is_name(subject) && tags.borrow().reserved_key().is_none();
            is_right.then_some(tags).ok_or(())
        };
        self.recent_tags.of(subject, admitted, make).ok()
    }

    /// Notes an event of the client, which one that wants no echo does not get.
    fn remember(&mut self, id: EventId) {
        self.subscriptions.published(id);
        if self.connect.echo {
            return;
        }
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(id);
    }

    /// Answers this client itself, at the subscription that waits for it.
    fn answer(&mut self, reply: &str, headers: Option<&[u8]>, payload: &[u8]) {
        let number = self.subscriptions.waiting_for(reply);
        let sid = number.and_then(|number| self.subscriptions.deliver(number, reply, None));
        if let Some(sid) = sid {
            self.writer.message(reply, &sid, None, headers, payload);
        }
    }

    /// Tells who has asked that nobody takes it, if so.
    fn no_responders(&mut self, unheard: Unheard) {
        let Some((subject, reply)) = unheard else { return };
        let headers = format!("NATS/1.0 503\r\nNats-Subject: {subject}\r\n\r\n");
        self.answer(&reply, Some(headers.as_bytes()), b"");
    }

    fn deliver(&mut self, letters: &[Letter]) {
        let (mut delivered, mut unmapped) = (0, 0);
        for letter in letters {
            // A core client hears of no gaps; the mailbox has counted what was dropped.
            let Delivery::Event(arrival) = &letter.delivery else { continue };
            let Some(subject) = self.recent_names.of(&arrival.tags, &self.mapping) else {
                unmapped += 1;
                continue;
            };
            if !self.connect.echo && self.own.contains(&arrival.id) {
                continue;
            }
            let sid = self.subscriptions.deliver(letter.subscription, subject, Some(arrival.id));
            let Some(sid) = sid else { continue };
            let opened = envelope::open(&arrival.payload);
            let headers = opened.headers.filter(|_| self.connect.headers);
            self.writer.message(subject, &sid, opened.reply, headers.as_deref(), opened.payload);
            delivered += 1;
        }
        self.room.counters.delivered(Door::Nats, delivered);
        self.room.counters.dropped(Door::Nats, Reason::Unmapped, unmapped);
    }
}

/// Waits for what becomes of an event; a request is `asked` for, and given back if it has no
/// receiver.
async fn unheard(underway: Underway, asked: Unheard) -> Unheard {
    let published = underway.published().await;
    let outcome = published.into_iter().next()?.outcome?;
    if matches!(outcome, Outcome::Confirmed { receivers: 0 }) { asked } else { None }
}
