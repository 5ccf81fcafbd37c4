//! The task that moves the events of one feed to a router, and from router to router.

use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::PublisherKey;
use millrace_proto::control::Welcome;
use quinn::SendStream;

use super::state::{Ending, Shared};
use super::stats::{Lost, REPORTS_MAX};
use crate::attaching::Attaching;
use crate::connector::{Connected, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::ConnectionEvent;
use crate::time::Time;

/// One feed's task.
pub(super) struct Task {
    pub(super) attaching: Attaching,
    pub(super) shared: Arc<Shared>,
    pub(super) key: PublisherKey,
}

/// How a connection ended.
enum End {
    /// The publisher is closed.
    Closed,
    /// The router goes away, and has received everything. The next connection, if there is one already.
    Moved(Option<Box<Connected>>),
    Lost(Disconnect),
}

/// The router is to be left.
struct Leaving {
    latest: Time,
    /// The connection that follows, once there is one.
    next: Option<Box<Connected>>,
}

/// What a turn found out.
struct Turn {
    deadline: Option<Time>,
}

impl Task {
    pub(super) async fn run(mut self, link: Link, welcome: Box<Welcome>) {
        let mut next = Some(Box::new((link, welcome)));
        loop {
            let (mut link, welcome) = *match next.take() {
                Some(connected) => connected,
                None => match self.reconnect().await {
                    Some(connected) => connected,
                    None => return,
                },
            };
            let mut leaving = None;
            let end = self.drive(&mut link, &welcome, &mut leaving).await;
            close_done(&link);
            let reason = match end {
                End::Closed => return,
                End::Moved(connected) => {
                    next = connected;
                    Disconnect::WentAway
                }
                End::Lost(reason) => {
                    next = leaving.and_then(|leaving: Leaving| leaving.next);
                    reason
                }
            };
            if next.is_none() {
                self.attaching.lost(&reason);
            }
            self.lost(reason);
        }
    }

    /// Tries until a router welcomes this publisher; `None` when it was closed.
    async fn reconnect(&mut self) -> Option<Box<Connected>> {
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
        let shard = self.shared.lock().shard;
        tokio::select! {
            // A publisher that was attached before goes on until it finds a router.
            connected = self.attaching.attach(shard) => connected.ok(),
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

    async fn drive(&mut self, link: &mut Link, welcome: &Welcome, leaving: &mut Option<Leaving>) -> End {
        {
            let mut state = self.shared.lock();
            state.session.stream_started(welcome.tables);
            state.connections += 1;
        }
        let connection = link.connection.clone();
        let mut stream: Option<SendStream> = None;
        let mut out = Bytes::new();
        loop {
            let Turn { deadline } = match self.turn(link, &mut out, leaving) {
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
            let shard = self.shared.lock().shard;
            let follows = async {
                match leaving {
                    Some(leaving) if leaving.next.is_none() => {
                        leaving.next = self.attaching.attach(shard).await.ok();
                    }
                    _ => std::future::pending().await,
                }
            };
            let written: Result<Option<SendStream>, quinn::WriteError> = tokio::select! {
                () = follows => continue,
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
    fn turn(&mut self, link: &mut Link, out: &mut Bytes, leaving: &mut Option<Leaving>) -> Result<Turn, End> {
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
                ConnectionEvent::Goaway(goaway) => self.attaching.goaway(&goaway),
                ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
                ConnectionEvent::Refused(refused) => {
                    tracing::warn!(reason = ?refused.reason, "a router drops what is published: {}", refused.message);
                }
                // A publisher asked for nothing that these could be about.
                ConnectionEvent::Welcomed(_)
                | ConnectionEvent::Subscribed(_)
                | ConnectionEvent::ReceiverClosed(_) => {}
            }
        }
        match state.ending {
            Ending::Now => return Err(End::Closed),
            Ending::WhenFlushed if state.session.is_flushed() => return Err(End::Closed),
            _ => {}
        }
        if let Some(latest) = self.attaching.poll_leave(now) {
            *leaving = Some(Leaving { latest, next: None });
        }
        let mut deadline = self.attaching.poll_timeout();
        if let Some(leaving) = leaving {
            state.session.hold();
            if out.is_empty() && state.session.unreceived().is_empty() {
                return Err(End::Moved(leaving.next.take()));
            }
            if now >= leaving.latest {
                return Err(End::Lost(Disconnect::WentAway));
            }
            deadline = Some(leaving.latest);
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
