//! Several publishers on one connection, and receivers beside them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;
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
use crate::connector::{Connector, Wants};
use crate::error::ConnectError;
use crate::receiver::{self, Hub, Receiver, ReceiverConnection, ReceiverOptions, SharedHub};
use crate::session::plan::PlanError;
use crate::session::publisher::NUMBERS_MAX;

/// How long the router may take to say what it has received.
const RECEIVED_WITHIN: Duration = Duration::from_secs(1);

/// Publishers that share one connection to a router, at most
/// [`BUNDLE_PUBLISHERS_MAX`](super::BUNDLE_PUBLISHERS_MAX) at a time: for a program that publishes
/// for several sources, each of which is to have ids, seqs, and a spool of its own.
///
/// Made by [`Client::bundle`](crate::Client::bundle). The ids of all of them follow from one secret
/// and an index for each. The connection begins with the first publisher or receiver, and none
/// waits for it to begin. It ends when the bundle is dropped and all of them are closed. What makes
/// a router leave one publisher unread, such as a receiver that blocks it, holds up the others,
/// too; the bundle's own receivers hold up nobody.
#[derive(Debug)]
pub struct Bundle {
    connector: Connector,
    secret: PublisherSecret,
    entrance: Arc<Entrance>,
    /// The connection, once it has begun.
    hub: OnceLock<Arc<Hub>>,
}

impl Bundle {
    pub(crate) fn new(connector: Connector, secret: PublisherSecret) -> Self {
        Self { connector, secret, entrance: Arc::default(), hub: OnceLock::new() }
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

    /// Adds a receiver, which has no subscriptions yet. It does not wait for a router either: what
    /// it subscribes to says when that is effective. To be called within a tokio runtime.
    ///
    /// `options` that ask for connections of the receiver's own
    /// ([`connection`](ReceiverOptions::connection), [`redundant`](ReceiverOptions::redundant))
    /// make them, as [`Client::receiver`](crate::Client::receiver) does.
    ///
    /// # Errors
    /// [`ConnectError::Receivers`] when the connection has no room for another one; as
    /// [`Client::receiver`](crate::Client::receiver) otherwise.
    pub async fn receiver(&self, options: ReceiverOptions) -> Result<Receiver, ConnectError> {
        if options.redundant || options.connection == ReceiverConnection::Own {
            return receiver::connect(self.connector.clone(), &SharedHub::default(), options).await;
        }
        self.connector.check_tls()?;
        let joined = receiver::join(self.hub(), options)?;
        // The bundle holds its connection.
        joined.ok_or(ConnectError::Receivers(PlanError::TooManyReceivers))
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
        self.hub();
    }

    /// The connection, which begins with the first call.
    fn hub(&self) -> &Arc<Hub> {
        self.hub.get_or_init(|| {
            let wants = Wants {
                receivers: RECEIVERS_PER_CONNECTION_MAX,
                received_within: RECEIVED_WITHIN,
                share_deliveries: true,
                confirms: true,
                more_publishers: NUMBERS_MAX - 1,
                secret: Some(self.secret),
                ..Wants::default()
            };
            let bundled = Bundled::new(self.entrance.clone(), self.secret);
            let carried = Carried::Bundle(Box::new(bundled));
            receiver::begin_unattached(self.connector.clone(), wants, carried)
        })
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.entrance.close();
    }
}
