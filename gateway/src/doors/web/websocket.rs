//! A WebSocket's session: frames of the client come in, events and answers go out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::frames::{self, Frame, Publish};
use super::resumed::{MISSED, NEWS_MAX, News, Told};
use super::subscriptions::Subscriptions;
use crate::admission::{Refusal, Right, Standing};
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::room::Room;
use crate::upstream::{Delivery, JoinError, Letter, Mailbox, PLACE_BYTES_MAX, Place};

/// The subprotocol that a client asks for; one that asks for none gets it, too.
pub(super) const PROTOCOL: &str = "millrace.v1";
/// Bytes of one message: an event of the largest payload in base64, and its tags.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// Events and subscriptions that wait for an answer; beyond it the client's next frames wait.
const WAITING_MAX: usize = 256;
/// Events that are written at once.
const EVENTS_AT_ONCE: usize = 256;
/// A quiet connection has a ping this often: proxies then keep it open.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A client that takes nothing for this time is given up.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// Bytes of the reason in a close frame (RFC 6455, section 5.5).
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Why a session ends.
enum End {
    /// The client has gone, or takes nothing.
    Gone,
    /// It said that it leaves, and has its answer.
    Left,
    /// What it sent is no WebSocket: a code of RFC 6455, section 7.4.1, and why.
    Wrong(u16, String),
    /// A feed is over: the routers refuse it.
    Feed(Arc<str>),
    /// The client has lost a right.
    Withdrawn(Refusal),
    /// The gateway stops.
    Stopping,
}

/// What the end of a connection is for its client, by the error of the library.
fn wrong(error: axum::Error) -> End {
    let Ok(error) = error.into_inner().downcast::<tungstenite::Error>() else { return End::Gone };
    let code = match &*error {
        tungstenite::Error::Capacity(_) => close_code::SIZE,
        tungstenite::Error::Utf8(_) => close_code::INVALID,
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return End::Gone,
        tungstenite::Error::Protocol(_) => close_code::PROTOCOL,
        _ => return End::Gone,
    };
    let mut why = error.to_string();
    why.truncate(why.floor_char_boundary(CLOSE_REASON_BYTES_MAX));
    End::Wrong(code, why)
}

/// What a client is told that has lost a right.
fn withdrawal(refusal: &Refusal) -> String {
    let mut why = format!("a right was withdrawn: {refusal}");
    why.truncate(why.floor_char_boundary(CLOSE_REASON_BYTES_MAX));
    why
}

/// An answer that comes later.
type Later = BoxFuture<'static, Option<String>>;

struct Session {
    room: Room,
    standing: Standing,
    sink: SplitSink<WebSocket, Message>,
    mailbox: Arc<Mailbox>,
    subscriptions: Subscriptions,
    later: FuturesUnordered<Later>,
    /// What subscriptions tell that go on where the client was.
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
}

/// Serves a WebSocket until either side has enough.
pub(super) async fn serve(socket: WebSocket, room: Room, standing: Standing) {
    let (sink, incoming) = socket.split();
    let mailbox = Mailbox::new(Door::Web, room.counters.clone());
    let counters = room.counters.clone();
    let _open = counters.connected(Door::Web);
    let mut session = Session {
        room,
        standing,
        sink,
        mailbox,
        subscriptions: Subscriptions::default(),
        later: FuturesUnordered::new(),
        news: mpsc::channel(NEWS_MAX),
    };
    let Err(end) = session.run(incoming).await;
    let close = match end {
        End::Gone => return,
        End::Left => {
            // The library's answer is written with the next flush.
            let _ = timeout(WRITE_MAX, session.sink.flush()).await;
            return;
        }
        End::Wrong(code, why) => {
            let is_large = code == close_code::SIZE;
            session.refused(if is_large { Reason::TooLarge } else { Reason::Malformed });
            CloseFrame { code, reason: why.into() }
        }
        End::Feed(why) => CloseFrame { code: close_code::POLICY, reason: (&*why).into() },
        End::Withdrawn(refusal) => {
            session.refused(Reason::Withdrawn);
            CloseFrame { code: close_code::POLICY, reason: withdrawal(&refusal).into() }
        }
        End::Stopping => CloseFrame { code: close_code::AWAY, reason: "the gateway stops".into() },
    };
    // The client may have gone.
    let _ = timeout(WRITE_MAX, session.sink.send(Message::Close(Some(close)))).await;
}

