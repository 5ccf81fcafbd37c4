//! Makes the connections of a publisher on two routers.

use std::sync::Arc;

use millrace_proto::{PublisherId, PublisherKey, PublisherSecret};
use tokio::sync::Notify;

use super::epoch::new_epoch;
use super::feed::{Feed, FirstConnection};
use super::options::{Connections, PublisherOptions};
use super::publishing::Publisher;
use crate::apart::Apart;
use crate::attaching::Attaching;
use crate::connector::{Connector, close_done};
use crate::error::ConnectError;

/// Connects a publisher on two routers. It begins with one of them, and looks for the second one as
/// long as it takes.
pub(super) async fn connect(
    connector: Connector,
    mut options: PublisherOptions,
) -> Result<Publisher, ConnectError> {
    check(&options)?;
    let secret = *options.secret.get_or_insert_with(|| PublisherSecret(rand::random()));
    let wants = options.wants();
    let [here, there] = Apart::both();
    let mut attaching = Attaching::new(connector.clone(), wants).apart(here);
    let (link, welcome) = *attaching.attach(options.shard).await?;
    if wants.confirms && !link.session.confirms() {
        close_done(&link);
        return Err(ConnectError::ConfirmsUnavailable { router: link.place.router });
    }
    let publisher = PublisherId::derive(&secret, &welcome.identity, 0);
    let key = PublisherKey { publisher, epoch: new_epoch() };
    let first = FirstConnection { attaching, link, welcome, shard: options.shard };
    let second = Attaching::insisting(connector, wants).apart(there);
    let progress = Arc::new(Notify::new());
    let feed = Feed::on_two(first, second, key, &options, progress.clone());
    Ok(Publisher::new(vec![feed], progress))
}

/// What a publisher on two routers cannot be besides.
fn check(options: &PublisherOptions) -> Result<(), ConnectError> {
    let other = if options.standby.is_some() {
        "is no member of a standby set"
    } else if options.spool.is_some() {
        "has no spool"
    } else if !matches!(options.connections, Connections::Shared | Connections::One) {
        "has one connection to each"
    } else {
        return Ok(());
    };
    Err(ConnectError::RedundantPublisher { other })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::publisher::{SpoolOptions, StandbyOptions};

    #[test]
    fn it_is_nothing_that_has_one_router() {
        let options = PublisherOptions::default().redundant(true);
        check(&options).unwrap();
        check(&options.clone().connections(Connections::One)).unwrap();
        let two = Connections::Exactly(NonZeroU16::new(2).unwrap());
        for other in [
            options.clone().standby(StandbyOptions::new("ticks")),
            options.clone().spool(SpoolOptions::new("/spool")),
            options.clone().connections(Connections::PerCore),
            options.connections(two),
        ] {
            check(&other).unwrap_err();
        }
    }
}
