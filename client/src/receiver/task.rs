//! The task that reads a receiver's stream, and moves it from router to router.

use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::control::{Refused, RefusedReason};
use millrace_proto::{CloseCode, SubscriptionNumber};
use quinn::RecvStream;

use super::batch::BatchBuilder;
use super::{RECEIVER, ReceiverRefused, Shared, State, SubscriptionState};
use crate::attaching::Attaching;
use crate::connector::{Connected, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::{
    ConnectionEvent, PreambleReader, ReceiverConfig, ReceiverSession, SessionError, StreamFor,
};
use crate::time::Time;

/// Chunks of the stream taken at once: each is at most one packet's worth.
const CHUNKS: usize = 64;

/// One receiver's task.
pub(super) struct Task {
    pub(super) attaching: Attaching,
    pub(super) shared: Arc<Shared>,
    pub(super) window_bytes: u64,
    /// Some router has opened this receiver before.
    pub(super) was_open: bool,
}

/// How a connection ended.
enum End {
    /// The receiver is closed.
    Closed,
    /// The router went away, and another one has welcomed this receiver.
    Moved(Box<Connected>),
    Lost(Disconnect),
    /// The router refused the receiver, as others would.
    Refused(Refused),
}

/// The stream of the present connection.
struct Incoming {
    session: ReceiverSession,
    preamble: Option<PreambleReader>,
    stream: Option<RecvStream>,
    batch: BatchBuilder,
}

impl Task {
    pub(super) async fn run(mut self, mut link: Link) {
        loop {
            let end = self.drive(&mut link).await;
            close_done(&link);
            let next = match end {
                End::Closed => break,
                End::Moved(connected) => Some(connected),
                End::Lost(reason) => {
                    self.attaching.lost(&reason);
                    None
                }
                End::Refused(refused) => {
                    self.shared.lock().receiver_refused(&refused);
                    break;
                }
            };
            self.lost();
            let connected = match next {
                Some(connected) => connected,
                None => match self.reconnect().await {
                    Some(connected) => connected,
                    None => break,
                },
            };
            link = connected.0;
        }
        let waker = self.shared.lock().inbox.end();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tries until a router welcomes this receiver; `None` when it was closed.
    async fn reconnect(&mut self) -> Option<Box<Connected>> {
        let closed = async {
            while !self.shared.lock().closed {
                self.shared.work.notified().await;
            }
        };
        tokio::select! {
            // A receiver that was attached before goes on until it finds a router.
            connected = self.attaching.attach(None) => connected.ok(),
            () = closed => None,
        }
    }

    /// Marks in the receiver's stream that events may be missing, if any were asked for.
    fn lost(&self) {
        let mut state = self.shared.lock();
        state.plan.on_lost();
        state.show_progress();
        let waker = if state.watches.is_empty() { None } else { state.inbox.session_lost() };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn drive(&mut self, link: &mut Link) -> End {
        let config = ReceiverConfig {
            receiver: RECEIVER,
            window_bytes: self.window_bytes,
            tables: link.session.tables(),
        };
        let mut incoming = Incoming {
            session: ReceiverSession::new(config),
            preamble: Some(PreambleReader::new()),
            stream: None,
            batch: BatchBuilder::default(),
        };
        link.session.set_attentive(link.clock.now(), true);
        {
            let mut state = self.shared.lock();
            state.inbox.begin_connection();
            state.ended.clear();
            state.added.clear();
            state.plan.replay(&mut link.session, incoming.session.first_grant());
        }
        let connection = link.connection.clone();
        let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
        let mut is_leaving = false;
        loop {
            let (deadline, has_room) = match self.turn(link, &mut incoming, &mut is_leaving) {
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
                match is_leaving {
                    true => self.attaching.attach(None).await,
                    false => std::future::pending().await,
                }
            };
            let arrived: Result<Arrived, Disconnect> = tokio::select! {
                turned = link.turn(deadline) => match turned {
                    Ok(()) => continue,
                    Err(reason) => return End::Lost(reason),
                },
                arrived = arrives, if has_room => arrived,
                moved = moved => match moved {
                    Ok(connected) => return End::Moved(connected),
                    Err(_) => return End::Lost(Disconnect::WentAway),
                },
                () = self.shared.work.notified() => continue,
            };
            let fed = match arrived {
                Ok(Arrived::Stream(stream)) => {
                    incoming.stream = Some(stream);
                    Ok(())
                }
                Ok(Arrived::Chunks(Some(count))) => self.feed(link, &mut incoming, &mut chunks[..count]),
                Ok(Arrived::Chunks(None)) => {
                    return End::Lost(Disconnect::Ended("it finished the receiver's stream".to_owned()));
                }
                Err(reason) => return End::Lost(reason),
            };
            if let Err(error) = fed {
                link.close(error.close_code(), &error.to_string());
                return End::Lost(error.into());
            }
        }
    }

    /// Passes chunks of the stream to the application, as one batch.
    fn feed(
        &mut self,
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
                if receiver != StreamFor::Receiver(RECEIVER) {
                    return Err(SessionError::Unexpected {
                        frame: "the stream of a receiver that is not open",
                    });
                }
                incoming.preamble = None;
                self.was_open = true;
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
        is_leaving: &mut bool,
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
                ConnectionEvent::Refused(refused) => match refused.subscription {
                    Some(number) => state.subscription_refused(number, refused),
                    // For now: places become free, here and elsewhere.
                    None if self.was_open && refused.reason == RefusedReason::Limit => {
                        let reason = format!("{}: {}", refused.reason.name(), refused.message);
                        return Err(End::Lost(Disconnect::Ended(reason)));
                    }
                    None => return Err(End::Refused(refused)),
                },
                ConnectionEvent::ReceiverClosed(closed) => {
                    link.close(CloseCode::Done, "");
                    return Err(End::Lost(Disconnect::Ended(format!(
                        "the receiver is closed: {}",
                        closed.reason
                    ))));
                }
                ConnectionEvent::Goaway(goaway) => self.attaching.goaway(&goaway),
                ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
                ConnectionEvent::Welcomed(_)
                | ConnectionEvent::Credit { .. }
                | ConnectionEvent::Received { .. } => {}
            }
        }
        state.tell_changes(link);
        incoming.session.consumed(state.inbox.take_taken());
        if let Some(bytes) = incoming.session.poll_grant() {
            link.session.grant(RECEIVER, bytes);
        }
        let has_room = state.inbox.bytes() < 2 * self.window_bytes;
        *is_leaving |= self.attaching.poll_leave(now).is_some();
        Ok((self.attaching.poll_timeout(), has_room))
    }
}

impl State {
    /// Tells the router which subscriptions have ended and which are new.
    fn tell_changes(&mut self, link: &mut Link) {
        while let Some(number) = self.ended.pop_first() {
            link.session.unsubscribe(RECEIVER, number);
        }
        while let Some(number) = self.added.pop_first() {
            if let Some(selectors) = self.plan.selectors(RECEIVER, number) {
                link.session.subscribe(RECEIVER, number, selectors);
            }
        }
    }

    /// The router refused a subscription, which is then not asked for any more. Numbers that no subscription has mean
    /// nothing.
    fn subscription_refused(&mut self, number: u64, refused: Refused) {
        let Some(number) = u32::try_from(number).ok().map(SubscriptionNumber) else { return };
        let Some(name) = self.plan.name_of(RECEIVER, number) else { return };
        let others = self.plan.parts(RECEIVER, name).filter(|&part| part != number);
        self.ended.extend(others);
        self.plan.unsubscribe(RECEIVER, name);
        if let Some(watch) = self.watches.remove(&name) {
            watch.send_replace(SubscriptionState::Refused(refused));
        }
    }

    /// The router refused the receiver: all who wait for a subscription hear it, and later ones are told at once.
    fn receiver_refused(&mut self, refused: &Refused) {
        let Refused { reason, message, .. } = refused;
        self.refused = Some(ReceiverRefused { reason: *reason, message: message.clone() });
        for watch in std::mem::take(&mut self.watches).into_values() {
            watch.send_replace(SubscriptionState::Refused(refused.clone()));
        }
    }
}

enum Arrived {
    Stream(RecvStream),
    /// That many chunks; `None` at the end of the stream.
    Chunks(Option<usize>),
}