impl Session {
    async fn run(&mut self, mut incoming: SplitStream<WebSocket>) -> Result<std::convert::Infallible, End> {
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let (room, mailbox) = (self.room.clone(), self.mailbox.clone());
        loop {
            let may_read = self.later.len() < WAITING_MAX;
            tokio::select! {
                message = incoming.next(), if may_read => match message {
                    Some(Ok(message)) => self.message(message).await?,
                    Some(Err(error)) => return Err(wrong(error)),
                    None => return Err(End::Gone),
                },
                letters = mailbox.take(EVENTS_AT_ONCE) => {
                    let letters = letters.map_err(End::Feed)?;
                    self.deliver(&letters).await?;
                }
                Some(line) = self.later.next(), if !self.later.is_empty() => {
                    if let Some(line) = line {
                        self.send(line).await?;
                    }
                }
                Some(news) = self.news.1.recv() => self.tell(news).await?,
                refusal = self.standing.withdrawn() => return Err(End::Withdrawn(refusal)),
                _ = ping.tick() => self.write(Message::Ping(axum::body::Bytes::new())).await?,
                () = room.stopped() => return Err(End::Stopping),
            }
        }
    }

    async fn message(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Text(text) => self.lines(&text).await,
            // Some libraries send bytes as a binary message, whatever is in them.
            Message::Binary(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => self.lines(text).await,
                Err(_) => {
                    let problem = Problem::malformed("frames of millrace.v1 are text: use payload_base64");
                    self.refused(Reason::Malformed);
                    self.send(frames::error(None, &problem)).await
                }
            },
            Message::Close(_) => Err(End::Left),
            // The library answers pings.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    /// Does what a message's lines say.
    async fn lines(&mut self, text: &str) -> Result<(), End> {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(answer) = self.line(line) {
                self.send(answer).await?;
            }
        }
        Ok(())
    }

    /// Does what a line says. Returns the answer, if it is known at once.
    fn line(&mut self, line: &str) -> Option<String> {
        match frames::read(line) {
            Ok(Frame::Subscribe { sub, select, cursor }) => self.subscribe(&sub, &select, cursor.as_deref()),
            Ok(Frame::Unsubscribe { sub }) => Some(if self.subscriptions.remove(&sub) {
                frames::about("unsubscribed", &sub)
            } else {
                frames::error(Some(("sub", &sub)), &Problem::malformed("there is no such subscription"))
            }),
            Ok(Frame::Publish(publish)) => self.publish(publish),
            Err(problem) => {
                self.refused(Reason::Malformed);
                Some(frames::error(None, &problem))
            }
        }
    }

    /// Subscribes. Returns the answer, if it is known at once.
    fn subscribe(&mut self, sub: &str, select: &[String], cursor: Option<&str>) -> Option<String> {
        let begun = self.check(Right::Subscribe).and_then(|()| self.begin(sub, select, cursor));
        begun.err().map(|problem| {
            self.refused(Reason::Malformed);
            frames::error(Some(("sub", sub)), &problem)
        })
    }

