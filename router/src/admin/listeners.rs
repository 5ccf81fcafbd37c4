//! Where the admin page listens: without TLS, over TLS, or both.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use millrace_certs::Identity;
use tokio::sync::{oneshot, watch};

use super::addresses::AdminAddresses;
use super::gate::Gate;
use super::{pages, server};
use crate::config::RouterConfig;
use crate::start_error::StartError;
use crate::view::View;

/// The bound listeners of the admin page.
pub(crate) struct Admin {
    plain: Option<TcpListener>,
    secure: Option<TcpListener>,
}

impl Admin {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// [`StartError::Admin`].
    pub(crate) fn bind(config: &RouterConfig) -> Result<Self, StartError> {
        Ok(Self {
            plain: bind("admin.listen", config.admin)?,
            secure: bind("admin.tls_listen", config.admin_tls)?,
        })
    }

    /// Where the listeners are.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn addresses(&self) -> io::Result<AdminAddresses> {
        let of = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        Ok(AdminAddresses { plain: of(&self.plain)?, secure: of(&self.secure)? })
    }

    /// Whether there is no page.
    pub(crate) fn is_off(&self) -> bool {
        self.plain.is_none() && self.secure.is_none()
    }

    /// Serves until `stop` is dropped.
    pub(crate) async fn serve(
        self,
        view: Arc<View>,
        identities: watch::Receiver<Identity>,
        stop: oneshot::Receiver<()>,
    ) {
        let all = pages::all(view);
        let plain = serve(self.plain, Gate::plain(all.clone()));
        let secure = serve(self.secure, Gate::secure(all, identities));
        tokio::select! {
            _ = async { tokio::join!(plain, secure) } => {}
            _ = stop => {}
        }
    }
}

fn bind(setting: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let bound =
        TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map(Some).map_err(|source| StartError::Admin { setting, address, source })
}

async fn serve(listener: Option<TcpListener>, gate: Gate) {
    match listener.map(tokio::net::TcpListener::from_std) {
        Some(Ok(listener)) => server::serve(listener, gate).await,
        Some(Err(error)) => tracing::error!(%error, "the admin page cannot be served"),
        None => {}
    }
}
