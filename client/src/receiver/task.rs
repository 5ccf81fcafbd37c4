//! The task that reads a receiver's stream, and moves it from router to router.

use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::control::{Refused, Welcome};
use millrace_proto::data::{Gap, GapReason};
use millrace_proto::{CloseCode, Incarnation};
use quinn::RecvStream;
use tokio::task::JoinSet;

use super::batch::{Batch, BatchBuilder};
use super::{RECEIVER, Shared, State, SubscriptionState};
use crate::backoff::Backoff;
use crate::client::{Client, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::{ConnectionEvent, PreambleReader, ReceiverConfig, ReceiverSession, SessionError};
use crate::targets::Targets;
use crate::time::{SECOND_NS, Time};

/// Chunks of the stream taken at once: each is at most one packet's worth.
const CHUNKS: usize = 64;
/// A connection that lived this long was good: pauses before the next one start small.
const STEADY_NS: u64 = SECOND_NS;

/// One receiver's task.
pub(super) struct Task {
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) targets: Targets,
    pub(super) window_bytes: u64,
}

type Connected = (Link, Box<Welcome>);

/// How a connection ended.
enum End {
    /// The receiver is closed.
    Closed,
    /// The router went away, and another one has welcomed this receiver.
    Moved(Box<Connected>),
    Lost,
}

/// A router has asked to leave.
enum Leaving {
    /// Not before this moment.
    At(Time),
    /// Connecting elsewhere.
    Now(JoinSet<Connected>),
}

/// The stream of the present connection.
struct Incoming {
    /// The router's process life.
    incarnation: Incarnation,
    session: ReceiverSession,
    preamble: Option<PreambleReader>,
    stream: Option<RecvStream>,
    batch: BatchBuilder,
}

