//! TLS of clients: an explicit provider, AES-128 first, and the trust that the configuration asks
//! for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_certs::{FILE_BYTES_MAX, read_file};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, Identity, RenewedIdentity, Trust};
use crate::dev;

/// Why there is no usable TLS configuration.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No router in dev mode has left its authority's certificate.
    #[error(
        "no authority to trust: no router in dev mode has left its certificate at {}; start one, or name the authority's file",
        places(.looked)
    )]
    NoDevAuthority {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// Dev mode is for loopback addresses only.
    #[error("{router} is not on this host: name the authority's file to trust it")]
    DevIsLocal {
        /// The router.
        router: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// PEM text without what is needed, or with something else.
    #[error("{what} is not what it should be: {problem}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not go together, or are not usable.
    #[error("the client's certificate cannot be used: {0}")]
    Identity(rustls::Error),
}

fn places(looked: &[PathBuf]) -> String {
    let shown: Vec<_> = looked.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "(neither XDG_RUNTIME_DIR nor HOME is set)".to_owned() } else { shown.join(" or ") }
}

/// The configuration for one attempt to connect.
pub(crate) fn client_config(config: &Config) -> Result<ClientConfig, TlsError> {
    let roots = match &config.trust {
        Trust::Dev => dev_roots(config)?,
        Trust::File(path) => roots(&read(path)?, &format!("{}: ", path.display()))?,
        Trust::Pem(pem) => roots(pem, "")?,
    };
    let builder = ClientConfig::builder_with_provider(millrace_certs::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Identity)?
        .with_root_certificates(roots);
    let renewed = config.renewed_identity.as_ref().map(RenewedIdentity::now);
    let mut tls = match renewed.or_else(|| config.identity.clone()) {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = chain_and_key(&identity)?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
    };
    tls.alpn_protocols = vec![millrace_proto::ALPN_CLIENT.to_vec()];
    Ok(tls)
}

fn dev_roots(config: &Config) -> Result<RootCertStore, TlsError> {
    let mut routers = config.routers.iter().chain(config.fallbacks.iter().flatten());
    if let Some(router) = routers.find(|router| !router.is_loopback()) {
        return Err(TlsError::DevIsLocal { router: router.to_string() });
    }
    // Both places count: a stale certificate in one must not hide the router's in the other.
    let looked = dev::ca_candidates();
    let mut pem = Vec::new();
    for path in looked.iter().filter(|path| path.exists()) {
        pem.extend_from_slice(&read(path)?);
        pem.push(b'\n');
    }
    if pem.is_empty() { Err(TlsError::NoDevAuthority { looked }) } else { roots(&pem, "") }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_file(path, FILE_BYTES_MAX)
        .map_err(|source| TlsError::Read { path: path.to_owned(), source: Arc::new(source) })
}

/// The authorities in a text; `place` says whose it is, in what is said to be wrong with it.
fn roots(pem: &[u8], place: &str) -> Result<RootCertStore, TlsError> {
    let wrong = |problem: &dyn std::fmt::Display| TlsError::Pem {
        what: "the authority's certificate",
        problem: format!("{place}{problem}"),
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(without_mark(pem)) {
        store.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if store.is_empty() { Err(wrong(&"there is no certificate in it")) } else { Ok(store) }
}

/// A text without the byte order mark that some editors put before it.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn chain_and_key(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(without_mark(&identity.certificate_pem))
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem { what: "the client's certificate", problem: error.to_string() })?;
    if chain.is_empty() {
        let problem = "there is no certificate in it".to_owned();
        return Err(TlsError::Pem { what: "the client's certificate", problem });
    }
    let key = PrivateKeyDer::from_pem_slice(without_mark(&identity.key_pem))
        .map_err(|error| TlsError::Pem { what: "the client's key", problem: error.to_string() })?;
    Ok((chain, key))
}
