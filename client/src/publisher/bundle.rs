//! Several publishers on one connection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace_proto::{PublisherId, PublisherKey, PublisherSecret};
use tokio::sync::Notify;

use super::bundled::{BUNDLE_PUBLISHERS_MAX, Bundled, Entrance, Seat};
use super::carried::Carried;
use super::connect::check_tls;
#[cfg(all(unix, feature = "spool"))]
use super::connect::{begin_spooled, open_spool};
use super::epoch::new_epoch;
use super::feed::Feed;
use super::options::PublisherOptions;
use super::publishing::Publisher;
use super::spooling::SpoolOptions;
use super::task::Task;
use crate::attaching::Attaching;
use crate::connector::{Connector, Wants};
use crate::error::ConnectError;
use crate::session::publisher::NUMBERS_MAX;

/// How long the router may take to say what it has received.
const RECEIVED_WITHIN: Duration = Duration::from_secs(1);

/// Publishers that share one connection to a router, at most
/// [`BUNDLE_PUBLISHERS_MAX`](super::BUNDLE_PUBLISHERS_MAX) at a time: for a program that publishes
/// for several sources, each of which is to have ids, seqs, and a spool of its own.
///
/// Made by [`Client::bundle`](crate::Client::bundle). The ids of all of them follow from one secret
/// and an index for each. The connection begins with the first publisher, and no publisher waits
/// for it to begin. It ends when the bundle is dropped and all publishers are closed. What makes a
/// router leave one of them unread, such as a receiver that blocks it, holds up the others, too.
#[derive(Debug)]
pub struct Bundle {
    connector: Connector,
    secret: PublisherSecret,
    entrance: Arc<Entrance>,
    /// Set when the task of the connection was started.
    started: OnceLock<()>,
}

impl Bundle {
    pub(crate) fn new(connector: Connector, secret: PublisherSecret) -> Self {
        Self { connector, secret, entrance: Arc::default(), started: OnceLock::new() }
    }

    /// Adds a publisher, whose id follows from the bundle's secret and `index`. To be called within
    /// a tokio runtime.
    ///
    /// Of `options`, those of the connection have no effect (`connections`, `secret`, `shard`,
    /// `received_within`), nor has `quench`. A spool that was made with another secret keeps its
    /// id, and a connection of its own.
    ///
    /// # Errors
    /// [`ConnectError::BundleFull`]; [`ConnectError::Spool`] when the spool cannot be opened;
    /// [`ConnectError::Standby`] for a member of a standby set;
    /// [`ConnectError::RedundantPublisher`] for one on two routers.
    pub async fn publisher(&self, index: u64, options: PublisherOptions) -> Result<Publisher, ConnectError> {
        check_tls(&self.connector, &options)?;
        if options.standby.is_some() {
            let reason = "a member of a standby set has a connection of its own, and none of a bundle";
            return Err(ConnectError::Standby(reason.to_owned()));
        }
        if options.redundant {
            return Err(ConnectError::RedundantPublisher { other: "is in no bundle" });
        }
        let full = ConnectError::BundleFull { max: BUNDLE_PUBLISHERS_MAX };
        let seat = self.entrance.seat().ok_or(full)?;
        let options = options.received_within(RECEIVED_WITHIN);
        match options.spool.clone() {
            None => Ok(self.in_memory(index, &options, seat)),
            Some(spool) => self.on_spool(spool.publishes_as(self.secret, index), options, seat).await,
        }
    }

    fn in_memory(&self, index: u64, options: &PublisherOptions, seat: Seat) -> Publisher {
        // Until a router has said for whom it takes this client.
        let publisher = PublisherId::derive(&self.secret, "", index);
        let key = PublisherKey { publisher, epoch: new_epoch() };
        let progress = Arc::new(Notify::new());
        let served_by = (self.connector.clock(), self.entrance.work.clone());
        let feed = Feed::in_bundle(key, index, options, served_by, progress.clone());
        self.join(seat, &feed);
        Publisher::new(vec![feed], progress)
    }

    #[cfg(all(unix, feature = "spool"))]
    async fn on_spool(
        &self,
        spool: SpoolOptions,
        options: PublisherOptions,
        seat: Seat,
    ) -> Result<Publisher, ConnectError> {
        let (store, opened) = open_spool(spool).await?;
        if store.spool().identity().secret != self.secret {
            return Ok(begin_spooled(self.connector.clone(), store, opened, options));
        }
        let progress = Arc::new(Notify::new());
        let served_by = (self.connector.clock(), self.entrance.work.clone());
        let feed = Feed::on_spool_in_bundle(store, &options, served_by, progress.clone());
        self.join(seat, &feed);
        Ok(Publisher::spooled(feed, opened, progress))
    }

    #[cfg(not(all(unix, feature = "spool")))]
    async fn on_spool(
        &self,
        _: SpoolOptions,
        _: PublisherOptions,
        _: Seat,
    ) -> Result<Publisher, ConnectError> {
        Err(ConnectError::NoSpools)
    }

    fn join(&self, seat: Seat, feed: &Feed) {
        self.entrance.join(seat, feed.shared.clone());
        self.started.get_or_init(|| self.start());
    }

    /// Starts the task of the connection.
    fn start(&self) {
        let wants = Wants {
            received_within: RECEIVED_WITHIN,
            confirms: true,
            more_publishers: NUMBERS_MAX - 1,
            secret: Some(self.secret),
            ..Wants::default()
        };
        let attaching = Attaching::insisting(self.connector.clone(), wants);
        let bundled = Bundled::new(self.entrance.clone(), self.secret);
        let task = Task { attaching, carried: Carried::Bundle(Box::new(bundled)) };
        tokio::spawn(task.run(None));
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.entrance.close();
    }
}
