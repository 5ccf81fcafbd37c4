//! Where the admin page is.

use std::net::SocketAddr;

/// Where the admin page is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AdminAddresses {
    /// Without TLS.
    pub(crate) plain: Option<SocketAddr>,
    /// Over TLS.
    pub(crate) secure: Option<SocketAddr>,
}
