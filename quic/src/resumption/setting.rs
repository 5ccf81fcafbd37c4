//! Whether accepted connections may resume sessions, and which of them.

use rustls::pki_types::CertificateDer;

use super::authorities::{Authorities, end_of};

/// Turns resumption on for accepted connections; see [`crate::ServerSettings::resumption`].
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The authorities of clients' certificates, which are verified with them.
    pub(super) authorities: Authorities,
    /// The application protocol whose connections neither use tickets nor get any.
    pub(super) without: Vec<u8>,
    /// When the first certificate of this side's own chain ends, seconds since 1970.
    pub(super) until: u64,
}

impl Resumption {
    /// For clients whose certificates these authorities vouch for, except over the application
    /// protocol `without`, whose connections neither use tickets nor get any. No ticket lives
    /// longer than a certificate of `own`, this side's chain: who resumes does not look at it
    /// again.
    #[must_use]
    pub fn new(authorities: Authorities, without: Vec<u8>, own: &[CertificateDer<'_>]) -> Self {
        let until = own.iter().map(end_of).min().unwrap_or(u64::MAX);
        Self { authorities, without, until }
    }
}
