//! A link through the public client library, on one thread of tokio: what a user's program gets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use millrace_client::receiver::BatchItem;
use millrace_client::session::TagHandle;
use millrace_client::{
    Client, Config, ConfirmLevel, Connections, PublishError, Publisher, PublisherOptions, ReceiverConnection,
    ReceiverOptions, SpoolOptions, Trust,
};

use super::error::{DriveError, SETUP_MAX};
use super::events::{EVERYTHING, RECEIVER_QUEUE_BYTES, tags};
use super::link::{Link, TICK};
use crate::load::{Load, Shape};
use crate::server::{Folder, Server};

/// Bytes that a publisher queues at most, as for the other links.
const PUBLISHER_QUEUE_BYTES: usize = 4 << 20;

/// What publishers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// No level.
    None,
    /// Level `routed`.
    Routed,
    /// Level `delivered`.
    Delivered,
    /// Level `delivered`, on a spool with its defaults.
    Spooled,
}

/// The link.
#[derive(Debug)]
pub(crate) struct LibraryLink {
    runtime: tokio::runtime::Runtime,
    load: Arc<Mutex<Load>>,
    publishers: Vec<Publisher>,
    handles: Vec<TagHandle>,
    ended: Arc<AtomicBool>,
    /// Where publishers spool.
    _spools: Option<Folder>,
}

pub(super) fn lock(load: &Mutex<Load>) -> MutexGuard<'_, Load> {
    load.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn peer(error: impl std::fmt::Display) -> DriveError {
    DriveError::Peer(error.to_string())
}

/// A client of a server.
pub(super) fn client(server: &Server) -> Result<Client, DriveError> {
    let config = Config::new([server.address.to_string().parse().map_err(peer)?])
        .server_name("localhost".to_owned())
        .trust(Trust::Pem(server.ca_pem.as_bytes().to_vec()))
        .silence(Duration::from_secs(15));
    Client::new(config).map_err(peer)
}

impl LibraryLink {
    /// Connects and subscribes.
    pub(crate) fn connect(server: &Server, shape: Shape, promise: Promise) -> Result<Self, DriveError> {
        let spools = (promise == Promise::Spooled).then(Folder::new).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let load = Arc::new(Mutex::new(Load::new(shape)));
        let ended = Arc::new(AtomicBool::new(false));
        let set_up = async {
            let client = client(server)?;
            for number in 0..shape.receivers as usize {
                receive(&client, number, &load, &ended).await?;
            }
            let mut publishers = Vec::new();
            for number in 0..shape.publishers {
                let mut options = PublisherOptions::default()
                    .linger(Duration::ZERO)
                    .buffer_bytes(PUBLISHER_QUEUE_BYTES)
                    .connections(Connections::One);
                options = match promise {
                    Promise::None => options,
                    Promise::Routed => options.level(ConfirmLevel::Routed),
                    Promise::Delivered | Promise::Spooled => options.level(ConfirmLevel::Delivered),
                };
                if let Some(spools) = &spools {
                    options = options.spool(SpoolOptions::new(spools.0.join(number.to_string())));
                }
                publishers.push(client.publisher(options).await.map_err(peer)?);
            }
            let mut handles = Vec::new();
            for emitter in 0..shape.emitters as usize {
                let publisher = &publishers[emitter % publishers.len()];
                handles.push(publisher.register(&tags(emitter)).map_err(peer)?);
            }
            Ok::<_, DriveError>((publishers, handles))
        };
        let (publishers, handles) = runtime
            .block_on(async { tokio::time::timeout(SETUP_MAX, set_up).await })
            .map_err(|_| DriveError::Setup)??;
        Ok(Self { runtime, load, publishers, handles, ended, _spools: spools })
    }
}

/// Opens a receiver of everything, and a task that checks what it gets.
async fn receive(
    client: &Client,
    number: usize,
    load: &Arc<Mutex<Load>>,
    ended: &Arc<AtomicBool>,
) -> Result<(), DriveError> {
    let options =
        ReceiverOptions::default().queue_bytes(RECEIVER_QUEUE_BYTES).connection(ReceiverConnection::Own);
    let mut receiver = client.receiver(options).await.map_err(peer)?;
    let mut subscription = receiver.subscribe([EVERYTHING]).map_err(peer)?;
    subscription.in_cluster().await.map_err(peer)?;
    let (load, ended) = (Arc::clone(load), Arc::clone(ended));
    tokio::spawn(async move {
        let _subscription = subscription;
        while let Some(batch) = receiver.next_batch().await {
            let mut load = lock(&load);
            let now_ns = load.ns(Instant::now());
            for item in batch.iter() {
                if let BatchItem::Event(event) = item {
                    load.deliver(number, event.payload, now_ns);
                }
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Turns for as long as `wait`: lets `act` do what the load allows, and the other tasks go on.
pub(super) async fn turn(
    load: &Mutex<Load>,
    wait: Duration,
    mut act: impl AsyncFnMut() -> Result<(), DriveError>,
) -> Result<(), DriveError> {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        act().await?;
        if lock(load).is_open() {
            // The timer wheel's milliseconds are too coarse for the schedule.
            let next = Instant::now() + TICK;
            while Instant::now() < next {
                tokio::task::yield_now().await;
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

impl LibraryLink {
    fn publish(
        load: &Mutex<Load>,
        publishers: &[Publisher],
        handles: &[TagHandle],
    ) -> Result<(), DriveError> {
        let mut load = lock(load);
        let now = Instant::now();
        for _ in 0..load.budget(now) {
            let (emitter, time_ns, payload) = load.next(now);
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns);
            match publishers[emitter % publishers.len()].try_publish_at(handles[emitter], time, payload) {
                Ok(_) => load.taken(),
                Err(PublishError::WouldBlock) => break,
                Err(error) => return Err(peer(error)),
            }
        }
        Ok(())
    }
}

impl Link for LibraryLink {
    fn with_load(&mut self, f: &mut dyn FnMut(&mut Load)) {
        f(&mut lock(&self.load));
    }

    fn turn(&mut self, wait: Duration) -> Result<(), DriveError> {
        let (load, publishers, handles) = (&self.load, &self.publishers, &self.handles);
        let publish = async || Self::publish(load, publishers, handles);
        self.runtime.block_on(turn(load, wait, publish))?;
        if self.ended.load(Ordering::Relaxed) {
            return Err(DriveError::Peer("a receiver has ended".into()));
        }
        Ok(())
    }
}
