//! A client: one UDP socket, one configuration, any number of publishers and receivers.

use std::sync::Arc;

use millrace_proto::{ClusterId, PublisherSecret, TagSet};
use tokio::sync::Notify;

use crate::change::Changes;
use crate::config::Config;
use crate::connector::Connector;
use crate::error::ConnectError;
use crate::event::Event;
use crate::publisher::{self, Bundle, Publisher, PublisherOptions};
use crate::receiver::{self, Receiver, ReceiverOptions, SharedHub, SubscriptionStream};
use crate::relay::{self, Relayed};
use crate::requests::{self, AskError, Request, RequestEnd, Requester};

/// Makes publishers and receivers. Cheap to clone; all clones share a socket.
#[derive(Debug, Clone)]
pub struct Client {
    connector: Connector,
    /// The connection that its receivers and its publisher share.
    hub: Arc<SharedHub>,
}

impl Client {
    /// Opens the socket. To be called within a tokio runtime; connects to nothing yet.
    ///
    /// # Errors
    /// [`ConnectError::NoRouters`] or [`ConnectError::Socket`].
    pub fn new(config: Config) -> Result<Self, ConnectError> {
        Ok(Self { connector: Connector::new(config)?, hub: Arc::default() })
    }

    /// Connects a publisher.
    ///
    /// # Errors
    /// [`ConnectError`] when a router refuses, or none could be reached within
    /// [`Config::connect_within`]. Once connected, a publisher reconnects by itself.
    pub async fn publisher(&self, options: PublisherOptions) -> Result<Publisher, ConnectError> {
        publisher::connect(self.connector.clone(), &self.hub, options).await
    }

    /// Makes a bundle: publishers, and receivers beside them, that share one connection; the ids of
    /// the publishers follow from `secret`. It connects when it has its first publisher or
    /// receiver.
    #[must_use]
    pub fn bundle(&self, secret: PublisherSecret) -> Bundle {
        Bundle::new(self.connector.clone(), secret)
    }

    /// Connects a receiver; it has no subscriptions yet.
    ///
    /// # Errors
    /// [`ConnectError`] when a router refuses, none could be reached within
    /// [`Config::connect_within`], or the options ask for what no router does. Once connected, a
    /// receiver reconnects by itself.
    pub async fn receiver(&self, options: ReceiverOptions) -> Result<Receiver, ConnectError> {
        receiver::connect(self.connector.clone(), &self.hub, options).await
    }

    /// Connects a requester, on a connection of its own.
    ///
    /// # Errors
    /// As [`Client::receiver`].
    pub async fn requester(&self) -> Result<Requester, ConnectError> {
        requests::connect(self.connector.clone()).await
    }

    /// Asks once: publishes an event with these tags, whose receivers may reply, and waits for as
    /// many replies as `request` wants, or as can come. Who asks often keeps a
    /// [`requester`](Client::requester).
    ///
    /// # Errors
    /// [`AskError`] when no router is there, or the request cannot be asked.
    pub async fn request(
        &self,
        tags: &TagSet,
        payload: impl AsRef<[u8]>,
        request: Request,
    ) -> Result<(Vec<Event>, Option<RequestEnd>), AskError> {
        let requester = self.requester().await?;
        let mut replies = requester.request(tags, payload, request).await?;
        let mut events = Vec::new();
        while let Some(event) = replies.next().await {
            events.push(event);
        }
        Ok((events, replies.end()))
    }

    /// Subscribes to events that match any of the selectors, with a receiver for this subscription
    /// alone. Further ones cost no connection, because receivers share it.
    ///
    /// # Errors
    /// As [`Client::receiver`], and [`ConnectError::Subscribe`] when a selector cannot be read.
    pub async fn subscribe<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
        options: ReceiverOptions,
    ) -> Result<SubscriptionStream, ConnectError> {
        Ok(SubscriptionStream::new(self.receiver(options).await?, selectors)?)
    }

    /// Passes runs of other publishers on, from the cluster `cluster` to the one of this client's
    /// routers, until it is dropped: connects, and connects again. `work` is notified when there is
    /// something new to pass on.
    pub async fn relay(&self, cluster: ClusterId, relayed: &mut impl Relayed, work: &Notify) {
        relay::run(self.connector.clone(), cluster, relayed, work).await;
    }

    /// What happens to the connections of this client and its clones from here on: lost, troubled,
    /// attached.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.connector.changes())
    }

    /// Waits until the last packets of closed publishers and receivers have left, at most a second.
    /// For programs that exit.
    pub async fn close(self) {
        self.connector.close().await;
    }
}
