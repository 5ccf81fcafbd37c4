//! The task of a relay.

use std::time::Duration;

use millrace_proto::{CloseCode, ClusterId};
use tokio::sync::Notify;

use super::{Relayed, Said};
use crate::attaching::Attaching;
use crate::connector::{Connected, Connector, Wants, close_done};
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::publisher::Pen;
use crate::session::ConnectionEvent;
use crate::session::attachment::Verdict;
use crate::time::Time;

/// The longest pause before another attempt; the first one is a twentieth of it, and each is drawn
/// at random below its bound.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a connection ended.
enum End {
    /// The router goes away, and has read everything. The next connection, if there is one.
    Moved(Option<Box<Connected>>),
    Lost(Disconnect),
}

/// The router is to be left.
struct Leaving {
    latest: Time,
    /// The connection that follows, once there is one.
    next: Option<Box<Connected>>,
}

/// Runs until it is dropped.
pub(crate) async fn run(connector: Connector, cluster: ClusterId, relayed: &mut impl Relayed, work: &Notify) {
    let wants = Wants { confirms: true, cluster, ..Wants::default() };
    let mut pause = PAUSE_MAX / 20;
    loop {
        let mut attaching = Attaching::new(connector.clone(), wants);
        match attaching.attach(None).await {
            Ok(connected) => {
                if serve(&mut attaching, connected, relayed, work).await {
                    pause = PAUSE_MAX / 20;
                }
            }
            Err(error) => relayed.disconnected(error.is_refusal(), error.to_string()),
        }
        tokio::time::sleep(pause.mul_f64(rand::random())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Serves one router after the other, until one is lost. Says whether the owner took the first one.
async fn serve(
    attaching: &mut Attaching,
    mut connected: Box<Connected>,
    relayed: &mut impl Relayed,
    work: &Notify,
) -> bool {
    loop {
        let (mut link, welcome) = *connected;
        if let Err(why) = relayed.welcomed(&welcome) {
            link.close(CloseCode::Forbidden, &why);
            relayed.disconnected(true, why);
            return false;
        }
        let mut leaving = None;
        let end = Relay {
            attaching: &mut *attaching,
            relayed: &mut *relayed,
            work,
            leaving: &mut leaving,
            pen: Pen::default(),
        }
        .drive(&mut link)
        .await;
        close_done(&link);
        let next = match end {
            End::Moved(next) => {
                relayed.disconnected(false, Disconnect::WentAway.to_string());
                next
            }
            End::Lost(reason) => {
                relayed.disconnected(reason.verdict() == Verdict::Refused, reason.to_string());
                leaving.and_then(|leaving: Leaving| leaving.next)
            }
        };
        match next {
            Some(next) => connected = next,
            None => return true,
        }
    }
}

/// One connection.
struct Relay<'a, R> {
    attaching: &'a mut Attaching,
    relayed: &'a mut R,
    work: &'a Notify,
    leaving: &'a mut Option<Leaving>,
    /// The publish stream, and what it has not taken.
    pen: Pen,
}

impl<R: Relayed> Relay<'_, R> {
    async fn drive(mut self, link: &mut Link) -> End {
        let connection = link.connection.clone();
        loop {
            let deadline = match self.turn(link) {
                Ok(deadline) => deadline,
                Err(end) => return end,
            };
            let Self { attaching, leaving, pen, work, .. } = &mut self;
            let follows = async {
                match leaving {
                    Some(leaving) if leaving.next.is_none() => {
                        leaving.next = attaching.attach(None).await.ok();
                    }
                    Some(_) => std::future::pending().await,
                    None => attaching.hear().await,
                }
            };
            let outcome = tokio::select! {
                () = follows => Ok(()),
                turned = link.turn(deadline) => turned,
                written = pen.write(&connection) => written.map_err(Disconnect::from),
                () = work.notified() => Ok(()),
            };
            if let Err(reason) = outcome {
                return End::Lost(reason);
            }
        }
    }

    /// Tells the owner what was said, and takes the next bytes to write. Returns the next deadline.
    fn turn(&mut self, link: &mut Link) -> Result<Option<Time>, End> {
        let now = link.clock.now();
        while let Some(event) = link.session.poll_event() {
            match event {
                ConnectionEvent::Goaway(goaway) => self.attaching.goaway(&goaway, link),
                ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
                ConnectionEvent::Credit { bytes } => self.relayed.said(Said::Credit(bytes)),
                ConnectionEvent::Forwarding(said) => self.relayed.said(Said::Forwarding(said)),
                ConnectionEvent::Refused(refused) => self.relayed.said(Said::Refused(refused)),
                _ => {}
            }
        }
        if let Some(latest) = self.attaching.poll_leave(link, None) {
            *self.leaving = Some(Leaving { latest, next: None });
        }
        let leaves = self.leaving.as_ref().is_some_and(|leaving| leaving.next.is_some());
        if self.pen.is_empty()
            && !leaves
            && let Some(chunk) = self.relayed.take_output()
        {
            self.pen.take(chunk);
        }
        let expects_answer = self.relayed.expects_answer();
        let own = match self.leaving {
            Some(leaving) if leaves && self.pen.is_empty() && !expects_answer => {
                return Err(End::Moved(leaving.next.take()));
            }
            Some(leaving) if now >= leaving.latest => return Err(End::Lost(Disconnect::WentAway)),
            Some(leaving) => Some(leaving.latest),
            None => self.attaching.poll_timeout(),
        };
        link.session.set_attentive(now, expects_answer);
        let output = self.relayed.output_in().map(|pause| now + pause);
        Ok(own.into_iter().chain(output).min())
    }
}
