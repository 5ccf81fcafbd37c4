//! Connections for receivers: a connection has room for a thousand of them, and another one is
//! opened when all are full.

use std::sync::Arc;

use millrace_client::{Client, Config, ConnectError, Receiver, ReceiverOptions};
use tokio::sync::Mutex;

/// Connections at most: 65,536 feeds.
const CONNECTIONS_MAX: usize = 64;

/// Opens receivers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Receivers {
    config: Config,
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Receivers {
    pub(super) fn new(config: Config) -> Self {
        Self { config, clients: Arc::default() }
    }

    /// Opens a receiver on the first connection that has room.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::Receivers`] when all connections are full.
    pub(super) async fn open(&self, options: &ReceiverOptions) -> Result<Receiver, ConnectError> {
        let mut clients = self.clients.lock().await;
        let mut full = None;
        for client in clients.iter() {
            match client.receiver(options.clone()).await {
                Err(error @ ConnectError::Receivers(_)) => full = Some(error),
                opened => return opened,
            }
        }
        if clients.len() == CONNECTIONS_MAX
            && let Some(full) = full
        {
            return Err(full);
        }
        let client = Client::new(self.config.clone())?;
        let receiver = client.receiver(options.clone()).await?;
        clients.push(client);
        Ok(receiver)
    }
}
