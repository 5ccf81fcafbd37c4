//! The room that all doors share.

use std::sync::Arc;

use tokio::sync::watch;

use crate::counters::Counters;
use crate::upstream::Upstream;

/// What every door gets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Room {
    /// The way to the routers.
    pub upstream: Upstream,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Becomes true when the gateway stops: doors then take nothing new and end what is open.
    pub stopping: watch::Receiver<bool>,
}

impl Room {
    /// Waits until the gateway stops.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // Who could stop the gateway is gone: that is a stop, too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
