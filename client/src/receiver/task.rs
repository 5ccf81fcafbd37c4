//! The task of one connection: reads the streams of its receivers, and moves them from router to router.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::{OverflowPolicy, Refused, RefusedReason};
use millrace_proto::data::{EndReason, ReceiverEnd};
use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;
use quinn::RecvStream;

use super::batch::BatchBuilder;
use super::hub::{Hub, SharedHub};
use super::incoming::{CHUNKS, Deliver, Incoming};
use super::options::{ReceiverConnection, ReceiverOptions};
use super::reading::Receiver;
use super::state::Shared;
use crate::attaching::Attaching;
use crate::connector::{Connected, Connector, Wants, close_done};
use crate::disconnect::Disconnect;
use crate::error::ConnectError;
use crate::link::Link;
use crate::session::ConnectionEvent;
use crate::session::plan::ReceiverWish;
use crate::session::receiver::WINDOW_BYTES;
use crate::time::Time;

/// What a connection of one receiver is for.
const WANTS_ONE: Wants =
    Wants { receivers: 1, received_within: Duration::ZERO, share_deliveries: false, secret: None };
/// What a connection that receivers share is for.
const WANTS_MANY: Wants = Wants {
    secret: None,
    receivers: RECEIVERS_PER_CONNECTION_MAX,
    received_within: Duration::ZERO,
    share_deliveries: true,
};

/// A receiver on a connection of its own, or on the one of `shared`.
pub(crate) async fn connect(
    connector: Connector,
    shared: &SharedHub,
    options: ReceiverOptions,
) -> Result<Receiver, ConnectError> {
    if options.policy == OverflowPolicy::Block {
        return Err(ConnectError::BlockPolicy);
    }
    // What is wrong with trust or identity is said before any name is looked up.
    connector.check_tls()?;
    let wish = ReceiverWish {
        policy: options.policy,
        queue_bytes: options.queue_bytes,
        linger_us: u64::try_from(options.linger.as_micros()).unwrap_or(u64::MAX),
    };
    let window_bytes = options.window_bytes.clamp(1, 2 * WINDOW_BYTES);
    if options.connection == ReceiverConnection::Own {
        let (_, receiver) = begin(connector, WANTS_ONE, wish, window_bytes).await?;
        return Ok(receiver);
    }
    // Whoever comes while the connection is made waits for it here.
    let mut present = shared.lock().await;
    if let Some(hub) = present.upgrade()
        && let Some(shared) = hub.join(wish, window_bytes)?
    {
        return Ok(Receiver::new(shared));
    }
    let (hub, receiver) = begin(connector, WANTS_MANY, wish, window_bytes).await?;
    *present = hub;
    Ok(receiver)
}

/// Makes a connection with its first receiver.
async fn begin(
    connector: Connector,
    wants: Wants,
    wish: ReceiverWish,
    window_bytes: u64,
) -> Result<(Weak<Hub>, Receiver), ConnectError> {
    let mut attaching = Attaching::new(connector, wants);
    let (link, _) = *attaching.attach(None).await?;
    let (hub, shared) = Hub::with_first(wish, window_bytes)?;
    let present = Arc::downgrade(&hub);
    let task = Task { attaching, hub, members: Members::default(), closing: BTreeSet::new() };
    tokio::spawn(task.run(link));
    Ok((present, Receiver::new(shared)))
}

/// The task of one connection.
struct Task {
    attaching: Attaching,
    hub: Arc<Hub>,
    members: Members,
    /// Receivers that were closed and whose end the router has not told.
    closing: BTreeSet<ReceiverNumber>,
}

/// The receivers of the connection.
#[derive(Default)]
struct Members(BTreeMap<ReceiverNumber, Member>);

struct Member {
    shared: Arc<Shared>,
    /// Some router has opened this receiver before.
    was_open: bool,
}

/// How a connection ended.
enum End {
    /// No receiver is left.
    Closed,
    /// The router went away, and another one has welcomed this client.
    Moved(Box<Connected>),
    Lost(Disconnect),
}

enum Arrived {
    Stream(RecvStream),
    /// That many chunks of a stream; none at its end.
    Chunks(usize, Option<usize>),
}