    /// Begins a subscription: where the client was, if it says that, and what was is kept.
    fn begin(&mut self, sub: &str, select: &[String], cursor: Option<&str>) -> Result<(), Problem> {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
            return self.join(sub, select, false);
        };
        if cursor.len() > PLACE_BYTES_MAX {
            let message = format!("a cursor has at most {PLACE_BYTES_MAX} bytes: send that of an event");
            return Err(Problem::malformed(message));
        }
        let Some(place) = Place::read(cursor) else { return self.join(sub, select, true) };
        self.subscriptions.check(sub)?;
        match self.room.upstream.feeds().follow(select, place) {
            Ok(following) => {
                self.subscriptions.resume(sub, select, following, self.news.0.clone());
                Ok(())
            }
            Err(JoinError::Busy) => {
                self.refused(Reason::Busy);
                self.join(sub, select, true)
            }
            Err(error) => Err(Problem::malformed(error)),
        }
    }

    /// Subscribes to what is new.
    fn join(&mut self, sub: &str, select: &[String], is_gap_first: bool) -> Result<(), Problem> {
        let (number, membership) = self.subscriptions.add(sub, select, &self.room, &self.mailbox)?;
        if is_gap_first {
            let delivery = Delivery::Gap(MISSED);
            self.mailbox.push(Letter { subscription: number, delivery, receipt: None });
        }
        let sub = sub.to_owned();
        let effective = async move {
            // A feed that ends closes the mailbox, which ends the session.
            membership.effective().await.ok().map(|()| frames::about("subscribed", &sub))
        };
        self.later.push(effective.boxed());
        Ok(())
    }

    /// Passes on what a subscription tells that goes on where the client was.
    async fn tell(&mut self, News { subscription, told }: News) -> Result<(), End> {
        // It may have ended meanwhile.
        let Some(sub) = self.subscriptions.name(subscription).map(str::to_owned) else { return Ok(()) };
        match told {
            Told::Lines { text, events } => self.send_lines(text, events).await,
            Told::NoRoom { select } => {
                self.refused(Reason::Busy);
                self.subscriptions.remove(&sub);
                match self.join(&sub, &select, true) {
                    Ok(()) => Ok(()),
                    Err(problem) => self.send(frames::error(Some(("sub", &sub)), &problem)).await,
                }
            }
            Told::Ended(why) => Err(End::Feed(why.into())),
        }
    }

    fn publish(&mut self, publish: Publish) -> Option<String> {
        let reference = publish.reference.clone();
        let name = |reference: &Option<String>| reference.clone().map(|value| ("ref", value));
        let begun = self.check(Right::Publish).and_then(|()| {
            let (event, level) = publish.event(self.standing.tags())?;
            Ok(self.room.upstream.publish(Door::Web, level, &[event])?)
        });
        match begun {
            Ok(underway) => {
                let reference = reference?;
                let answer = async move {
                    let published = underway.published().await;
                    published.first().map(|published| frames::published(&reference, published))
                };
                self.later.push(answer.boxed());
                None
            }
            Err(problem) => {
                self.refused(match problem.name() {
                    "busy" => Reason::Busy,
                    "no_router" => Reason::NoRouter,
                    "forbidden" => Reason::Forbidden,
                    _ => Reason::Malformed,
                });
                let name = name(&reference);
                Some(frames::error(name.as_ref().map(|(name, value)| (*name, value.as_str())), &problem))
            }
        }
    }

    fn check(&self, right: Right) -> Result<(), Problem> {
        let checked = self.standing.check(right);
        checked.map_err(|refusal| Problem::new(StatusCode::FORBIDDEN, "forbidden", refusal))
    }

    fn refused(&self, reason: Reason) {
        self.room.counters.refused(Door::Web, reason);
    }

    async fn deliver(&mut self, letters: &[Letter]) -> Result<(), End> {
        let mut lines = Vec::with_capacity(letters.len() * 256);
        let mut events = 0;
        for letter in letters {
            // Events of a subscription that has ended may still be on their way.
            let Some(sub) = self.subscriptions.name(letter.subscription) else { continue };
            match &letter.delivery {
                Delivery::Event(arrival) => {
                    frames::event(&mut lines, sub, arrival);
                    events += 1;
                }
                Delivery::Gap(gap) => frames::gap(&mut lines, sub, gap),
            }
        }
        self.send_lines(lines, events).await
    }

    /// Sends lines that have so many events.
    async fn send_lines(&mut self, lines: Vec<u8>, events: u64) -> Result<(), End> {
        if lines.is_empty() {
            return Ok(());
        }
        // Everything in it is JSON, which is text.
        self.send(String::from_utf8(lines).unwrap_or_default()).await?;
        self.room.counters.delivered(Door::Web, events);
        Ok(())
    }

    async fn send(&mut self, lines: String) -> Result<(), End> {
        self.write(Message::Text(lines.into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_MAX, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}
