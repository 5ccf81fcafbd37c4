//! Makes the connections of receivers, and those that receivers and a publisher share.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::ClusterId;

use super::hub::{Hub, Place, Proof, SharedHub};
use super::options::{ReceiverConnection, ReceiverOptions};
use super::reading::Receiver;
use super::redundant::Redundant;
use super::state::Shared;
use super::task::Task;
use crate::apart::Apart;
use crate::attaching::Attaching;
use crate::connector::{Connector, Wants};
use crate::error::ConnectError;
use crate::publisher::{Carried, PublisherOptions};
use crate::session::Past;
use crate::session::plan::{PlanError, ReceiverWish};
use crate::session::receiver::WINDOW_BYTES;

/// The wants of a connection for one receiver.
const WANTS_ONE: Wants = Wants {
    receivers: 1,
    received_within: Duration::ZERO,
    share_deliveries: false,
    confirms: true,
    quench: false,
    more_publishers: 0,
    secret: None,
    cluster: ClusterId(0),
};

/// Connects a receiver, on a connection of its own or on the one of `shared`.
pub(crate) async fn connect(
    connector: Connector,
    shared: &SharedHub,
    options: ReceiverOptions,
) -> Result<Receiver, ConnectError> {
    // An error of trust or identity is told before any name is looked up.
    connector.check_tls()?;
    let wish = options.wish();
    let window_bytes = options.window_bytes.clamp(1, 2 * WINDOW_BYTES);
    let first = |hub: &Hub| hub.join(&wish, window_bytes)?.ok_or(PlanError::TooManyReceivers);
    if options.redundant {
        return connect_redundant(connector, wish, window_bytes, options).await;
    }
    if options.connection == ReceiverConnection::Own {
        let (_, shared) = begin(connector, WANTS_ONE, first).await?;
        return Ok(made(shared, options));
    }
    // Others that connect meanwhile wait here for this connection.
    let mut present = shared.lock().await;
    if let Some(hub) = present.upgrade()
        && let Some(shared) = hub.join(&wish, window_bytes)?
    {
        return Ok(made(shared, options));
    }
    // A publisher with the usual options may join it.
    let wants = Wants::shared(&PublisherOptions::default().wants());
    let (hub, shared) = begin(connector, wants, first).await?;
    *present = Arc::downgrade(&hub);
    Ok(made(shared, options))
}

/// Connects a receiver on two routers. It begins with one of them; the other session looks for a
/// second one as long as it takes.
async fn connect_redundant(
    connector: Connector,
    wish: ReceiverWish,
    window_bytes: u64,
    options: ReceiverOptions,
) -> Result<Receiver, ConnectError> {
    if wish.group.is_some() || !wish.name.is_empty() {
        return Err(ConnectError::RedundantMember);
    }
    let [here, there] = Apart::both();
    let clock = connector.clock();
    let join = |hub: &Hub| hub.join(&wish, window_bytes)?.ok_or(PlanError::TooManyReceivers);
    let attaching = Attaching::new(connector.clone(), WANTS_ONE).apart(here.clone());
    let (_, first) = begin_attaching(attaching, WANTS_ONE, join).await?;
    let hub = Arc::new(Hub::new(WANTS_ONE, String::new()));
    let second = join(&hub)?;
    // Only the first session asks for the past; the second is asked for what it misses later.
    let asks = options.since.is_some() || options.cursor.is_some() || options.newest;
    second.lock().past = Past::new(asks.then_some(Duration::ZERO), None, false);
    first.lock().past = Past::new(options.since, options.cursor, options.newest);
    let attaching = Attaching::insisting(connector, WANTS_ONE).apart(there.clone());
    tokio::spawn(Task::new(attaching, hub).run_unattached());
    let redundant = Redundant::new([first, second], [here, there], clock);
    Ok(Receiver::redundant(redundant, options.acknowledge))
}

/// Connects a receiver on a connection of its own, which has a place for a publisher that wants
/// `publisher`.
pub(crate) async fn connect_with_publisher(
    connector: Connector,
    options: ReceiverOptions,
    publisher: &Wants,
) -> Result<(Receiver, Arc<Hub>, Proof), ConnectError> {
    connector.check_tls()?;
    let wish = options.wish();
    let window_bytes = options.window_bytes.clamp(1, 2 * WINDOW_BYTES);
    let wants = Wants { receivers: 1, share_deliveries: false, ..Wants::shared(publisher) };
    let first = |hub: &Hub| match (hub.join(&wish, window_bytes)?, hub.reserve_publisher(publisher)) {
        (Some(shared), Place::Reserved(proof)) => Ok((shared, proof)),
        _ => Err(PlanError::TooManyReceivers),
    };
    let (hub, (shared, proof)) = begin(connector, wants, first).await?;
    shared.lock().is_inbox = true;
    Ok((made(shared, options), hub, proof))
}

/// A receiver as the application gets it.
fn made(shared: Arc<Shared>, options: ReceiverOptions) -> Receiver {
    shared.lock().past = Past::new(options.since, options.cursor, options.newest);
    Receiver::new(shared, options.acknowledge)
}

/// Makes a connection, which `first` joins as its first user.
pub(crate) async fn begin<T>(
    connector: Connector,
    wants: Wants,
    first: impl FnOnce(&Hub) -> Result<T, PlanError>,
) -> Result<(Arc<Hub>, T), ConnectError> {
    begin_attaching(Attaching::new(connector, wants), wants, first).await
}

/// Begins a connection of receivers and of what is `carried`, which looks for a router from here
/// on, and ends when all of them have.
pub(crate) fn begin_unattached(connector: Connector, wants: Wants, carried: Carried) -> Arc<Hub> {
    // Who publishes on it hears from the router itself whom that takes this client for.
    let hub = Arc::new(Hub::new(wants, String::new()));
    hub.join_publisher(carried);
    let attaching = Attaching::insisting(connector, wants);
    tokio::spawn(Task::new(attaching, hub.clone()).run_unattached());
    hub
}

/// A receiver on the connection of `hub`; `None` when that has ended.
///
/// # Errors
/// [`ConnectError::Receivers`] when the connection is full.
pub(crate) fn join(hub: &Hub, options: ReceiverOptions) -> Result<Option<Receiver>, ConnectError> {
    let window_bytes = options.window_bytes.clamp(1, 2 * WINDOW_BYTES);
    Ok(hub.join(&options.wish(), window_bytes)?.map(|shared| made(shared, options)))
}

/// As [`begin`], to a router that `attaching` finds.
async fn begin_attaching<T>(
    mut attaching: Attaching,
    wants: Wants,
    first: impl FnOnce(&Hub) -> Result<T, PlanError>,
) -> Result<(Arc<Hub>, T), ConnectError> {
    let (link, welcome) = *attaching.attach(None).await?;
    let hub = Arc::new(Hub::new(wants, welcome.identity.clone()));
    let first = first(&hub)?;
    tokio::spawn(Task::new(attaching, hub.clone()).run(link, welcome));
    Ok((hub, first))
}
