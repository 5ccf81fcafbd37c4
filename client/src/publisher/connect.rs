//! Makes the connections of a publisher.

use std::sync::Arc;

use millrace_proto::{PublisherId, PublisherKey, PublisherSecret, Shard};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::epoch::new_epoch;
use super::feed::{Feed, FirstConnection};
use super::options::{CONNECTIONS_MAX, Connections, PublisherOptions};
use super::publishing::Publisher;
use super::redundant;
use super::spooling::SpoolOptions;
#[cfg(all(unix, feature = "spool"))]
use super::standing;
use crate::attaching::Attaching;
use crate::connector::{Connector, Wants, close_done};
use crate::error::ConnectError;
use crate::receiver::{Hub, Place, Proof, SharedHub, begin};
use crate::session::plan::PlanError;
#[cfg(all(unix, feature = "spool"))]
use crate::spool::{DiskStorage, Opened, SpoolStore};
use crate::tls::TlsError;

/// The size at which runs of a spool are cut, as of those in memory.
#[cfg(all(unix, feature = "spool"))]
const FLUSH_BYTES: usize = 16 * 1024;

/// Connects a publisher: on the connection of `hub`, if it can be, or on its own ones.
pub(crate) async fn connect(
    connector: Connector,
    hub: &SharedHub,
    options: PublisherOptions,
) -> Result<Publisher, ConnectError> {
    check_tls(&connector, &options)?;
    if options.redundant {
        return redundant::connect(connector, options).await;
    }
    if let Some(spool) = options.spool.clone() {
        return connect_spooled(connector, spool, options).await;
    }
    if let Some(standby) = &options.standby {
        standby.wish.check().map_err(ConnectError::Standby)?;
    }
    if options.connections == Connections::Shared
        && options.standby.is_none()
        && options.shard.is_none()
        && !options.level.is_confirmed()
        && let Some(publisher) = connect_shared(&connector, hub, &options).await?
    {
        return Ok(publisher);
    }
    connect_own(connector, options).await
}

/// The caller hears of a wrong certificate or authority before any name is looked up.
pub(super) fn check_tls(connector: &Connector, options: &PublisherOptions) -> Result<(), TlsError> {
    match connector.check_tls() {
        // A router in dev mode writes its authority when it starts, which may be later.
        Err(TlsError::NoDevAuthority { .. }) if options.spool.is_some() => Ok(()),
        outcome => outcome,
    }
}

/// Joins the connection that a client's receivers share, or begins it. `None` when that one has no
/// place for this publisher.
async fn connect_shared(
    connector: &Connector,
    hub: &SharedHub,
    options: &PublisherOptions,
) -> Result<Option<Publisher>, ConnectError> {
    let wants = options.wants();
    // Publishers and receivers that come while the connection is made wait for it here.
    let mut present = hub.lock().await;
    let known = present.upgrade().map(|hub| (hub.reserve_publisher(&wants), hub));
    let (proof, hub) = match known {
        Some((Place::Reserved(proof), hub)) => (proof, hub),
        Some((Place::Taken, _)) => return Ok(None),
        Some((Place::Ended, _)) | None => {
            let reserve = |hub: &Hub| match hub.reserve_publisher(&wants) {
                Place::Reserved(proof) => Ok(proof),
                Place::Taken | Place::Ended => Err(PlanError::TooManyReceivers),
            };
            let (hub, proof) = begin(connector.clone(), Wants::shared(&wants), reserve).await?;
            *present = Arc::downgrade(&hub);
            (proof, hub)
        }
    };
    drop(present);
    Ok(Some(join_hub(connector, &hub, &proof, options)))
}

/// A publisher on a connection whose place for one was reserved.
pub(crate) fn join_hub(
    connector: &Connector,
    hub: &Hub,
    Proof { secret, identity }: &Proof,
    options: &PublisherOptions,
) -> Publisher {
    let progress = Arc::new(Notify::new());
    let key = PublisherKey { publisher: PublisherId::derive(secret, identity, 0), epoch: new_epoch() };
    let (feed, carried) = Feed::on_shared(key, options, connector.clock(), progress.clone());
    hub.join_publisher(carried);
    Publisher::new(vec![feed], progress)
}

