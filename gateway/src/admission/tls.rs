//! Server configurations of doors: a certificate and key, and the authority whose clients are
//! known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a door has no usable TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorTlsError {
    /// A file cannot be read, or has not what is needed.
    #[error("cannot use {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not go together, or the authority cannot be used.
    #[error("certificate, key or client authority cannot be used: {0}")]
    Unusable(String),
}

/// TLS 1.3 for a door. With a client authority, clients may show a certificate of it, and those who
/// show another one are refused.
///
/// # Errors
/// [`DoorTlsError`] names the file.
pub fn server_config(
    cert: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, DoorTlsError> {
    let unusable = |error: &dyn std::fmt::Display| DoorTlsError::Unusable(error.to_string());
    let provider = millrace_certs::crypto_provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| in_file(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(key, &error))?;
    let config = builder.with_single_cert(certificates(cert)?, private).map_err(|error| unusable(&error))?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DoorTlsError> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| in_file(path, &error))?.collect();
    let found = read.map_err(|error| in_file(path, &error))?;
    if found.is_empty() {
        return Err(in_file(path, &"there is no certificate in it"));
    }
    Ok(found)
}

fn in_file(path: &Path, problem: &dyn std::fmt::Display) -> DoorTlsError {
    DoorTlsError::File { path: path.to_owned(), problem: problem.to_string() }
}
