//! How presets reach routers: the public client library, on one thread.

use std::future::Future;
use std::time::{Duration, Instant};

use millrace_client::{Client, Config, Trust};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::error::FeatureError;
use crate::cluster::Cluster;

/// Between two looks at something that is to come about.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the first router may take to welcome a client: a loaded host starts slowly.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A session of a loaded generator is not declared dead by a hiccup of its host.
const SILENCE: Duration = Duration::from_secs(15);

/// Plays something on a runtime of one thread, with tasks that share memory.
pub(super) fn play<T>(part: impl Future<Output = Result<T, FeatureError>>) -> Result<T, FeatureError> {
    play_on(&Builder::new_current_thread().enable_all().build()?, part)
}

/// As [`play`], for thousands of clients: what the client library does for them runs on a thread
/// for each processor. One thread with all of them would be what is measured.
pub(super) fn play_many<T>(part: impl Future<Output = Result<T, FeatureError>>) -> Result<T, FeatureError> {
    play_on(&Builder::new_multi_thread().enable_all().build()?, part)
}

fn play_on<T>(
    runtime: &Runtime,
    part: impl Future<Output = Result<T, FeatureError>>,
) -> Result<T, FeatureError> {
    LocalSet::new().block_on(runtime, part)
}

/// A client of one of a cluster's routers.
pub(super) fn client(cluster: &Cluster, router: usize) -> Result<Client, FeatureError> {
    let target = &cluster.targets()[router % cluster.targets().len()];
    let address = target.address.to_string().parse().map_err(FeatureError::client)?;
    let config = Config::new([address])
        .trust(Trust::Pem(cluster.ca_pem().to_vec()))
        .server_name(target.server_name.clone())
        .connect_within(CONNECT_WITHIN)
        .silence(SILENCE);
    Client::new(config).map_err(FeatureError::client)
}

/// Waits until something is so; whether it came to be in time.
pub(super) async fn until(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
