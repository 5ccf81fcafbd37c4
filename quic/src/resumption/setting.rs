//! Whether accepted connections may resume sessions, and which of them.

use super::authorities::Authorities;

/// Turns resumption on for accepted connections; see [`crate::ServerSettings::resumption`].
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The authorities of clients' certificates, which are verified with them.
    pub authorities: Authorities,
    /// The application protocol whose connections neither use tickets nor get any.
    pub without: Vec<u8>,
}
