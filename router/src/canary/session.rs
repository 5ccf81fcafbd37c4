//! The canary's session: the client library, on a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_certs::Identity;
use millrace_client::{
    Client, Config, ConnectError, Item, Publisher, PublisherOptions, Receiver, ReceiverOptions,
    RouterAddress, Trust,
};
use millrace_engine::control::PeerState;
use millrace_proto::RouterId;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::event::CanaryEvent;
use super::record::Record;
use crate::mail::PictureFrame;

/// Pause before the session is begun anew that could not be begun, or has ended.
const AGAIN: Duration = Duration::from_secs(1);

/// What a canary is told of its router.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Where the router listens.
    pub(crate) addr: SocketAddr,
    pub(crate) router: RouterId,
    /// How often it probes.
    pub(crate) every: Duration,
    pub(crate) record: Arc<Record>,
    /// Where control leaves its pictures.
    pub(crate) pictures: PictureFrame,
}

impl Flight {
    /// This router, and those that it was linked with a moment ago.
    fn linked(&self) -> BTreeSet<RouterId> {
        let picture = self.pictures.lock().ok().and_then(|picture| picture.clone());
        let peers = picture.map(|picture| picture.status.peers).unwrap_or_default();
        let linked = peers.into_iter().filter(|peer| peer.state != PeerState::Known);
        linked.map(|peer| peer.router).chain([self.router]).collect()
    }
}

/// A canary that flies.
#[derive(Debug)]
pub(crate) struct Canary {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Canary {
    /// Lets a canary fly; `settle` is called on its thread first. A new identity makes it connect
    /// anew.
    ///
    /// # Errors
    /// The system gives it no thread.
    pub(crate) fn start(
        flight: Flight,
        identities: watch::Receiver<Identity>,
        settle: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("millrace-canary".into()).spawn(move || {
            settle();
            runtime.block_on(async {
                tokio::select! {
                    () = fly(&flight, identities) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the canary's thread panicked");
        }
    }
}

/// Flies until it is dropped.
async fn fly(flight: &Flight, mut identities: watch::Receiver<Identity>) {
    let mut number = 0;
    loop {
        let identity = identities.borrow_and_update().clone();
        if let Ok(mut session) = Session::begin(flight, &identity).await {
            tokio::select! {
                () = session.run(flight, &mut number) => {}
                changed = identities.changed() => if changed.is_err() {
                    // The router has ended.
                    return;
                },
            }
        }
        sleep(AGAIN).await;
    }
}

/// One session, which the library keeps up over lost connections.
struct Session {
    publisher: Publisher,
    receiver: Receiver,
    router: RouterId,
}

impl Session {
    async fn begin(flight: &Flight, identity: &Identity) -> Result<Self, ConnectError> {
        let client = Client::new(config(flight.addr, identity))?;
        let receiver = client.receiver(ReceiverOptions::default()).await?;
        let selectors = CanaryEvent::selectors(flight.router);
        // Refused subscriptions show as probes without echoes.
        let _ = receiver.subscribe(selectors);
        let publisher = client.publisher(PublisherOptions::default().linger(Duration::ZERO)).await?;
        Ok(Self { publisher, receiver, router: flight.router })
    }

    /// Probes and answers until the receiver has ended.
    async fn run(&mut self, flight: &Flight, number: &mut u64) {
        let mut ticks = interval(flight.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    *number += 1;
                    let probe = CanaryEvent::Probe { from: self.router, number: *number };
                    flight.record.sent(*number, Instant::now(), &flight.linked());
                    // One that finds no room counts as lost.
                    let _ = self.publisher.try_publish(&CanaryEvent::probe_tags(*number), probe.payload());
                }
                item = self.receiver.next() => match item {
                    Some(Item::Event(event)) => {
                        let read = CanaryEvent::read(&event.tags, &event.payload);
                        self.heard(&flight.record, read);
                    }
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }

    fn heard(&self, record: &Record, event: Option<CanaryEvent>) {
        match event {
            Some(CanaryEvent::Probe { from, number }) => {
                let echo = CanaryEvent::Echo { from: self.router, number };
                // The one that asked counts an echo that finds no room as lost.
                let _ = self.publisher.try_publish(&CanaryEvent::echo_tags(from, number), echo.payload());
            }
            Some(CanaryEvent::Echo { from, number }) => record.answered(number, from, Instant::now()),
            None => {}
        }
    }
}

/// How the router reaches itself, with its own certificate.
fn config(addr: SocketAddr, identity: &Identity) -> Config {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let own = SocketAddr::new(ip, addr.port()).to_string();
    let shown = millrace_client::Identity {
        certificate_pem: identity.chain_pem().to_vec(),
        key_pem: identity.key_pem().to_vec(),
    };
    // A certificate for all hosts of a domain is one for this host, too.
    let name = identity.hosts().first().map(|host| host.replace('*', "canary"));
    Config::new(own.parse::<RouterAddress>())
        .trust(Trust::Pem(identity.ca_pem().as_bytes().to_vec()))
        .identity(shown)
        .server_name(name)
}
