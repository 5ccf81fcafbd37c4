//! The task of one connection: reads the streams of its receivers, writes what its publisher
//! publishes, and moves them from router to router.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::{Refused, RefusedReason, TableCapacity, Welcome};
use millrace_proto::data::{EndReason, ReceiverEnd};
use quinn::RecvStream;
use tokio::sync::Notify;

use super::acks::Due;
use super::batch::BatchBuilder;
use super::hub::Hub;
use super::incoming::{CHUNKS, Deliver, Incoming};
use super::opening::open;
use super::state::Shared;
use crate::attaching::Attaching;
use crate::change::Change;
use crate::connector::{Connected, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::publisher::{Outgoing, Turned};
use crate::session::ConnectionEvent;
use crate::time::Time;

/// The task of one connection.
pub(super) struct Task {
    attaching: Attaching,
    hub: Arc<Hub>,
    members: Members,
    /// Closed receivers whose end the router has not told.
    closing: BTreeSet<ReceiverNumber>,
    publisher: Option<Box<Outgoing>>,
}

/// The state of the present connection.
struct Present {
    incoming: Incoming,
    acks: Due,
    leaving: Option<Leaving>,
    /// The tables that the router holds for the publish stream, and its credit.
    tables: TableCapacity,
    credit: u64,
}

/// The router is to be left.
struct Leaving {
    latest: Time,
    /// The connection that follows, once there is one.
    next: Option<Box<Connected>>,
}

/// The receivers of the connection.
#[derive(Default)]
struct Members(BTreeMap<ReceiverNumber, Member>);

struct Member {
    shared: Arc<Shared>,
    /// Whether a router has opened this receiver before.
    was_open: bool,
}

/// How a connection ended.
enum End {
    /// It has no user.
    Closed,
    /// The router went away, and another one has welcomed this client.
    Moved(Box<Connected>),
    Lost(Disconnect),
}

enum Arrived {
    Nothing,
    Stream(RecvStream),
    /// That many chunks of a stream; none at its end.
    Chunks(usize, Option<usize>),
}

impl Task {
    pub(super) fn new(attaching: Attaching, hub: Arc<Hub>) -> Self {
        Self { attaching, hub, members: Members::default(), closing: BTreeSet::new(), publisher: None }
    }

    pub(super) async fn run(mut self, mut link: Link, mut welcome: Box<Welcome>) {
        loop {
            let mut present = Present {
                incoming: Incoming::new(&link),
                acks: Due::default(),
                leaving: None,
                tables: welcome.tables,
                credit: 0,
            };
            let end = self.drive(&mut link, &mut present).await;
            close_done(&link);
            let (reason, next) = match end {
                End::Closed => break,
                End::Moved(connected) => (Disconnect::WentAway, Some(connected)),
                End::Lost(reason) => (reason, present.leaving.and_then(|leaving| leaving.next)),
            };
            if next.is_none() {
                self.attaching.lost(&reason);
            }
            self.members.0.values().for_each(|member| member.shared.lost());
            while let Some(number) = self.closing.pop_first() {
                self.hub.free(number);
            }
            match &mut self.publisher {
                Some(publisher) => publisher.lost(reason),
                None => self.hub.free_publisher(),
            }
            let connected = match next {
                Some(connected) => connected,
                None => match self.reconnect().await {
                    Some(connected) => connected,
                    None => break,
                },
            };
            (link, welcome) = *connected;
        }
        self.members.add(self.hub.end());
        self.members.0.values().for_each(|member| member.shared.end());
    }

    /// Tries until a router welcomes this client; `None` when the connection has no user left.
    async fn reconnect(&mut self) -> Option<Box<Connected>> {
        let Self { attaching, hub, members, publisher, .. } = self;
        let shard = publisher.as_ref().and_then(|publisher| publisher.shard());
        let closed = async {
            loop {
                members.add(hub.take_joined());
                // Their other wishes are served on the next connection.
                while let Some(number) = hub.wake.next() {
                    if members.0.get(&number).is_some_and(|member| member.shared.lock().closed) {
                        members.0.remove(&number);
                        hub.free(number);
                    }
                }
                if let Some(joined) = hub.take_publisher() {
                    *publisher = Some(joined);
                }
                if publisher.as_ref().is_some_and(|publisher| publisher.is_done()) {
                    *publisher = None;
                    hub.free_publisher();
                }
                if members.0.is_empty() && publisher.is_none() && hub.try_end() {
                    return;
                }
                let work = publisher.as_ref().map(|publisher| publisher.work());
                tokio::select! {
                    () = hub.wake.told() => {}
                    () = told(work) => {}
                }
            }
        };
        tokio::select! {
            // A client that was attached before goes on until it finds a router.
            connected = attaching.attach(shard) => connected.ok(),
            () = closed => None,
        }
    }

    async fn drive(&mut self, link: &mut Link, present: &mut Present) -> End {
        for member in self.members.0.values() {
            open(&member.shared, link, &mut present.incoming);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.begin(present.tables, link.session.confirms());
        }
        let connection = link.connection.clone();
        let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
        loop {
            let deadline = match self.turn(link, present) {
                Ok(deadline) => deadline,
                Err(end) => return end,
            };
            let Self { attaching, hub, publisher, .. } = self;
            let Present { incoming, leaving, .. } = present;
            let work = publisher.as_ref().map(|publisher| publisher.work());
            let shard = publisher.as_ref().and_then(|publisher| publisher.shard());
            let follows = async {
                match leaving {
                    Some(leaving) if leaving.next.is_none() => {
                        leaving.next = attaching.attach(shard).await.ok();
                    }
                    Some(_) => std::future::pending().await,
                    None => attaching.hear().await,
                }
            };
            let write = async {
                match publisher {
                    Some(publisher) => publisher.write(&connection).await,
                    None => std::future::pending().await,
                }
            };
            let arrived: Result<Arrived, Disconnect> = tokio::select! {
                turned = link.turn(deadline) => turned.map(|()| Arrived::Nothing),
                (index, read) = incoming.next(&mut chunks) => match read {
                    Ok(count) => Ok(Arrived::Chunks(index, count)),
                    Err(error) => Err(error.into()),
                },
                stream = connection.accept_uni() => stream.map(Arrived::Stream).map_err(Disconnect::from),
                written = write => written.map(|()| Arrived::Nothing).map_err(Disconnect::from),
                () = follows => Ok(Arrived::Nothing),
                () = hub.wake.told() => Ok(Arrived::Nothing),
                () = told(work) => Ok(Arrived::Nothing),
            };
            let taken = match arrived {
                Ok(Arrived::Nothing) => Ok(()),
                Ok(Arrived::Stream(stream)) => {
                    present.incoming.add(stream);
                    Ok(())
                }
                Ok(Arrived::Chunks(index, Some(count))) => {
                    self.feed(link, &mut present.incoming, index, &mut chunks[..count])
                }
                Ok(Arrived::Chunks(index, None)) => self.finished(&mut present.incoming, index),
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
        let ends = incoming.feed(index, chunks, &mut self.members);
        let ends = ends.map_err(|error| End::Lost(link.broken(error)))?;
        ends.into_iter().try_for_each(|end| self.ended(end, link, incoming))
    }

    /// Handles the end of a stream: in order for a closed receiver, otherwise a fault of the
    /// router.
    fn finished(&self, incoming: &mut Incoming, index: usize) -> Result<(), End> {
        match incoming.finished(index) {
            Some(receiver) if !self.members.0.contains_key(&receiver) => Ok(()),
            _ => Err(End::Lost(Disconnect::Ended("it finished a receiver's stream".to_owned()))),
        }
    }

    /// Passes what happened on the control stream on, and tells the router what the applications
    /// want. Returns the next deadline.
    fn turn(&mut self, link: &mut Link, present: &mut Present) -> Result<Option<Time>, End> {
        let now = link.clock.now();
        while let Some(event) = link.session.poll_event() {
            self.event(event, link, present)?;
        }
        let Present { incoming, acks, .. } = present;
        for shared in self.hub.take_joined() {
            open(&shared, link, incoming);
            self.members.add(vec![shared]);
        }
        while let Some(number) = self.hub.wake.next() {
            self.serve(number, link, incoming, acks);
        }
        while let Some(number) = acks.next(now) {
            if let Some(member) = self.members.0.get(&number) {
                member.shared.lock().tell_acknowledged(link);
            }
        }
        let acks_due = acks.deadline();
        for (number, has_room) in incoming.own_streams() {
            if let Some(Member { shared, .. }) = self.members.0.get(&number) {
                *has_room = shared.lock().inbox.bytes() < 2 * shared.window_bytes;
            }
        }
        if let Some(latest) = self.attaching.poll_leave(now, None) {
            present.leaving = Some(Leaving { latest, next: None });
        }
        let deadline = self.publish(link, present)?;
        if self.members.0.is_empty() && self.publisher.is_none() && self.hub.try_end() {
            return Err(End::Closed);
        }
        Ok(deadline.into_iter().chain(self.attaching.poll_timeout()).chain(acks_due).min())
    }

    /// Serves the publisher, and moves to the next connection when there is one and no event is on
    /// its way. Returns the next deadline.
    fn publish(&mut self, link: &mut Link, present: &mut Present) -> Result<Option<Time>, End> {
        let now = link.clock.now();
        if let Some(mut publisher) = self.hub.take_publisher() {
            publisher.begin(present.tables, link.session.confirms());
            let credit = ConnectionEvent::Credit { bytes: present.credit };
            hear(&mut publisher, &credit, link)?;
            self.publisher = Some(publisher);
        }
        let next = present.leaving.as_mut().filter(|leaving| leaving.next.is_some());
        let turned = self.publisher.as_mut().map(|publisher| publisher.turn(now, next.is_some()));
        let (mut deadline, mut expects_answer, mut has_left) = (None, false, true);
        match turned {
            Some(Turned::Serving { deadline: due, expects_answer: expects, has_left: left }) => {
                (deadline, expects_answer, has_left) = (due, expects, left);
            }
            Some(Turned::Ended) => self.publisher = None,
            None => {}
        }
        if let Some(Leaving { latest, next }) = next {
            if has_left || now >= *latest {
                return next.take().map_or(Ok(None), |next| Err(End::Moved(next)));
            }
            deadline = deadline.into_iter().chain(Some(*latest)).min();
        }
        link.session.set_attentive(now, !self.members.0.is_empty() || expects_answer);
        Ok(deadline)
    }

    /// Does what a receiver's application wants.
    fn serve(&mut self, number: ReceiverNumber, link: &mut Link, incoming: &mut Incoming, acks: &mut Due) {
        let Some(Member { shared, .. }) = self.members.0.get(&number) else { return };
        let mut state = shared.lock();
        if !state.closed {
            state.tell_changes(link);
            state.tell_busy(link);
            if state.acknowledged.has_tickets() {
                // A member of a group has room again once its router knows.
                state.tell_acknowledged(link);
            }
            if !state.acknowledged.is_empty() {
                acks.add(link.clock.now(), number);
            }
            incoming.consumed(number, state.inbox.take_taken());
            incoming.grant(number, link);
            return;
        }
        state.tell_acknowledged(link);
        drop(state);
        self.members.0.remove(&number);
        self.closing.insert(number);
        incoming.close(number);
        if !self.members.0.is_empty() {
            link.session.close_receiver(number);
        }
    }

    fn event(&mut self, event: ConnectionEvent, link: &mut Link, present: &mut Present) -> Result<(), End> {
        let incoming = &mut present.incoming;
        match event {
            ConnectionEvent::Subscribed(subscribed) => {
                if let Some(member) = self.members.0.get_mut(&subscribed.receiver) {
                    member.was_open = true;
                    let mut state = member.shared.lock();
                    state.plan.on_subscribed(&subscribed);
                    state.show_progress();
                }
            }
            ConnectionEvent::Refused(refused) if refused.publisher.is_none() => {
                return self.refused(refused, incoming);
            }
            ConnectionEvent::Refused(refused) => self.attaching.connector().tell(Change::dropping(&refused)),
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
            ConnectionEvent::Credit { .. }
            | ConnectionEvent::Received { .. }
            | ConnectionEvent::Outcome(_) => {
                if let ConnectionEvent::Credit { bytes } = event {
                    present.credit = present.credit.max(bytes);
                }
                if let Some(publisher) = &mut self.publisher {
                    return hear(publisher, &event, link);
                }
            }
            ConnectionEvent::Welcomed(_) => {}
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
        // The refusal may pass, because places become free, here and elsewhere. Other receivers of
        // the connection must not suffer for it.
        if member.was_open && is_only && refused.reason == RefusedReason::Limit {
            let reason = format!("{}: {}", refused.reason.name(), refused.message);
            return Err(End::Lost(Disconnect::Ended(reason)));
        }
        self.end_refused(&refused, incoming);
        Ok(())
    }

    /// Ends a receiver that the router has refused.
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

    /// Handles the end of a receiver on the shared stream: it was asked for, or the receiver is
    /// opened again where that may help.
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

/// Tells the publisher what the control stream said.
fn hear(publisher: &mut Outgoing, event: &ConnectionEvent, link: &Link) -> Result<(), End> {
    publisher.event(event).map_err(|error| End::Lost(link.broken(error)))
}

/// Waits until the publisher's application has work.
async fn told(work: Option<Arc<Notify>>) {
    match work {
        Some(work) => work.notified().await,
        None => std::future::pending().await,
    }
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
        state.past.arrived(&batch.places);
        let waker = state.inbox.push(batch);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}