/// Connects a publisher first to any router, then, where it is to have more connections, to the
/// other cores of that router.
async fn connect_own(connector: Connector, mut options: PublisherOptions) -> Result<Publisher, ConnectError> {
    let shard = match options.connections {
        Connections::Shared | Connections::One => options.shard,
        Connections::Exactly(number) if number.get() == 1 => options.shard,
        Connections::PerCore | Connections::Exactly(_) => Some(shard_of_core(0)),
    };
    let shares =
        options.standby.is_some() && !matches!(options.connections, Connections::Shared | Connections::One);
    if shares {
        return Err(ConnectError::Standby("a member of a set has one connection".to_owned()));
    }
    let secret = *options.secret.get_or_insert_with(|| PublisherSecret(rand::random()));
    let wants = options.wants();
    let mut attaching = Attaching::new(connector.clone(), wants);
    let (link, welcome) = *attaching.attach(shard).await?;
    if wants.confirms && !link.session.confirms() {
        close_done(&link);
        return Err(ConnectError::ConfirmsUnavailable { router: link.place.router });
    }
    if options.standby.is_some() && !link.session.sets() {
        close_done(&link);
        return Err(ConnectError::StandbyUnavailable { router: link.place.router });
    }
    let count = match options.connections {
        Connections::Shared | Connections::One => 1,
        Connections::PerCore => welcome.cores.clamp(1, CONNECTIONS_MAX),
        Connections::Exactly(number) => number.get().min(CONNECTIONS_MAX),
    };
    let place = link.place.clone();
    let mut firsts = vec![(0, FirstConnection { attaching, link, welcome, shard })];
    let mut attempts: JoinSet<Result<(u16, FirstConnection), ConnectError>> = JoinSet::new();
    for core in 1..count {
        let (connector, place) = (connector.on_own_socket()?, place.clone());
        attempts.spawn(async move {
            let shard = Some(shard_of_core(core));
            let (mut link, welcome) = connector.connect_to(&place, shard, wants).await?;
            let mut attaching = Attaching::new(connector, wants);
            attaching.begin_attached(&mut link, &welcome);
            Ok((core, FirstConnection { attaching, link, welcome, shard }))
        });
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(first) => firsts.push(first?),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    firsts.sort_by_key(|(core, _)| *core);
    let progress = Arc::new(Notify::new());
    let epoch = new_epoch();
    let start = |(core, first): (u16, FirstConnection)| {
        let index = u64::from(core);
        let publisher = PublisherId::derive(&secret, &first.welcome.identity, index);
        Feed::start(first, PublisherKey { publisher, epoch }, index, &options, progress.clone())
    };
    let feeds = firsts.into_iter().map(start).collect();
    Ok(Publisher::new(feeds, progress))
}

/// Opens a publisher's spool. It looks for a router from here on.
#[cfg(all(unix, feature = "spool"))]
async fn connect_spooled(
    connector: Connector,
    spool: SpoolOptions,
    mut options: PublisherOptions,
) -> Result<Publisher, ConnectError> {
    let (store, opened) = open_spool(spool).await?;
    if let (Some(standby), Some(spool)) = (&mut options.standby, &options.spool) {
        standby.wish.known = standing::remembered(&spool.folder, &standby.wish.set);
    }
    Ok(begin_spooled(connector, store, opened, options))
}

/// Opens a spool, on a thread that may wait for the disk.
#[cfg(all(unix, feature = "spool"))]
pub(super) async fn open_spool(
    spool: SpoolOptions,
) -> Result<(SpoolStore<DiskStorage>, Opened), ConnectError> {
    let opening = tokio::task::spawn_blocking(move || spool.open());
    let (spool, opened) = match opening.await {
        Ok(opening) => opening?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    Ok((SpoolStore::new(spool, FLUSH_BYTES), opened))
}

/// A publisher on a spool, with a connection of its own.
#[cfg(all(unix, feature = "spool"))]
pub(super) fn begin_spooled(
    connector: Connector,
    store: SpoolStore<DiskStorage>,
    opened: Opened,
    mut options: PublisherOptions,
) -> Publisher {
    options.secret = Some(store.spool().identity().secret);
    let attaching = Attaching::insisting(connector, options.wants());
    let progress = Arc::new(Notify::new());
    let feed = Feed::on_spool(attaching, store, &options, progress.clone());
    Publisher::spooled(feed, opened, progress)
}

#[cfg(not(all(unix, feature = "spool")))]
async fn connect_spooled(
    _: Connector,
    _: SpoolOptions,
    _: PublisherOptions,
) -> Result<Publisher, ConnectError> {
    Err(ConnectError::NoSpools)
}

/// A shard that steers to the core of this index, whatever number of cores the router has above it.
fn shard_of_core(core: u16) -> Shard {
    Shard::of_hash(u64::from(core))
}
