//! The certificates of the authorities that clients trust.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::error::ClusterError;

/// Reads a PEM file: its certificates, and its text.
pub(super) fn read_certificates(
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), ClusterError> {
    let pem = std::fs::read(path)
        .map_err(|error| ClusterError::Ca { path: path.to_owned(), reason: error.to_string() })?;
    Ok((certificates(&pem, path)?, pem))
}

/// The certificates of a PEM text, which was read from `path`.
pub(super) fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, ClusterError> {
    let wrong = |reason: String| ClusterError::Ca { path: path.to_owned(), reason };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it".into()));
    }
    Ok(certificates)
}
