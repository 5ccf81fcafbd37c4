//! What every listener needs, whatever its program does with its clients.

use std::sync::Arc;

use tokio::sync::watch;

use crate::counters::Counters;

/// What is counted, and whether the program stops. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lobby {
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Becomes true when the program stops: doors then take nothing new and end what is open.
    pub stopping: watch::Receiver<bool>,
}

impl Lobby {
    /// Waits until the program stops.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // Who could stop the program is gone: that is a stop, too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
