//! The task that moves the events of one feed to a router, and from router to router.

use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::control::{Goaway, Welcome};
use millrace_proto::{Incarnation, PublisherKey};
use quinn::SendStream;

use super::feed::{Ending, Shared};
use super::{Lost, REPORTS_MAX};
use crate::backoff::Backoff;
use crate::client::{Client, Wants, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::ConnectionEvent;
use crate::targets::Targets;
use crate::time::Time;

/// One feed's task.
pub(super) struct Task {
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) key: PublisherKey,
    pub(super) targets: Targets,
    pub(super) wants: Wants,
}

/// How a connection ended.
enum End {
    /// The publisher is closed.
    Closed,
    /// The router went away, and had received everything.
    Moved,
    Lost(Disconnect),
}

/// A router has asked to leave.
struct Leaving {
    at: Time,
    latest: Time,
}

/// What a turn found out.
struct Turn {
    deadline: Option<Time>,
}

impl Task {
    pub(super) async fn run(mut self, link: Link, welcome: Box<Welcome>) {
        let mut backoff = Backoff::new(self.client.config().backoff_max);
        let mut next = Some((link, welcome));
        loop {
            let (mut link, welcome) = match next.take() {
                Some(connected) => connected,
                None => match self.reconnect(&mut backoff).await {
                    Some(connected) => connected,
                    None => return,
                },
            };
            self.targets.welcomed(&welcome.alternates);
            let began = link.clock.now();
            let end = self.drive(&mut link, &welcome).await;
            if link.clock.now().nanos_since(began) > STEADY_NS {
                backoff.reset();
            }
            match end {
                End::Closed => {
                    close_done(&link);
                    return;
                }
                End::Moved => {
                    close_done(&link);
                    self.lost(Disconnect::WentAway);
                }
                End::Lost(reason) => {
                    close_done(&link);
                    self.lost(reason);
                }
            }
        }
    }

    /// Tries until a router welcomes this publisher; `None` when it was closed.
    async fn reconnect(&self, backoff: &mut Backoff) -> Option<(Link, Box<Welcome>)> {
        let attempts = async {
            loop {
                tokio::time::sleep(backoff.next()).await;
                let shard = self.shared.lock().shard;
                if let Ok(connected) = self.client.connect(&self.targets, shard, self.wants).await {
                    return connected;
                }
            }
        };
        let closed = async {
            loop {
                let ending = self.shared.lock().ending;
                if ending == Ending::Now
                    || (ending == Ending::WhenFlushed && self.shared.lock().session.is_flushed())
                {
                    return;
                }
                self.shared.work.notified().await;
            }
        };
        tokio::select! {
            connected = attempts => Some(connected),
            () = closed => None,
        }
    }

    /// Reports what was on its way as unknown.
    fn lost(&self, reason: Disconnect) {
        let mut state = self.shared.lock();
        let seqs = state.session.stream_lost();
        if !seqs.is_empty() {
            state.unknown += seqs.end - seqs.start;
            if state.lost.len() == REPORTS_MAX {
                state.lost.pop_front();
            }
            state.lost.push_back(Lost { key: self.key, seqs, reason });
        }
        drop(state);
        self.shared.progress.notify_waiters();
    }

    async fn drive(&mut self, link: &mut Link, welcome: &Welcome) -> End {
        {
            let mut state = self.shared.lock();
            state.session.stream_started(welcome.tables);
            state.connections += 1;
        }
        let connection = link.connection.clone();
        let mut stream: Option<SendStream> = None;
        let mut out = Bytes::new();
        let mut leaving = None;
        loop {
            let Turn { deadline } = match self.turn(link, welcome.incarnation, &mut out, &mut leaving) {
                Ok(turn) => turn,
                Err(end) => return end,
            };
            let has_output = !out.is_empty();
            let write = async {
                match &mut stream {
                    Some(stream) => stream.write_chunks(std::slice::from_mut(&mut out)).await.map(|_| None),
                    None => Ok(Some(connection.open_uni().await?)),
                }
            };
            let written: Result<Option<SendStream>, quinn::WriteError> = tokio::select! {
                turned = link.turn(deadline) => match turned {
                    Ok(()) => continue,
                    Err(reason) => return End::Lost(reason),
                },
                written = write, if has_output => written,
                () = self.shared.work.notified() => continue,
            };
            match written {
                Ok(None) => {}
                Ok(opened) => stream = opened,
                Err(error) => return End::Lost(error.into()),
            }
        }
    }

