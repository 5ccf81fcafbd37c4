//! The task of a connection that carries publishers and nothing else.

use millrace_proto::control::Welcome;

use super::carried::Carried;
use super::outgoing::{NO_NUMBERS, Turned};
use crate::attaching::Attaching;
use crate::change::Change;
use crate::connector::{Connected, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::ConnectionEvent;
use crate::time::Time;

/// The task of a feed, or of a bundle.
pub(super) struct Task {
    pub(super) attaching: Attaching,
    pub(super) carried: Carried,
}

/// How a connection ended.
enum End {
    /// All publishers are closed.
    Closed,
    /// The router goes away, and has received everything. The next connection, if there is one.
    Moved(Option<Box<Connected>>),
    Lost(Disconnect),
}

/// The router is to be left.
struct Leaving {
    latest: Time,
    /// The connection that follows, once there is one.
    next: Option<Box<Connected>>,
}

impl Task {
    /// Runs until its publishers are closed; `next` is its first connection, if it has one already.
    pub(super) async fn run(mut self, mut next: Option<Box<Connected>>) {
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
            self.carried.lost(reason);
        }
    }

    /// Tries until a router welcomes its publishers; `None` when they were closed.
    async fn reconnect(&mut self) -> Option<Box<Connected>> {
        let Self { attaching, carried } = self;
        let shard = carried.shard();
        let ended = async {
            while !carried.is_done() {
                carried.work().notified().await;
            }
        };
        tokio::select! {
            // A publisher that was attached before, or has a spool, goes on until it finds a
            // router.
            connected = attaching.attach(shard) => connected.ok(),
            () = ended => None,
        }
    }

    async fn drive(&mut self, link: &mut Link, welcome: &Welcome, leaving: &mut Option<Leaving>) -> End {
        self.carried.begin(welcome, &mut link.session);
        let (connection, work) = (link.connection.clone(), self.carried.work());
        loop {
            let deadline = match self.turn(link, leaving) {
                Ok(deadline) => deadline,
                Err(end) => return end,
            };
            let shard = self.carried.shard();
            let follows = async {
                match leaving {
                    Some(leaving) if leaving.next.is_none() => {
                        leaving.next = self.attaching.attach(shard).await.ok();
                    }
                    Some(_) => std::future::pending().await,
                    None => self.attaching.hear().await,
                }
            };
            let outcome = tokio::select! {
                () = follows => Ok(()),
                turned = link.turn(deadline) => turned,
                written = self.carried.write(&connection) => written.map_err(Disconnect::from),
                () = work.notified() => Ok(()),
            };
            if let Err(reason) = outcome {
                return End::Lost(reason);
            }
        }
    }

    /// Passes what happened on the control stream to the publisher, and takes the next bytes to
    /// write. Returns the next deadline.
    fn turn(&mut self, link: &mut Link, leaving: &mut Option<Leaving>) -> Result<Option<Time>, End> {
        let now = link.clock.now();
        while let Some(event) = link.session.poll_event() {
            match event {
                ConnectionEvent::Goaway(goaway) => self.attaching.goaway(&goaway, link),
                ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
                ConnectionEvent::Refused(refused) => {
                    self.attaching.connector().tell(Change::dropping(&refused));
                }
                event => self.carried.event(&event).map_err(|error| End::Lost(link.broken(error)))?,
            }
        }
        self.carried.tell_set(&mut link.session);
        if let Some(latest) = self.attaching.poll_leave(link, self.carried.shard()) {
            *leaving = Some(Leaving { latest, next: None });
        }
        let (deadline, expects_answer, has_left) = match self.carried.turn(now, leaving.is_some()) {
            Turned::Serving { deadline, expects_answer, has_left } => (deadline, expects_answer, has_left),
            Turned::Ended => return Err(End::Closed),
            Turned::NoNumbers => return Err(End::Lost(link.broken(NO_NUMBERS))),
        };
        let own = match leaving {
            Some(leaving) if has_left => return Err(End::Moved(leaving.next.take())),
            Some(leaving) if now >= leaving.latest => return Err(End::Lost(Disconnect::WentAway)),
            Some(leaving) => Some(leaving.latest),
            None => self.attaching.poll_timeout(),
        };
        link.session.set_attentive(now, expects_answer);
        Ok(deadline.into_iter().chain(own).min())
    }
}
