//! How an admin page is reached over TLS.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

/// How an admin page is reached over TLS; nothing before [`Secure::by`]. It is no part of which
/// page it is.
#[derive(Clone, Default)]
pub(crate) struct Secure {
    operator: Option<Arc<Operator>>,
}

/// Who asks, and whom it believes.
pub(super) struct Operator {
    pub(super) connector: TlsConnector,
    /// The name to expect in the router's certificate, instead of the URL's host.
    pub(super) server_name: Option<String>,
}

impl Secure {
    /// Asks as this operator.
    pub(super) fn by(&mut self, operator: Arc<Operator>) {
        self.operator = Some(operator);
    }

    /// TLS to the router at `host`; none while nobody is named who asks.
    pub(super) fn to(&self, host: &str) -> Result<Option<(TlsConnector, ServerName<'static>)>, String> {
        let Some(operator) = &self.operator else { return Ok(None) };
        let name = operator.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| format!("{host} cannot stand in a certificate: give a name with --server-name"))?;
        Ok(Some((operator.connector.clone(), name)))
    }
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}

impl PartialEq for Secure {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Secure {}

impl PartialOrd for Secure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Secure {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
