//! A certificate chain with its key, the authority that is believed, and the roles that certificates carry.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// URI of a router's certificate, without its name.
const ROUTER_URI: &str = "millrace://router/";
/// URI of a client's certificate, without its name.
const CLIENT_URI: &str = "millrace://client/";

/// Why a certificate, key or authority cannot be used. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A PEM file cannot be read, or holds nothing of the kind.
    #[error("cannot read {what} from {path}: {reason}")]
    File {
        /// What was wanted.
        what: &'static str,
        /// The file.
        path: String,
        /// The system's or the parser's words.
        reason: String,
    },
    /// Text that should be PEM is not, or holds nothing of the kind.
    #[error("no usable {what} in PEM text: {reason}")]
    Pem {
        /// What was wanted.
        what: &'static str,
        /// The parser's words.
        reason: String,
    },
    /// The certificate does not name the role of a router; peers would refuse it.
    #[error("the certificate is not a router's: its subject alternative names need a URI `{ROUTER_URI}NAME`")]
    NotARouter,
    /// TLS refuses the combination, e.g. a key that does not belong to the certificate.
    #[error("TLS does not accept the certificate with its key: {0}")]
    Tls(#[from] rustls::Error),
}

/// What a certificate says its holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A router of the cluster.
    Router(String),
    /// A client.
    Client(String),
    /// Neither, or not readable.
    None,
}

/// The role in a certificate that was verified before.
pub(crate) fn role_of(certificate: &CertificateDer<'_>) -> Role {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Role::None };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Role::None };
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::URI(uri) => uri
                .strip_prefix(ROUTER_URI)
                .map(|name| Role::Router(name.to_owned()))
                .or_else(|| uri.strip_prefix(CLIENT_URI).map(|name| Role::Client(name.to_owned()))),
            _ => None,
        })
        .unwrap_or(Role::None)
}

/// URI of a role, for certificates that are made here.
pub(super) fn router_uri(name: &str) -> String {
    format!("{ROUTER_URI}{name}")
}

/// URI of a role, for certificates that are made here.
pub(super) fn client_uri(name: &str) -> String {
    format!("{CLIENT_URI}{name}")
}

/// A router's certificate chain and key, the authority of its cluster, and the secret that the cluster shares.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    ca_pem: String,
    secret: [u8; 32],
}

impl Identity {
    /// Reads PEM files: the chain (own certificate first), its key, and the authority's certificates. The cluster's secret
    /// is read from `secret` (any bytes, at least 16); without one it is derived from the key, and then a router resets
    /// connections of its predecessor only when it has the same key.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_files(
        cert: &Path,
        key: &Path,
        ca: &Path,
        secret: Option<&Path>,
    ) -> Result<Self, IdentityError> {
        let read = |what, path: &Path| {
            std::fs::read(path).map_err(|error| IdentityError::File {
                what,
                path: path.display().to_string(),
                reason: error.to_string(),
            })
        };
        let chain = String::from_utf8_lossy(&read("a certificate chain", cert)?).into_owned();
        let ca_pem = String::from_utf8_lossy(&read("the authority", ca)?).into_owned();
        let key_pem = String::from_utf8_lossy(&read("a private key", key)?).into_owned();
        let secret = match secret {
            None => digest_of(key_pem.as_bytes()),
            Some(path) => {
                let bytes = read("the cluster's secret", path)?;
                if bytes.len() < 16 {
                    return Err(IdentityError::File {
                        what: "the cluster's secret",
                        path: path.display().to_string(),
                        reason: "it needs at least 16 bytes".into(),
                    });
                }
                digest_of(&bytes)
            }
        };
        Self::from_pem(&chain, &key_pem, &ca_pem, secret)
    }

    /// Takes PEM texts and the cluster's secret.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_pem(
        chain_pem: &str,
        key_pem: &str,
        ca_pem: &str,
        secret: [u8; 32],
    ) -> Result<Self, IdentityError> {
        let certificates = |what, pem: &str| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            match all {
                Ok(all) if all.is_empty() => Err(IdentityError::Pem { what, reason: "none found".into() }),
                Ok(all) => Ok(all),
                Err(error) => Err(IdentityError::Pem { what, reason: error.to_string() }),
            }
        };
        let chain = certificates("certificate", chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| IdentityError::Pem { what: "private key", reason: error.to_string() })?;
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", ca_pem)? {
            roots.add(root)?;
        }
        if !matches!(role_of(&chain[0]), Role::Router(_)) {
            return Err(IdentityError::NotARouter);
        }
        let (roots, ca_pem) = (Arc::new(roots), ca_pem.to_owned());
        Ok(Self { inner: Arc::new(Inner { chain, key, roots, ca_pem, secret }) })
    }

    /// The authority's certificates, for clients.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.inner.ca_pem
    }

    /// Secret from which QUIC's keys are derived.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.inner.secret
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.inner.chain.clone()
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.inner.key.clone_key()
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.inner.roots.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// SHA-256.
pub(super) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
