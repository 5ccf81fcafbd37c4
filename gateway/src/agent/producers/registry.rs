//! Finds or opens the producer of a caller.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::spool::{OpenError, Quota};
use millrace_client::{
    Bundle, Change, Changes, Client, ConfirmLevel, ConnectError, EventId, PublishError, PublisherOptions,
    SpoolOptions,
};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::caller::Caller;
use super::folders::{self, BAD, Key};
use super::producer::{NotTaken, Producer};
use super::secret;
use crate::agent::settings::{Overflow, SpoolSettings};
use crate::upstream::NewEvent;

/// Spools of users and of names, at most: each takes a few megabytes of the disk, and its share of
/// the agent's memory.
pub const PRODUCERS_MAX: usize = 64;

/// How often it is asked whether requests have ended, when the agent stops.
const HELD_PAUSE: Duration = Duration::from_millis(5);

/// Why the producers of an earlier agent cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProducersError {
    /// The folder.
    #[error("spool.folder: cannot use {}: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A spool that another process uses, or settings that no spool can have.
    #[error("spool.folder: {0}")]
    Spool(#[from] ConnectError),
}

/// All producers of the host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Producers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The connection of all producers.
    bundle: Arc<Bundle>,
    settings: SpoolSettings,
    /// What routers take the agent for, by its certificate.
    known_as: String,
    folder: PathBuf,
    quota: Quota,
    open: Mutex<Open>,
    /// One producer is opened at a time.
    opening: tokio::sync::Mutex<()>,
    has_shed: Arc<Notify>,
    is_attached: Arc<AtomicBool>,
    watching: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[derive(Debug, Default)]
struct Open {
    producers: BTreeMap<Key, Arc<Producer>>,
    following: Vec<AbortHandle>,
    next_index: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.following.iter().for_each(AbortHandle::abort);
    }
}

