//! The spool of a publisher: where it is, and its settings.

use std::path::PathBuf;

use millrace_proto::PublisherSecret;

use crate::setters::setters;
#[cfg(all(unix, feature = "spool"))]
use crate::spool::{DiskStorage, Identity, OpenError, Opened, Spool};
use crate::spool::{Quota, SpoolConfig};

/// The spool of one publisher ([`PublisherOptions::spool`](super::PublisherOptions::spool)).
///
/// ```
/// use millrace_client::spool::{OnFull, SpoolConfig};
/// use millrace_client::{PublisherOptions, SpoolOptions};
///
/// let config = SpoolConfig { max_bytes: 256 << 20, on_full: OnFull::ShedOldest, ..SpoolConfig::default() };
/// let options = PublisherOptions::default().spool(SpoolOptions::new("/var/lib/app/spool").config(config));
/// assert!(options.spool.is_some());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SpoolOptions {
    /// The folder, which is made when it is missing (not the one above it). It belongs to one
    /// process at a time.
    pub folder: PathBuf,
    /// Bounds, what happens when they are met, and when what was written is synced.
    pub config: SpoolConfig,
    /// What this spool and others may hold together. Default none: `config` alone bounds it.
    pub quota: Option<Quota>,
    /// Whether the space of a segment is taken when the spool is opened, so that there is room for
    /// events when the disk is full later. Default `false`.
    pub reserved: bool,
    /// What routers take the client for, as far as that is known before the first connection: the
    /// name in its certificate, say. Ids of events follow from it. Default nobody: they are right
    /// once a router was reached.
    pub known_as: String,
    /// Whom a new spool belongs to: somebody new, or who has this secret and index.
    #[cfg_attr(
        not(all(unix, feature = "spool")),
        expect(dead_code, reason = "spools are opened with the feature alone")
    )]
    owner: Option<(PublisherSecret, u64)>,
}

impl SpoolOptions {
    /// A spool in `folder`, with the default settings.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            config: SpoolConfig::default(),
            quota: None,
            reserved: false,
            known_as: String::new(),
            owner: None,
        }
    }

    /// A new spool belongs to the publisher of this secret and index.
    pub(super) fn publishes_as(self, secret: PublisherSecret, index: u64) -> Self {
        Self { owner: Some((secret, index)), ..self }
    }

    setters! {
        config: SpoolConfig,
        quota: impl Into<Option<Quota>>,
        reserved: bool,
        known_as: impl Into<String>,
    }

    /// Opens the spool. Blocks for as long as the disk takes.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn open(self) -> Result<(Spool<DiskStorage>, Opened), OpenError> {
        let storage = DiskStorage::open(&self.folder)?;
        let storage = match self.quota {
            Some(quota) => storage.within(quota)?,
            None => storage,
        };
        let somebody = Identity::random();
        let owner = match self.owner {
            Some((secret, index)) => Identity { secret, index, ..somebody },
            None => somebody,
        };
        let (mut spool, opened) = Spool::open(storage, self.config, owner)?;
        if self.reserved
            && let Some(full) = spool.reserve_segment()?
        {
            tracing::warn!("no room is reserved for a spool: {full}");
        }
        Ok((spool, opened))
    }
}
