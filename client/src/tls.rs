//! TLS of clients: an explicit provider, AES-128 first, and the trust that the configuration asks
//! for. What is made for one attempt serves all others of the process with the same texts of
//! certificates, because thousands of attempts come at once when a router has gone. Its tickets
//! ([`Tickets`]) go with it: other texts begin without any.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use millrace_certs::{FILE_BYTES_MAX, read_file};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, Identity, RenewedIdentity, Trust};
use crate::dev;
use crate::tickets::Tickets;

/// Configurations that clients of a process find again, at most; more of them are not shared.
const SHARED_MAX: usize = 64;

/// Those of the process that some client uses, the newest last.
static SHARED: Mutex<Vec<Weak<Made>>> = Mutex::new(Vec::new());

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

/// What attempts to connect share. All clones share it, too.
#[derive(Clone, Default)]
pub(crate) struct Tls(Arc<Mutex<Option<Arc<Made>>>>);

/// A configuration, and the texts that it is made of.
struct Made {
    authorities: Vec<u8>,
    identity: Option<Identity>,
    config: Arc<QuicClientConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// The configuration for one attempt to connect. Files are read for each, because they may have
    /// changed.
    pub(crate) fn config(&self, config: &Config) -> Result<Arc<QuicClientConfig>, TlsError> {
        let (authorities, place) = authorities(config)?;
        let identity = config.renewed_identity.as_ref().map(RenewedIdentity::now);
        let identity = identity.or_else(|| config.identity.clone());
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*own
            && made.is_of(&authorities, identity.as_ref())
        {
            return Ok(made.config.clone());
        }
        Ok(own.insert(Made::of(authorities, identity, &place)?).config.clone())
    }
}

impl Made {
    fn is_of(&self, authorities: &[u8], identity: Option<&Identity>) -> bool {
        self.authorities == authorities && is_same(self.identity.as_ref(), identity)
    }

    /// What another client of this process has made of these texts, or a new one.
    fn of(authorities: Vec<u8>, identity: Option<Identity>, place: &str) -> Result<Arc<Self>, TlsError> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = shared.iter().rev().filter_map(Weak::upgrade);
        if let Some(made) = present.find(|made| made.is_of(&authorities, identity.as_ref())) {
            return Ok(made);
        }
        let tls = client_config(roots(&authorities, place)?, identity.as_ref())?;
        let config = QuicClientConfig::try_from(tls)
            .map_err(|error| TlsError::Identity(rustls::Error::General(error.to_string())))?;
        let made = Arc::new(Self { authorities, identity, config: Arc::new(config) });
        shared.retain(|made| made.strong_count() > 0);
        if shared.len() == SHARED_MAX {
            shared.remove(0);
        }
        shared.push(Arc::downgrade(&made));
        Ok(made)
    }
}

fn is_same(one: Option<&Identity>, other: Option<&Identity>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.certificate_pem == other.certificate_pem && one.key_pem == other.key_pem
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The text with the certificates of the authorities to trust, and the words for where it is, in
/// front of what is wrong with it.
fn authorities(config: &Config) -> Result<(Vec<u8>, String), TlsError> {
    match &config.trust {
        Trust::Dev => Ok((dev_authorities(config)?, String::new())),
        Trust::File(path) => Ok((read(path)?, format!("{}: ", path.display()))),
        Trust::Pem(pem) => Ok((pem.clone(), String::new())),
    }
}

fn client_config(roots: RootCertStore, identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(millrace_certs::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Identity)?
        .with_root_certificates(roots);
    let mut tls = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = chain_and_key(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
    };
    tls.resumption = Resumption::store(Arc::new(Tickets::default()));
    tls.alpn_protocols = vec![millrace_proto::ALPN_CLIENT.to_vec()];
    Ok(tls)
}

fn dev_authorities(config: &Config) -> Result<Vec<u8>, TlsError> {
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
    if pem.is_empty() { Err(TlsError::NoDevAuthority { looked }) } else { Ok(pem) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> Vec<u8> {
        millrace_certs::DevAuthority::new().unwrap().ca_pem().into()
    }

    #[test]
    fn attempts_share_what_is_made_until_a_text_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, pem()).unwrap();
        let config = Config::new(["127.0.0.1:1".parse().unwrap()]).trust(Trust::File(file.clone()));
        let tls = Tls::default();
        let first = tls.config(&config).unwrap();
        assert!(Arc::ptr_eq(&first, &tls.clone().config(&config).unwrap()));
        let other = Tls::default();
        assert!(Arc::ptr_eq(&first, &other.config(&config).unwrap()), "another client of the process");
        std::fs::write(&file, pem()).unwrap();
        assert!(!Arc::ptr_eq(&first, &tls.config(&config).unwrap()), "the authority was replaced");
        std::fs::write(&file, "no certificate").unwrap();
        assert!(matches!(tls.config(&config), Err(TlsError::Pem { .. })), "it is read each time");
    }
}
