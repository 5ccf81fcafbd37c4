//! Makes the connections of a publisher.

use std::sync::Arc;

use millrace_proto::{Epoch, PublisherId, PublisherKey, PublisherSecret, Shard, varint};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::feed::{Feed, FirstConnection};
use super::options::{CONNECTIONS_MAX, Connections, PublisherOptions};
use super::publishing::Publisher;
use crate::attaching::Attaching;
use crate::connector::Connector;
use crate::error::ConnectError;

/// Connects a publisher: first to any router, then, where it is to have more connections, to the
/// other cores of that router.
pub(crate) async fn connect(
    connector: Connector,
    mut options: PublisherOptions,
) -> Result<Publisher, ConnectError> {
    let shard = match options.connections {
        Connections::One => options.shard,
        Connections::Exactly(number) if number.get() == 1 => options.shard,
        Connections::PerCore | Connections::Exactly(_) => Some(shard_of_core(0)),
    };
    let secret = *options.secret.get_or_insert_with(|| PublisherSecret(rand::random()));
    let wants = options.wants();
    // What is wrong with trust or identity is said before any name is looked up.
    connector.check_tls()?;
    let mut attaching = Attaching::new(connector.clone(), wants);
    let (link, welcome) = *attaching.attach(shard).await?;
    let count = match options.connections {
        Connections::One => 1,
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
            let (link, welcome) = connector.connect_to(&place, shard, wants).await?;
            let mut attaching = Attaching::new(connector, wants);
            attaching.begin_attached(&welcome);
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
    let epoch = Epoch(rand::random::<u64>() & varint::MAX);
    let start = |(core, first): (u16, FirstConnection)| {
        let index = u64::from(core);
        let publisher = PublisherId::derive(&secret, &first.welcome.identity, index);
        Feed::start(first, PublisherKey { publisher, epoch }, index, &options, progress.clone())
    };
    let feeds = firsts.into_iter().map(start).collect();
    Ok(Publisher::new(feeds, progress))
}

/// A shard that steers to a core, however many there are above it.
fn shard_of_core(core: u16) -> Shard {
    Shard::of_hash(u64::from(core))
}
