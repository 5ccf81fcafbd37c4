//! The task of one connection: reads the streams of its receivers, writes what its publisher
//! publishes, and moves them from router to router.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::Welcome;
use quinn::RecvStream;
use tokio::sync::Notify;

use super::acks::Due;
use super::farewell::Farewells;
use super::hub::Hub;
use super::incoming::{CHUNKS, Incoming};
use super::members::{Member, Members};
use super::opening::open;
use super::present::{End, Leaving, Next, Present, hear};
use crate::attaching::Attaching;
use crate::connector::{Connected, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::publisher::{Carried, NO_NUMBERS, Turned};
use crate::session::ConnectionEvent;
use crate::time::Time;

/// The task of one connection.
pub(super) struct Task {
    pub(super) attaching: Attaching,
    pub(super) hub: Arc<Hub>,
    pub(super) members: Members,
    /// Closed receivers whose end the router has not told.
    pub(super) closing: BTreeSet<ReceiverNumber>,
    /// Receivers that are open on the connection that follows, too.
    pub(super) ahead: BTreeSet<ReceiverNumber>,
    /// Receivers that are open on the present connection from its beginning.
    pub(super) moved: BTreeSet<ReceiverNumber>,
    pub(super) publisher: Option<Box<Carried>>,
}

enum Arrived {
    Nothing,
    Stream(RecvStream),
    /// That many chunks of a stream; none at its end.
    Chunks(usize, Option<usize>),
    /// The connection that follows is lost.
    FollowerLost(Disconnect),
}

impl Task {
    pub(super) fn new(attaching: Attaching, hub: Arc<Hub>) -> Self {
        Self {
            attaching,
            hub,
            members: Members::default(),
            closing: BTreeSet::new(),
            ahead: BTreeSet::new(),
            moved: BTreeSet::new(),
            publisher: None,
        }
    }

    /// As [`Task::run`], of a connection that is yet to be made.
    pub(super) async fn run_unattached(mut self) {
        match self.reconnect().await.map(|connected| *connected) {
            Some((link, welcome)) => self.run(link, welcome).await,
            None => self.hub.end().iter().for_each(|shared| shared.end()),
        }
    }

    pub(super) async fn run(mut self, mut link: Link, welcome: Box<Welcome>) {
        let mut present = Present::new(&link, welcome);
        loop {
            let end = self.drive(&mut link, &mut present).await;
            close_done(&link);
            let (reason, next) = match end {
                End::Closed => break,
                End::Moved(following) => (Disconnect::WentAway, Next::Following(following)),
                End::Lost(reason) => (reason, present.leaving.map_or(Next::Nobody, |leaving| leaving.next)),
            };
            let connected = match next {
                Next::Following(following) => {
                    (link, present) = self.follow(*following, reason);
                    continue;
                }
                Next::Found(connected) => {
                    self.leave(reason, BTreeSet::new());
                    Some(connected)
                }
                Next::Nobody => {
                    self.attaching.lost(&reason);
                    self.leave(reason, BTreeSet::new());
                    self.reconnect().await
                }
            };
            let Some((new, welcome)) = connected.map(|connected| *connected) else { break };
            present = Present::new(&new, welcome);
            link = new;
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
                if publisher.as_mut().is_some_and(|publisher| publisher.is_done()) {
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
        for (number, member) in &self.members.0 {
            if !self.moved.contains(number) {
                open(&member.shared, link, &mut present.incoming);
            }
        }
        self.moved.clear();
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
                match leaving.as_mut().map(|leaving| &mut leaving.next) {
                    Some(Next::Following(following)) => {
                        return following
                            .step()
                            .await
                            .map_or_else(Arrived::FollowerLost, |()| Arrived::Nothing);
                    }
                    Some(Next::Found(_)) => {}
                    Some(next) => {
                        if let Ok(connected) = attaching.attach(shard).await {
                            *next = Next::Found(connected);
                        }
                    }
                    None => attaching.hear().await,
                }
                Arrived::Nothing
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
                arrived = follows => Ok(arrived),
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
                Ok(Arrived::FollowerLost(reason)) => self.follower_lost(reason, present),
                Err(reason) => Err(End::Lost(reason)),
            };
            if let Err(end) = taken {
                return end;
            }
        }
    }

    /// Lets the publisher begin on the present connection, if it is to. Requests wait until the
    /// router knows the receiver of their replies: it reads what is published before it reads
    /// control frames when it has much to do.
    fn begin_publisher(&mut self, link: &mut Link, present: &mut Present) -> Result<(), End> {
        if let Some(joined) = self.hub.take_publisher() {
            (self.publisher, present.publishes) = (Some(joined), false);
        }
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let awaits = |member: &Member| member.shared.lock().awaits_opening();
        if present.publishes || self.members.0.values().any(awaits) {
            return Ok(());
        }
        present.publishes = true;
        publisher.begin(&present.welcome, &mut link.session);
        if present.credit == 0 {
            return Ok(());
        }
        // It was told before.
        hear(publisher, &ConnectionEvent::Credit { bytes: present.credit }, link)
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
        incoming.grant(link);
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
        while let Some(event) = present.later.pop_front().or_else(|| link.session.poll_event()) {
            self.event(event, link, present)?;
        }
        let Present { incoming, acks, leaving, farewells, .. } = present;
        if let Some(Leaving { next, .. }) = leaving {
            self.begin_following(next, link, incoming);
        }
        for shared in self.hub.take_joined() {
            open(&shared, link, incoming);
            self.members.add(vec![shared]);
        }
        while let Some(number) = self.hub.wake.next() {
            self.serve(number, link, incoming, (acks, farewells));
        }
        while let Some(number) = acks.next(now) {
            if let Some(member) = self.members.0.get(&number) {
                member.shared.lock().tell_acknowledged(link);
                farewells.owe();
            }
        }
        farewells.pass(link);
        let told_by = acks.deadline().into_iter().chain(farewells.deadline()).min();
        for (number, has_room) in incoming.own_streams() {
            if let Some(Member { shared, .. }) = self.members.0.get(&number) {
                *has_room = shared.lock().inbox.bytes() < 2 * shared.window_bytes;
            }
        }
        if let Some(latest) = self.attaching.poll_leave(link, None) {
            present.leaving = Some(Leaving { latest, next: Next::Nobody });
        }
        let deadline = self.publish(link, present)?;
        let is_over = present.farewells.are_over() && self.members.0.is_empty() && self.publisher.is_none();
        if is_over && self.hub.try_end() {
            return Err(End::Closed);
        }
        Ok(deadline.into_iter().chain(self.attaching.poll_timeout()).chain(told_by).min())
    }

    /// Serves the publisher, and moves to the next connection when there is one and no event is on
    /// its way. Returns the next deadline.
    fn publish(&mut self, link: &mut Link, present: &mut Present) -> Result<Option<Time>, End> {
        let now = link.clock.now();
        self.begin_publisher(link, present)?;
        let next = present.leaving.as_mut().and_then(Leaving::following);
        let turned = match &mut self.publisher {
            Some(publisher) if present.publishes => Some(publisher.turn(now, next.is_some())),
            Some(publisher) => publisher.is_done().then_some(Turned::Ended),
            None => None,
        };
        let (mut deadline, mut expects_answer, mut has_left) = (None, false, true);
        match turned {
            Some(Turned::Serving { deadline: due, expects_answer: expects, has_left: left }) => {
                (deadline, expects_answer, has_left) = (due, expects, left);
            }
            Some(Turned::Ended) => self.publisher = None,
            Some(Turned::NoNumbers) => return Err(End::Lost(link.broken(NO_NUMBERS))),
            None => {}
        }
        if let Some((latest, following)) = next {
            following.advance(now, link);
            if (has_left && following.is_ready(now)) || now >= latest {
                let leaving = present.leaving.take();
                if let Some(Leaving { next: Next::Following(following), .. }) = leaving {
                    return Err(End::Moved(following));
                }
                return Ok(None);
            }
            deadline = deadline.into_iter().chain(following.deadline()).chain(Some(latest)).min();
        }
        link.session.set_attentive(now, !self.members.0.is_empty() || expects_answer);
        Ok(deadline)
    }

    /// Does what a receiver's application wants.
    fn serve(
        &mut self,
        number: ReceiverNumber,
        link: &mut Link,
        incoming: &mut Incoming,
        (acks, farewells): (&mut Due, &mut Farewells),
    ) {
        let Some(Member { shared, .. }) = self.members.0.get(&number) else { return };
        let mut state = shared.lock();
        if !state.closed {
            if !self.ahead.contains(&number) {
                state.tell_changes(link);
            }
            state.tell_busy(link);
            state.tell_mark(link);
            if state.acknowledged.has_tickets() {
                // A member of a group has room again once its router knows.
                state.tell_acknowledged(link);
                farewells.owe();
            }
            if !state.acknowledged.is_empty() {
                acks.add(link.clock.now(), number);
            }
            incoming.consumed(number, state.inbox.take_taken());
            incoming.grant(link);
            return;
        }
        if !state.acknowledged.is_empty() {
            state.tell_acknowledged(link);
            farewells.owe();
        }
        let told = state.told.take();
        drop(state);
        self.members.0.remove(&number);
        self.closing.insert(number);
        incoming.close(number);
        if !self.members.0.is_empty() {
            link.session.close_receiver(number);
        }
        farewells.add(link, told);
    }
}

/// Waits until the publisher's application has work.
async fn told(work: Option<Arc<Notify>>) {
    match work {
        Some(work) => work.notified().await,
        None => std::future::pending().await,
    }
}