impl Producers {
    /// Opens the spools that are in `folder`, of an agent that routers take for `known_as`. What
    /// cannot be opened is set aside, named, and the others go on. To be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`ProducersError`]: the folder cannot be used, or another process uses one of its spools.
    pub async fn open(
        client: Client,
        known_as: String,
        settings: SpoolSettings,
        folder: PathBuf,
    ) -> Result<Self, ProducersError> {
        let failed = |source| ProducersError::Folder { folder: folder.clone(), source };
        let names = folders_in(&folder).map_err(failed)?;
        let secret = secret::of(&folder).map_err(failed)?;
        let quota = Quota::new(settings.max_bytes);
        let is_attached = Arc::new(AtomicBool::new(false));
        let inner = Inner {
            watching: tokio::spawn(watch(client.changes(), is_attached.clone())).abort_handle(),
            is_attached,
            bundle: Arc::new(client.bundle(secret)),
            known_as,
            settings,
            folder: folder.clone(),
            quota,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            has_shed: Arc::default(),
        };
        let producers = Self { inner: Arc::new(inner) };
        for (index, key, name) in names {
            let opened = producers.open_at(index, key, &folder.join(&name)).await;
            match opened {
                Ok(_) => {}
                Err(ConnectError::Spool(OpenError::Foreign { .. } | OpenError::Exposed { .. })) => {
                    producers.set_aside(&name).map_err(failed)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(producers)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The producer of a caller, with this level.
    ///
    /// # Errors
    /// [`NotTaken::Closed`]: its spool cannot be opened.
    pub async fn of(&self, caller: &Caller, level: ConfirmLevel) -> Result<Arc<Producer>, NotTaken> {
        let key = Key { name: caller.name().clone(), level };
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let _turn = self.inner.opening.lock().await;
        let is_full = self.lock().producers.len() >= PRODUCERS_MAX;
        let shared = Key { name: caller.shared().name().clone(), level };
        let key = if is_full && !caller.is_shared() { shared } else { key };
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let index = self.lock().next_index;
        let folder = self.inner.folder.join(folders::folder(index, &key));
        self.open_at(index, key, &folder).await.map_err(|error| NotTaken::Closed(error.to_string()))
    }

    fn find(&self, key: &Key) -> Option<Arc<Producer>> {
        self.lock().producers.get(key).cloned()
    }

    async fn open_at(&self, index: u64, key: Key, folder: &Path) -> Result<Arc<Producer>, ConnectError> {
        let Inner { bundle, settings, known_as, quota, has_shed, .. } = &*self.inner;
        // What the agent has to say about a full disk has its room before.
        let is_own = *key.name == **Caller::agent().name();
        let spool = SpoolOptions::new(folder)
            .config(settings.of_producer())
            .quota(quota.clone())
            .reserved(is_own)
            .known_as(known_as.clone());
        let options = PublisherOptions::default()
            .level(key.level)
            .linger(settings.linger)
            .report_settled(true)
            .spool(spool);
        let publisher = bundle.publisher(index, options).await?;
        if let Some(opened) = publisher.spool_opened() {
            let lost = opened.lost_events();
            if lost > 0 || !opened.set_aside.is_empty() || opened.identity_lost || opened.journal_lost {
                tracing::warn!(producer = &*key.name, lost, set_aside = ?opened.set_aside, "a spool is damaged");
            }
        }
        let producer = Arc::new(Producer::new(key.name.clone(), index, publisher));
        let following = tokio::spawn(producer.clone().follow(has_shed.clone()));
        let mut open = self.lock();
        open.next_index = open.next_index.max(index + 1);
        open.following.push(following.abort_handle());
        open.producers.insert(key, producer.clone());
        Ok(producer)
    }

    /// Renames a folder that is no spool.
    fn set_aside(&self, name: &str) -> io::Result<()> {
        let (from, to) = (self.inner.folder.join(name), self.inner.folder.join(format!("{name}{BAD}")));
        tracing::error!(folder = %from.display(), "a producer's folder is no spool, or open to others; set aside");
        fs::rename(from, to)
    }

    /// Puts an event into the spool of a producer. Where that is full and the oldest are to be
    /// given up, the producer that holds most gives way to one that has nothing to give.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn append(&self, producer: &Producer, event: &NewEvent) -> Result<EventId, NotTaken> {
        let on_full = self.inner.settings.on_full;
        let mut appended = producer.append(event);
        if let Err(PublishError::Refused(_)) = appended
            && on_full == Overflow::ShedOldest
            && self.make_room()
        {
            appended = producer.append(event);
        }
        appended.map_err(|error| {
            let not_taken = match (error, on_full) {
                (PublishError::Refused(full), Overflow::ShedNewest) => NotTaken::Shed(full),
                (PublishError::Refused(full), _) => NotTaken::Full(full),
                (PublishError::Store { kind }, _) => NotTaken::Disk(kind),
                (error, _) => NotTaken::Closed(error.to_string()),
            };
            let is_shed = matches!(not_taken, NotTaken::Shed(_));
            producer.note_refused(is_shed);
            if is_shed {
                self.inner.has_shed.notify_one();
            }
            not_taken
        })
    }

    /// The producer that holds most gives up its oldest events.
    fn make_room(&self) -> bool {
        let largest = self.all().into_iter().max_by_key(|producer| producer.spool_bytes());
        largest.is_some_and(|largest| largest.shed_oldest())
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Producer>> {
        self.lock().producers.values().cloned().collect()
    }

    /// The connection of all producers, on which there is room for receivers.
    #[must_use]
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.inner.bundle
    }

    /// Whether there is a router.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.inner.is_attached.load(Ordering::Relaxed)
    }

    /// What all spools may hold together, and hold.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.inner.quota
    }

    /// The settings of the spools.
    #[must_use]
    pub fn settings(&self) -> &SpoolSettings {
        &self.inner.settings
    }

    /// Waits until something is shed.
    pub(super) async fn has_shed(&self) {
        self.inner.has_shed.notified().await;
    }

    /// What was shed is to be told again.
    pub(super) fn tell_again(&self) {
        self.inner.has_shed.notify_one();
    }

    /// Waits until nothing is pending.
    async fn flushed(&self) {
        for producer in self.all() {
            producer.flushed().await;
        }
    }

    /// Gives what is pending the time of `grace` to leave, and closes all spools in order. What is
    /// left goes out when an agent opens them again. Nobody else may use them meanwhile.
    pub async fn close(self, grace: Duration) {
        // Without a router nothing leaves.
        if self.is_attached() {
            // What has not left in time stays.
            let _ = timeout(grace, self.flushed()).await;
        }
        let pending: u64 = self.all().iter().map(|producer| producer.stats().events.pending).sum();
        if pending > 0 {
            tracing::info!(pending, "events stay in the spool for the next start");
        }
        let producers = {
            let mut open = self.lock();
            open.following.drain(..).for_each(|following| following.abort());
            std::mem::take(&mut open.producers)
        };
        let closed = async {
            for producer in producers.into_values() {
                alone(producer).await.close().await;
            }
        };
        if timeout(grace, closed).await.is_err() {
            tracing::warn!(?grace, "spools are not closed in order; nothing that is written is lost");
        }
    }
}

/// Waits until no request holds a producer any more.
async fn alone(mut producer: Arc<Producer>) -> Producer {
    loop {
        match Arc::try_unwrap(producer) {
            Ok(alone) => return alone,
            Err(held) => producer = held,
        }
        sleep(HELD_PAUSE).await;
    }
}

/// Notes what happens to the connection.
async fn watch(mut changes: Changes, is_attached: Arc<AtomicBool>) {
    while let Some(change) = changes.next().await {
        match change {
            Change::Attached { router, away, .. } => {
                tracing::info!(%router, ?away, "attached");
                is_attached.store(true, Ordering::Relaxed);
            }
            Change::Nearer { router, from, to } => {
                tracing::info!(%router, ?from, ?to, "moves to a nearer router")
            }
            Change::Lost { reason } => {
                tracing::warn!(%reason, "connection lost; events wait in the spool");
                is_attached.store(false, Ordering::Relaxed);
            }
            Change::Trouble { reason, away } => {
                tracing::warn!(reason, ?away, "no router can be reached; events wait in the spool");
            }
            _ => {}
        }
    }
}

/// The folders of producers, by number; the folder that they are in is made where it is missing.
fn folders_in(folder: &Path) -> io::Result<Vec<(u64, Key, String)>> {
    DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if let Some((index, key)) = folders::read(&name) {
            found.push((index, key, name));
        }
    }
    found.sort();
    Ok(found)
}