impl Task {
    async fn run(mut self, mut link: Link) {
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
            };
            self.members.0.values().for_each(|member| member.shared.lost());
            while let Some(number) = self.closing.pop_first() {
                self.hub.free(number);
            }
            let connected = match next {
                Some(connected) => connected,
                None => match self.reconnect().await {
                    Some(connected) => connected,
                    None => break,
                },
            };
            link = connected.0;
        }
        self.members.add(self.hub.end());
        self.members.0.values().for_each(|member| member.shared.end());
    }

    /// Tries until a router welcomes this client; `None` when no receiver is left.
    async fn reconnect(&mut self) -> Option<Box<Connected>> {
        let Self { attaching, hub, members, .. } = self;
        let closed = async {
            loop {
                members.add(hub.take_joined());
                // What else they have to do is done on the next connection.
                while let Some(number) = hub.wake.next() {
                    if members.0.get(&number).is_some_and(|member| member.shared.lock().closed) {
                        members.0.remove(&number);
                        hub.free(number);
                    }
                }
                if members.0.is_empty() && hub.try_end() {
                    return;
                }
                hub.wake.told().await;
            }
        };
        tokio::select! {
            // A client that was attached before goes on until it finds a router.
            connected = attaching.attach(None) => connected.ok(),
            () = closed => None,
        }
    }

    async fn drive(&mut self, link: &mut Link) -> End {
        let mut incoming = Incoming::new(link);
        link.session.set_attentive(link.clock.now(), true);
        for member in self.members.0.values() {
            open(&member.shared, link, &mut incoming);
        }
        let connection = link.connection.clone();
        let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
        let mut is_leaving = false;
        loop {
            let deadline = match self.turn(link, &mut incoming, &mut is_leaving) {
                Ok(deadline) => deadline,
                Err(end) => return end,
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
                (index, read) = incoming.next(&mut chunks) => match read {
                    Ok(count) => Ok(Arrived::Chunks(index, count)),
                    Err(error) => Err(error.into()),
                },
                stream = connection.accept_uni() => stream.map(Arrived::Stream).map_err(Disconnect::from),
                moved = moved => match moved {
                    Ok(connected) => return End::Moved(connected),
                    Err(_) => return End::Lost(Disconnect::WentAway),
                },
                () = self.hub.wake.told() => continue,
            };
            let taken = match arrived {
                Ok(Arrived::Stream(stream)) => {
                    incoming.add(stream);
                    Ok(())
                }
                Ok(Arrived::Chunks(index, Some(count))) => {
                    self.feed(link, &mut incoming, index, &mut chunks[..count])
                }
                Ok(Arrived::Chunks(index, None)) => self.finished(&mut incoming, index),
                Err(reason) => Err(End::Lost(reason)),
            };
            if let Err(end) = taken {
                return end;
            }
        }
    }

    /// Passes chunks of a stream to the applications.
    fn feed(
        &mut self,
        link: &mut Link,
        incoming: &mut Incoming,
        index: usize,
        chunks: &mut [Bytes],
    ) -> Result<(), End> {
        link.session.heard(link.clock.now());
        match incoming.feed(index, chunks, &mut self.members) {
            Ok(ends) => ends.into_iter().try_for_each(|end| self.ended(end, link, incoming)),
            Err(error) => {
                link.close(error.close_code(), &error.to_string());
                Err(End::Lost(error.into()))
            }
        }
    }

    /// The router finished a stream: for a receiver that is closed, or it should not have.
    fn finished(&self, incoming: &mut Incoming, index: usize) -> Result<(), End> {
        match incoming.finished(index) {
            Some(receiver) if !self.members.0.contains_key(&receiver) => Ok(()),
            _ => Err(End::Lost(Disconnect::Ended("it finished a receiver's stream".to_owned()))),
        }
    }

    /// Passes what happened on the control stream on, and tells the router what the applications want. Returns the next
    /// deadline.
    fn turn(
        &mut self,
        link: &mut Link,
        incoming: &mut Incoming,
        is_leaving: &mut bool,
    ) -> Result<Option<Time>, End> {
        let now = link.clock.now();
        while let Some(event) = link.session.poll_event() {
            self.event(event, link, incoming)?;
        }
        for shared in self.hub.take_joined() {
            open(&shared, link, incoming);
            self.members.add(vec![shared]);
        }
        while let Some(number) = self.hub.wake.next() {
            self.serve(number, link, incoming);
        }
        if self.members.0.is_empty() && self.hub.try_end() {
            return Err(End::Closed);
        }
        for (number, has_room) in incoming.own_streams() {
            if let Some(Member { shared, .. }) = self.members.0.get(&number) {
                *has_room = shared.lock().inbox.bytes() < 2 * shared.window_bytes;
            }
        }
        *is_leaving |= self.attaching.poll_leave(now).is_some();
        Ok(self.attaching.poll_timeout())
    }

    /// Does what a receiver's application wants.
    fn serve(&mut self, number: ReceiverNumber, link: &mut Link, incoming: &mut Incoming) {
        let Some(Member { shared, .. }) = self.members.0.get(&number) else { return };
        let mut state = shared.lock();
        if !state.closed {
            state.tell_changes(link);
            incoming.consumed(number, state.inbox.take_taken());
            incoming.grant(number, link);
            return;
        }
        drop(state);
        self.members.0.remove(&number);
        self.closing.insert(number);
        incoming.close(number);
        if !self.members.0.is_empty() {
            link.session.close_receiver(number);
        }
    }

    fn event(&mut self, event: ConnectionEvent, link: &mut Link, incoming: &mut Incoming) -> Result<(), End> {
        match event {
            ConnectionEvent::Subscribed(subscribed) => {
                if let Some(member) = self.members.0.get_mut(&subscribed.receiver) {
                    member.was_open = true;
                    let mut state = member.shared.lock();
                    state.plan.on_subscribed(&subscribed);
                    state.show_progress();
                }
            }
            ConnectionEvent::Refused(refused) => return self.refused(refused, incoming),
            ConnectionEvent::ReceiverClosed(closed) => {
                if !self.closing.contains(&closed.receiver) {
                    let reason = format!("the receiver is closed: {}", closed.reason);
                    return Err(End::Lost(Disconnect::Ended(reason)));
                }
                if incoming.gone(closed.receiver) {
                    self.closing.remove(&closed.receiver);
                    self.hub.free(closed.receiver);
                }
            }
            ConnectionEvent::Goaway(goaway) => self.attaching.goaway(&goaway),
            ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
            ConnectionEvent::Welcomed(_)
            | ConnectionEvent::Credit { .. }
            | ConnectionEvent::Received { .. } => {}
        }
        Ok(())
    }

    fn refused(&mut self, refused: Refused, incoming: &mut Incoming) -> Result<(), End> {
        let number = refused.receiver;
        let is_only = self.members.0.len() == 1;
        let Some(member) = self.members.0.get(&number) else {
            if refused.subscription.is_none() && incoming.gone(number) && self.closing.remove(&number) {
                self.hub.free(number);
            }
            return Ok(());
        };
        if let Some(subscription) = refused.subscription {
            member.shared.lock().subscription_refused(subscription, refused);
            return Ok(());
        }
        // For now: places become free, here and elsewhere. Other receivers of the connection are not to suffer for it.
        if member.was_open && is_only && refused.reason == RefusedReason::Limit {
            let reason = format!("{}: {}", refused.reason.name(), refused.message);
            return Err(End::Lost(Disconnect::Ended(reason)));
        }
        self.end_refused(&refused, incoming);
        Ok(())
    }

    /// A receiver ends because the router does not want it.
    fn end_refused(&mut self, refused: &Refused, incoming: &mut Incoming) {
        let number = refused.receiver;
        let Some(member) = self.members.0.remove(&number) else { return };
        member.shared.lock().receiver_refused(refused);
        member.shared.end();
        incoming.close(number);
        if incoming.gone(number) {
            self.hub.free(number);
        } else {
            self.closing.insert(number);
        }
    }

    /// A receiver ended on the shared stream: as it was asked to, or it is opened anew where that may help.
    fn ended(&mut self, end: ReceiverEnd, link: &mut Link, incoming: &mut Incoming) -> Result<(), End> {
        let number = end.receiver;
        if self.closing.remove(&number) {
            self.hub.free(number);
            return Ok(());
        }
        let Some(member) = self.members.0.get(&number) else { return Ok(()) };
        match end.reason {
            EndReason::Forbidden | EndReason::Replaced => {
                let (reason, message) = (RefusedReason::Forbidden, end.message);
                self.end_refused(
                    &Refused { reason, receiver: number, message, ..Refused::default() },
                    incoming,
                );
            }
            EndReason::GoingAway => return Err(End::Lost(Disconnect::WentAway)),
            _ => {
                member.shared.lost();
                open(&member.shared, link, incoming);
            }
        }
        Ok(())
    }
}

/// Asks for a receiver and its subscriptions.
fn open(shared: &Shared, link: &mut Link, incoming: &mut Incoming) {
    let mut state = shared.lock();
    state.inbox.begin_connection();
    state.ended.clear();
    state.added.clear();
    let grant = incoming.open(shared.number, shared.window_bytes, state.inbox.bytes());
    state.plan.replay(&mut link.session, grant);
}

impl Members {
    fn add(&mut self, joined: Vec<Arc<Shared>>) {
        for shared in joined {
            self.0.insert(shared.number, Member { shared, was_open: false });
        }
    }
}

impl Deliver for Members {
    fn deliver(&mut self, receiver: ReceiverNumber, batch: &mut BatchBuilder, bytes: u64) -> bool {
        let Some(member) = self.0.get_mut(&receiver) else { return false };
        member.was_open = true;
        let mut state = member.shared.lock();
        let connection = state.inbox.connection();
        let Some(batch) = batch.take(bytes, connection) else { return false };
        let waker = state.inbox.push(batch);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}
