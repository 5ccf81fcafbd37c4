//! Receivers of beats, each with a connection of its own, and the publisher of beats.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use millrace_client::{Client, Config, PublisherOptions, ReceiverConnection, ReceiverOptions, TagSet, Trust};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::clients::until;
use super::ear::{Heard, listen};
use super::error::FeatureError;
use crate::clock::Clock;
use crate::cluster::Cluster;

/// Receivers that connect at a time.
const CONNECT_AT_ONCE: usize = 64;
/// Receivers that share a socket: each socket takes 2 MiB here, and a beat to all of its receivers
/// has to fit into its buffer.
const CONNECTIONS_PER_SOCKET: usize = 50;
/// How long a receiver may take to connect, while thousands do.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);
/// How long all may take to have their first beat.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
/// The tag of what is published, and the selector of receivers.
const TAG: &str = "crowd=beat";

/// Connects `count` receivers by clients that `make` makes. They live as long as those, which are
/// returned.
pub(super) async fn connect(
    make: impl Fn() -> Result<Client, FeatureError>,
    count: usize,
    clock: Clock,
    heard: &Rc<RefCell<Heard>>,
) -> Result<Vec<Client>, FeatureError> {
    let sockets = count.div_ceil(CONNECTIONS_PER_SOCKET);
    let clients = (0..sockets).map(|_| make()).collect::<Result<Vec<_>, _>>()?;
    stream::iter(0..count)
        .map(|number| receiver(&clients[number / CONNECTIONS_PER_SOCKET], number, clock, Rc::clone(heard)))
        .buffer_unordered(CONNECT_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(clients)
}

/// Waits until all have had a beat.
pub(super) async fn all_have_begun(count: usize, heard: &RefCell<Heard>) -> Result<(), FeatureError> {
    if until(BEGIN_WITHIN, || heard.borrow().begun == count as u64).await {
        return Ok(());
    }
    let within_s = BEGIN_WITHIN.as_secs();
    Err(FeatureError::Late { what: "not every receiver had an event", within_s })
}

/// A client as programs have it: it knows one router, and hears of the others from it.
pub(super) fn client(cluster: &Cluster, router: usize) -> Result<Client, FeatureError> {
    let target = &cluster.targets()[router];
    let address = target.address.to_string().parse().map_err(FeatureError::client)?;
    let config = Config::new([address])
        .trust(Trust::Pem(cluster.ca_pem().to_vec()))
        .server_name(target.server_name.clone())
        .connect_within(CONNECT_WITHIN);
    Client::new(config).map_err(FeatureError::client)
}

/// A receiver with a connection of its own.
async fn receiver(
    client: &Client,
    number: usize,
    clock: Clock,
    heard: Rc<RefCell<Heard>>,
) -> Result<(), FeatureError> {
    let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
    let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
    let mut subscription = receiver.subscribe([TAG]).map_err(FeatureError::client)?;
    subscription.in_cluster().await.map_err(FeatureError::client)?;
    tokio::task::spawn_local(listen(receiver, number, clock, heard));
    Ok(())
}

/// Publishes numbered beats until it is aborted.
pub(super) async fn beat(
    client: Client,
    rate: u32,
    published: Rc<Cell<u64>>,
) -> Result<tokio::task::JoinHandle<()>, FeatureError> {
    let options = PublisherOptions::default().linger(Duration::ZERO);
    let publisher = client.publisher(options).await.map_err(FeatureError::client)?;
    let tags = TagSet::from_texts([TAG]).map_err(FeatureError::client)?;
    Ok(tokio::task::spawn_local(async move {
        let _client = client;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut payload = [b'.'; PAYLOAD_BYTES_MIN];
        loop {
            ticks.tick().await;
            let n = published.get();
            if (Stamp { emitter: 0, n, scheduled_ns: 0 }).stamp_again(&mut payload).is_err()
                || publisher.publish(&tags, payload.to_vec()).await.is_err()
            {
                return;
            }
            published.set(n + 1);
        }
    }))
}
