//! TLS of doors: a certificate and key, and the authority whose clients are known; both may be
//! renewed while the door is open.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::live::Live;

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

/// What a door's TLS is made of.
#[derive(Debug)]
struct Made {
    config: Arc<ServerConfig>,
    /// A hash of chain and key.
    own: [u8; 32],
    authorities: Option<Authorities>,
}

/// Those whose certificates prove identities.
#[derive(Debug)]
struct Authorities {
    verifier: Arc<dyn ClientCertVerifier>,
    hash: [u8; 32],
}

/// TLS of a door. All clones are renewed together.
#[derive(Debug, Clone)]
pub struct DoorTls(Live<Made>);

/// What a renewal brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Another certificate or key.
    pub certificate: bool,
    /// Other authorities of clients.
    pub authorities: bool,
}

impl DoorTls {
    /// TLS 1.3 for a door. With a client authority, clients may show a certificate of it, and those
    /// who show another one are refused.
    ///
    /// # Errors
    /// [`DoorTlsError`] names the file.
    pub fn read(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, DoorTlsError> {
        let unusable = |error: &dyn Display| DoorTlsError::Unusable(error.to_string());
        let provider = millrace_certs::crypto_provider();
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?;
        let authorities = client_ca.map(Authorities::read).transpose()?;
        let builder = match &authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => builder.with_client_cert_verifier(authorities.verifier.clone()),
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(key, &error))?;
        let chain = certificates(cert)?;
        let own = hash(chain.iter().map(AsRef::as_ref).chain([private.secret_der()]));
        let config = builder.with_single_cert(chain, private).map_err(|error| unusable(&error))?;
        Ok(Self(Live::new(Made { config: Arc::new(config), own, authorities })))
    }

    /// What the next handshake is done with.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.now().config.clone()
    }

    /// Whether its clients are asked for a certificate.
    #[must_use]
    pub fn asks_for_certificate(&self) -> bool {
        self.0.now().authorities.is_some()
    }

    /// A hash of the authorities of now.
    #[must_use]
    pub fn authorities(&self) -> [u8; 32] {
        self.0.now().authorities.as_ref().map_or([0; 32], |authorities| authorities.hash)
    }

    /// Whether the authorities of now vouch for a certificate that was shown before.
    #[must_use]
    pub fn believes(&self, certificate: &Certificate) -> bool {
        let made = self.0.now();
        let Some(Authorities { verifier, hash }) = &made.authorities else { return false };
        let Some((own, between)) = certificate.chain.split_first() else { return false };
        certificate.authorities == *hash || verifier.verify_client_cert(own, between, UnixTime::now()).is_ok()
    }

    /// What [`DoorTls::renew`] would bring.
    #[must_use]
    pub fn compare(&self, new: &Self) -> Renewal {
        let (old, new) = (self.0.now(), new.0.now());
        let hash = |made: &Made| made.authorities.as_ref().map(|authorities| authorities.hash);
        Renewal { certificate: old.own != new.own, authorities: hash(&old) != hash(&new) }
    }

    /// Takes over what another one has, for handshakes from now on.
    pub fn renew(&self, new: &Self) {
        self.0.replace(new.0.now());
    }
}

impl Authorities {
    fn read(path: &Path) -> Result<Self, DoorTlsError> {
        let mut roots = RootCertStore::empty();
        let all = certificates(path)?;
        let hash = hash(all.iter().map(AsRef::as_ref));
        for certificate in all {
            roots.add(certificate).map_err(|error| in_file(path, &error))?;
        }
        let provider = millrace_certs::crypto_provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| DoorTlsError::Unusable(error.to_string()))?;
        Ok(Self { verifier, hash })
    }
}

fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
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

fn in_file(path: &Path, problem: &dyn Display) -> DoorTlsError {
    DoorTlsError::File { path: path.to_owned(), problem: problem.to_string() }
}