    /// Passes what happened on the control stream to the publisher, and takes the next bytes to write.
    fn turn(
        &mut self,
        link: &mut Link,
        incarnation: Incarnation,
        out: &mut Bytes,
        leaving: &mut Option<Leaving>,
    ) -> Result<Turn, End> {
        let now = link.clock.now();
        let mut state = self.shared.lock();
        let state = &mut *state;
        let mut progress = false;
        while let Some(event) = link.session.poll_event() {
            match event {
                ConnectionEvent::Credit { bytes } => state.session.on_credit(bytes),
                ConnectionEvent::Received { next_seq } => {
                    progress = true;
                    if let Err(error) = state.session.on_received(next_seq) {
                        link.close(error.close_code(), &error.to_string());
                        return Err(End::Lost(error.into()));
                    }
                }
                ConnectionEvent::Goaway(goaway) => {
                    self.targets.moving(incarnation, &goaway.alternates);
                    *leaving = Some(Leaving::new(now, &goaway));
                }
                ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
                // A publisher asked for nothing that these could be about.
                ConnectionEvent::Welcomed(_)
                | ConnectionEvent::Subscribed(_)
                | ConnectionEvent::Refused(_)
                | ConnectionEvent::ReceiverClosed(_) => {}
            }
        }
        match state.ending {
            Ending::Now => return Err(End::Closed),
            Ending::WhenFlushed if state.session.is_flushed() => return Err(End::Closed),
            _ => {}
        }
        let mut deadline = None;
        if let Some(leaving) = leaving {
            if now >= leaving.at {
                state.session.hold();
            }
            if now >= leaving.at && out.is_empty() && state.session.unreceived().is_empty() {
                return Err(End::Moved);
            }
            if now >= leaving.latest {
                return Err(End::Lost(Disconnect::WentAway));
            }
            deadline = Some(if now >= leaving.at { leaving.latest } else { leaving.at });
        }
        if out.is_empty()
            && let Some(chunk) = state.session.take_output(now)
        {
            *out = chunk;
            progress = true;
        }
        if out.is_empty()
            && let Some(due) = state.session.poll_timeout()
        {
            deadline = Some(deadline.map_or(due, |other: Time| other.min(due)));
        }
        // Nothing that is published now can go out before the present chunk is written or credit arrives, and the task
        // turns then anyway.
        state.woken = !out.is_empty() || state.session.is_out_of_credit(now);
        link.session.set_attentive(now, state.session.expects_answer(now));
        if let Some(due) = state.session.answer_due().filter(|&due| due > now) {
            deadline = Some(deadline.map_or(due, |other: Time| other.min(due)));
        }
        if progress {
            self.shared.progress.notify_waiters();
        }
        Ok(Turn { deadline })
    }
}

impl Leaving {
    fn new(now: Time, goaway: &Goaway) -> Self {
        let at = now.after(goaway.delay_us.saturating_mul(1000));
        let latest = now.after(goaway.grace_us.max(goaway.delay_us).saturating_mul(1000)).after(LEAVE_NS);
        Self { at, latest }
    }
}

/// A connection that lived this long was good: pauses before the next one start small.
const STEADY_NS: u64 = crate::time::SECOND_NS;

/// How much longer than the router's grace a publisher waits for the last `received`: the router closes when it must.
const LEAVE_NS: u64 = 2 * crate::time::SECOND_NS;