impl Task {
    pub(super) async fn run(mut self, link: Link, welcome: Box<Welcome>) {
        let mut backoff = Backoff::new(self.client.config().backoff_max);
        let mut next = Some((link, welcome));
        loop {
            let (mut link, welcome) = match next.take() {
                Some(connected) => connected,
                None => {
                    let attempts = connect_again(self.client.clone(), &self.targets, &mut backoff);
                    tokio::select! {
                        connected = attempts => connected,
                        () = self.closed() => break,
                    }
                }
            };
            self.targets.welcomed(&welcome.alternates);
            let began = link.clock.now();
            let end = self.drive(&mut link, welcome.incarnation).await;
            if link.clock.now().since(began) > STEADY_NS {
                backoff.reset();
            }
            close_done(&link);
            match end {
                End::Closed => break,
                End::Moved(connected) => next = Some(*connected),
                End::Lost => {}
            }
            self.lost();
        }
        let waker = self.shared.lock().inbox.end();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn closed(&self) {
        while !self.shared.lock().closed {
            self.shared.work.notified().await;
        }
    }

    /// Marks in the receiver's stream that events may be missing, if any were asked for.
    fn lost(&self) {
        let mut state = self.shared.lock();
        state.plan.on_lost();
        state.show_progress();
        let waker = if state.watches.is_empty() {
            None
        } else {
            let gap = Gap { reason: GapReason::SessionLost, ..Gap::default() };
            let connection = state.inbox.connection();
            state.inbox.push(Batch::of_gap(gap, connection))
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn drive(&mut self, link: &mut Link, incarnation: Incarnation) -> End {
        let config = ReceiverConfig { window_bytes: self.window_bytes, tables: link.session.tables() };
        let mut incoming = Incoming {
            incarnation,
            session: ReceiverSession::new(config),
            preamble: Some(PreambleReader::new()),
            stream: None,
            batch: BatchBuilder::default(),
        };
        link.session.set_attentive(link.clock.now(), true);
        {
            let mut state = self.shared.lock();
            state.inbox.begin_connection();
            state.changed.clear();
            state.plan.replay(&mut link.session, incoming.session.first_grant());
        }
        let connection = link.connection.clone();
        let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
        let mut leaving = None;
        loop {
            let (deadline, has_room) = match self.turn(link, &mut incoming, &mut leaving) {
                Ok(turn) => turn,
                Err(end) => return end,
            };
            let arrives = async {
                match &mut incoming.stream {
                    Some(stream) => Ok(Arrived::Chunks(stream.read_chunks(&mut chunks).await?)),
                    None => Ok(Arrived::Stream(connection.accept_uni().await?)),
                }
            };
            let moved = async {
                match &mut leaving {
                    Some(Leaving::Now(attempts)) => attempts.join_next().await,
                    _ => std::future::pending().await,
                }
            };
            let arrived: Result<Arrived, Disconnect> = tokio::select! {
                turned = link.turn(deadline) => match turned {
                    Ok(()) => continue,
                    Err(_) => return End::Lost,
                },
                arrived = arrives, if has_room => arrived,
                moved = moved => match moved {
                    Some(Ok(connected)) => return End::Moved(Box::new(connected)),
                    _ => return End::Lost,
                },
                () = self.shared.work.notified() => continue,
            };
            let fed = match arrived {
                Ok(Arrived::Stream(stream)) => {
                    incoming.stream = Some(stream);
                    Ok(())
                }
                Ok(Arrived::Chunks(Some(count))) => self.feed(link, &mut incoming, &mut chunks[..count]),
                Ok(Arrived::Chunks(None)) | Err(_) => return End::Lost,
            };
            if let Err(error) = fed {
                link.close(error.close_code(), &error.to_string());
                return End::Lost;
            }
        }
    }

    /// Passes chunks of the stream to the application, as one batch.
    fn feed(
        &self,
        link: &mut Link,
        incoming: &mut Incoming,
        chunks: &mut [Bytes],
    ) -> Result<(), SessionError> {
        link.session.heard(link.clock.now());
        let mut bytes = 0;
        for chunk in chunks {
            let mut chunk = std::mem::take(chunk);
            if let Some(preamble) = &mut incoming.preamble {
                let Some((receiver, taken)) = preamble.feed(&chunk)? else { continue };
                if receiver != RECEIVER {
                    return Err(SessionError::Unexpected {
                        frame: "the stream of a receiver that is not open",
                    });
                }
                incoming.preamble = None;
                chunk = chunk.slice(taken..);
            }
            bytes += chunk.len() as u64;
            incoming.session.data(&chunk, &mut incoming.batch)?;
        }
        let mut state = self.shared.lock();
        let connection = state.inbox.connection();
        let waker = match incoming.batch.take(bytes, connection) {
            Some(batch) => state.inbox.push(batch),
            None => {
                // Part of a frame: it waits here, not with the application.
                incoming.session.consumed(bytes);
                None
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Passes what happened on the control stream on, and tells the router what the application wants. Returns the next
    /// deadline, and whether more may be read.
    fn turn(
        &mut self,
        link: &mut Link,
        incoming: &mut Incoming,
        leaving: &mut Option<Leaving>,
    ) -> Result<(Option<Time>, bool), End> {
        let now = link.clock.now();
        let mut state = self.shared.lock();
        let state = &mut *state;
        if state.closed {
            return Err(End::Closed);
        }
        while let Some(event) = link.session.poll_event() {
            match event {
                ConnectionEvent::Subscribed(subscribed) => {
                    state.plan.on_subscribed(&subscribed);
                    state.show_progress();
                }
                ConnectionEvent::Refused(refused) => state.refused(refused)?,
                ConnectionEvent::ReceiverClosed(_) => {
                    link.close(CloseCode::Done, "");
                    return Err(End::Lost);
                }
                ConnectionEvent::Goaway(goaway) => {
                    self.targets.moving(incoming.incarnation, &goaway.alternates);
                    if leaving.is_none() {
                        *leaving = Some(Leaving::At(now.after(goaway.delay_us.saturating_mul(1000))));
                    }
                }
                ConnectionEvent::Dead { silent_ns } => {
                    link.dead(silent_ns);
                    return Err(End::Lost);
                }
                ConnectionEvent::Welcomed(_)
                | ConnectionEvent::Credit { .. }
                | ConnectionEvent::Received { .. } => {}
            }
        }
        while let Some(number) = state.changed.pop_first() {
            match state.plan.selectors(RECEIVER, number) {
                Some(selectors) => link.session.subscribe(RECEIVER, number, selectors),
                None => link.session.unsubscribe(RECEIVER, number),
            }
        }
        incoming.session.consumed(state.inbox.take_taken());
        if let Some(bytes) = incoming.session.poll_grant() {
            link.session.grant(RECEIVER, bytes);
        }
        let has_room = state.inbox.bytes() < 2 * self.window_bytes;
        let deadline = match leaving {
            Some(Leaving::At(at)) if now >= *at => {
                let mut attempts = JoinSet::new();
                let (client, targets) = (self.client.clone(), self.targets.clone());
                attempts.spawn(async move {
                    let mut backoff = Backoff::new(client.config().backoff_max);
                    connect_again(client, &targets, &mut backoff).await
                });
                *leaving = Some(Leaving::Now(attempts));
                None
            }
            Some(Leaving::At(at)) => Some(*at),
            Some(Leaving::Now(_)) | None => None,
        };
        Ok((deadline, has_room))
    }
}

impl State {
    /// The router refused something: a subscription, which is then no longer asked for, or the receiver itself.
    fn refused(&mut self, refused: Refused) -> Result<(), End> {
        let number = refused.subscription.and_then(|number| u32::try_from(number).ok());
        let Some(number) = number.map(millrace_proto::SubscriptionNumber) else { return Err(End::Lost) };
        self.plan.unsubscribe(RECEIVER, number);
        if let Some(watch) = self.watches.remove(&number) {
            watch.send_replace(SubscriptionState::Refused(refused));
        }
        Ok(())
    }
}

enum Arrived {
    Stream(RecvStream),
    /// That many chunks; `None` at the end of the stream.
    Chunks(Option<usize>),
}

/// Tries until a router welcomes this receiver.
async fn connect_again(client: Client, targets: &Targets, backoff: &mut Backoff) -> Connected {
    loop {
        tokio::time::sleep(backoff.next()).await;
        if let Ok(connected) = client.connect(targets, None, 1).await {
            return connected;
        }
    }
}
