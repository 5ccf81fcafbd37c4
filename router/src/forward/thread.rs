//! The forwarding thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millrace_certs::Identity;
use millrace_engine::forward::{Link, LinkInterest, LinkNumber};
use millrace_engine::matching::Taker;
use millrace_proto::ClusterId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::book::{Book, Seat};
use super::post::ForwardInbox;
use super::serving::serve;
use crate::clock::Clock;
use crate::config::ForwardEntry;
use crate::mail::Input;

/// How long links may write what waits when the router ends.
const FLUSH: Duration = Duration::from_millis(500);
/// Between two looks at whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Which links there are to be, and whom they show.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) entries: Vec<ForwardEntry>,
    pub(crate) identity: Identity,
}

/// What the thread is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) cluster: ClusterId,
    pub(crate) book: Arc<Book>,
    pub(crate) inbox: ForwardInbox,
    pub(crate) control: mpsc::Sender<Input>,
    pub(crate) orders: watch::Receiver<Orders>,
}

/// How the thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Links write what waits first, for half a second at most.
    InOrder,
    /// At once.
    Now,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Forwarder {
    stop: oneshot::Sender<End>,
    thread: JoinHandle<()>,
}

impl Forwarder {
    /// Starts the thread; `settle` is called on it first.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(parts: Parts, settle: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("millrace-forward".into()).spawn(move || {
            settle();
            runtime.block_on(Serving::new(parts).run(stopped));
            runtime.shutdown_background();
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self, end: End) {
        // A thread that has ended hears nothing.
        let _ = self.stop.send(end);
        if self.thread.join().is_err() {
            tracing::error!("the forwarding thread panicked");
        }
    }
}

struct Serving {
    parts: Parts,
    next: LinkNumber,
    tasks: BTreeMap<LinkNumber, AbortHandle>,
    identity: Option<Identity>,
}

impl Serving {
    const fn new(parts: Parts) -> Self {
        Self { parts, next: 0, tasks: BTreeMap::new(), identity: None }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<End>) {
        let book = self.parts.book.clone();
        self.apply().await;
        let end = loop {
            tokio::select! {
                biased;
                end = &mut stopped => break end.unwrap_or(End::Now),
                changed = self.parts.orders.changed() => match changed {
                    Ok(()) => self.apply().await,
                    Err(_) => break End::Now,
                },
                () = book.news.notified() => self.tell_control().await,
                Some((handed, share)) = self.parts.inbox.recv() => {
                    let seat = book.seats().get(&handed.link).cloned();
                    drop(share);
                    // A link that is gone takes nothing.
                    if let Some(seat) = seat {
                        seat.link().offer(handed);
                        seat.work.notify_one();
                    }
                }
            }
        };
        if end == End::InOrder {
            self.flush().await;
        }
        self.tasks.values().for_each(AbortHandle::abort);
    }

    /// Lets links write what waits.
    async fn flush(&mut self) {
        let end = Instant::now() + FLUSH;
        for seat in self.parts.book.all() {
            seat.link().hurry();
            seat.work.notify_one();
        }
        while let Ok((handed, _)) = self.parts.inbox.try_recv() {
            if let Some(seat) = self.parts.book.seats().get(&handed.link) {
                seat.link().offer(handed);
                seat.work.notify_one();
            }
        }
        while Instant::now() < end && !self.parts.book.all().iter().all(|seat| seat.link().is_idle()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Adds and removes links, so that there are those of the orders.
    async fn apply(&mut self) {
        let Orders { entries, identity } = self.parts.orders.borrow_and_update().clone();
        let renewed = self.identity.as_ref().is_some_and(|before| !before.is_same(&identity));
        self.identity = Some(identity.clone());
        for seat in self.parts.book.all() {
            let is_kept = entries.contains(&seat.entry);
            if is_kept && !renewed {
                continue;
            }
            if let Some(task) = self.tasks.remove(&seat.number) {
                task.abort();
            }
            if is_kept {
                // The link goes on with another certificate.
                seat.link().disconnected(
                    self.parts.clock.now(),
                    false,
                    "the certificate was renewed".to_owned(),
                );
                self.start(seat, identity.clone());
            } else {
                self.parts.book.seats().remove(&seat.number);
                self.file(seat.number, None).await;
                let bytes = seat.link().status(self.parts.clock.now()).counters.spooled_bytes;
                tracing::info!(
                    forward = seat.entry.name,
                    unsent_bytes = bytes,
                    "forwarding: the link is removed"
                );
            }
        }
        let present = self.parts.book.all();
        for entry in entries {
            if present.iter().any(|seat| seat.entry == entry) {
                continue;
            }
            let rule = match entry.rule() {
                Ok(rule) => rule,
                Err(problem) => {
                    tracing::error!(forward = entry.name, "forwarding: {problem}");
                    continue;
                }
            };
            let link = Link::new(rule, self.parts.cluster, self.parts.clock.now());
            let number = self.next;
            self.next = (number + 1) % Taker::PEER_PLACES_MAX;
            let seat = Arc::new(Seat::new(number, entry, link));
            self.parts.book.seats().insert(number, seat.clone());
            self.start(seat, identity.clone());
        }
        self.tell_control().await;
    }

    fn start(&mut self, seat: Arc<Seat>, identity: Identity) {
        let (number, book) = (seat.number, self.parts.book.clone());
        let task = tokio::spawn(serve(seat, book, self.parts.cluster, identity, self.parts.clock));
        self.tasks.insert(number, task.abort_handle());
    }

    /// Tells control what links take, where that has changed.
    async fn tell_control(&self) {
        for seat in self.parts.book.all() {
            let interest = seat.link().poll_interest();
            if let Some(interest) = interest {
                self.file(seat.number, Some(interest)).await;
            }
        }
    }

    async fn file(&self, link: LinkNumber, interest: Option<LinkInterest>) {
        // Without a reader the router ends.
        let _ = self.parts.control.send(Input::Link { link, interest }).await;
    }
}
