//! Connections for receivers: a connection has room for a thousand of them, and another one is
//! opened when all are full. Where there is a bundle of publishers, its connection is the first.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Bundle, Client, Config, ConnectError, Disconnect, Receiver, ReceiverOptions};
use tokio::sync::Mutex;
use tokio::time::sleep;

/// Connections at most: 65,536 feeds.
const CONNECTIONS_MAX: usize = 64;
/// While no router can be reached, a receiver is asked for again after this time.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Opens receivers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Receivers {
    config: Config,
    bundle: Option<Arc<Bundle>>,
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Receivers {
    pub(super) fn new(config: Config) -> Self {
        Self { config, bundle: None, clients: Arc::default() }
    }

    /// Receivers that share the connection of a bundle, as long as it has room.
    pub(super) fn beside(bundle: Arc<Bundle>, config: Config) -> Self {
        Self { bundle: Some(bundle), ..Self::new(config) }
    }

    /// Opens a receiver on the first connection that has room. On that of a bundle it does not wait
    /// for a router.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::Receivers`] when all connections are full.
    pub(super) async fn open(&self, options: &ReceiverOptions) -> Result<Receiver, ConnectError> {
        if let Some(bundle) = &self.bundle {
            match bundle.receiver(options.clone()).await {
                Err(ConnectError::Receivers(_)) => {}
                opened => return opened,
            }
        }
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

    /// As [`open`](Self::open), for as long as no router can be reached.
    ///
    /// # Errors
    /// Why a router that was asked again would say the same.
    pub(super) async fn open_when_possible(&self, options: &ReceiverOptions) -> Result<Receiver, String> {
        loop {
            match self.open(options).await {
                Ok(receiver) => return Ok(receiver),
                Err(error) if is_final(&error) => return Err(error.to_string()),
                Err(error) => tracing::debug!(%error, "a receiver waits for a router"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// Has a connection before anybody asks for a receiver, who would otherwise wait for its
/// handshakes.
pub(super) async fn stand_by(receivers: Receivers) {
    match receivers.open_when_possible(&ReceiverOptions::default()).await {
        // It asks for nothing, and only hears of lost connections.
        Ok(mut receiver) => while receiver.next_batch().await.is_some() {},
        // Whoever asks for a receiver is told the same.
        Err(error) => tracing::debug!(error, "there is no connection for receivers"),
    }
}

/// Whether a router that was asked again would say the same.
fn is_final(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Receivers(_)
            | ConnectError::Failed { reason: Disconnect::Closed { .. } | Disconnect::Tls(_), .. }
    )
}
