//! A connection for publishing: it is made as soon as a router can be reached, and kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace_client::{
    Change, Client, Config, ConfirmLevel, ConnectError, Connections, Publisher, PublisherOptions,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::outgoing::Unavailable;

/// Bytes of events under way on a line. An event counts for 256 bytes at least, so that no more
/// than the 65,536 events are under way that a publisher keeps.
pub(super) const ROOM_BYTES: usize = 16 << 20;
/// The publisher's own bound. It counts less for an event than a line does, so that a publisher
/// always has room for what the line lets through.
const BUFFER_BYTES: usize = 2 * ROOM_BYTES;
/// A router that refuses is asked again after this time, because its operator may be about to admit
/// the gateway.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);

/// A publisher, from the first router that can be reached to the gateway's end.
#[derive(Debug)]
pub struct Line {
    publisher: OnceLock<Publisher>,
    is_attached: AtomicBool,
    /// Room of events under way, in bytes.
    pub(super) room: Arc<Semaphore>,
}

impl Line {
    /// A line that is not connected yet, and the task that connects and watches it.
    pub(super) fn open(
        config: Config,
        level: ConfirmLevel,
    ) -> Result<(Arc<Self>, JoinHandle<()>), ConnectError> {
        let client = Client::new(config)?;
        let line = Arc::new(Self {
            publisher: OnceLock::new(),
            is_attached: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(ROOM_BYTES)),
        });
        let keeping = tokio::spawn(keep(line.clone(), client, level));
        Ok((line, keeping))
    }

    /// The publisher, if a router can be reached.
    ///
    /// # Errors
    /// [`Unavailable::NoRouter`].
    pub fn publisher(&self) -> Result<&Publisher, Unavailable> {
        self.publisher.get().filter(|_| self.is_attached()).ok_or(Unavailable::NoRouter)
    }

    /// The publisher, even while it looks for another router: what it takes goes out later.
    pub(super) fn begun(&self) -> Option<&Publisher> {
        self.publisher.get()
    }

    /// Whether there is a connection.
    pub fn is_attached(&self) -> bool {
        self.is_attached.load(Ordering::Relaxed)
    }
}

/// Connects a line, then notes what happens to its connection.
async fn keep(line: Arc<Line>, client: Client, level: ConfirmLevel) {
    let mut changes = client.changes();
    let options = PublisherOptions::default()
        // Neighbours come by themselves under load, and nobody waits for them otherwise.
        .linger(Duration::ZERO)
        .buffer_bytes(BUFFER_BYTES)
        .resend(true)
        .level(level)
        .connections(Connections::One);
    let mut told = String::new();
    let publisher = loop {
        match client.publisher(options.clone()).await {
            Ok(publisher) => break publisher,
            Err(error) => {
                let text = error.to_string();
                if text != told {
                    tracing::warn!(%error, "no router; trying again");
                    told = text;
                }
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    };
    // Nobody else sets it.
    let _ = line.publisher.set(publisher);
    line.is_attached.store(true, Ordering::Relaxed);
    while let Some(change) = changes.next().await {
        match change {
            Change::Attached { router, away, .. } => {
                tracing::info!(%router, ?away, ?level, "attached");
                line.is_attached.store(true, Ordering::Relaxed);
            }
            Change::Nearer { router, from, to } => {
                tracing::info!(%router, ?from, ?to, ?level, "moves to a nearer router")
            }
            Change::Lost { reason } => {
                tracing::warn!(%reason, ?level, "connection lost");
                line.is_attached.store(false, Ordering::Relaxed);
            }
            Change::Trouble { reason, away } => tracing::warn!(reason, ?away, "no router can be reached"),
            _ => {}
        }
    }
}
