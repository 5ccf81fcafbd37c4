//! A router's identity: its certificate chain with its key, the authority that is believed, and the
//! cluster's secret.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::check::{Checked, check};
use crate::exposed::open_to_others;
use crate::files::{FILE_BYTES_MAX, read_file};
use crate::pem::Source;
use crate::role::{Role, role_of};

/// The cluster's secret has at least so many bytes: 128 bits.
const SECRET_BYTES_MIN: usize = 16;

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
    /// Certificate, key and authority do not fit together, or nobody would believe them.
    #[error("{}", problems.join("\n"))]
    Unfit {
        /// Everything that is wrong, each with its file and what to do.
        problems: Vec<String>,
    },
    /// TLS refuses the combination, e.g. a key that does not belong to the certificate.
    #[error("TLS does not accept the certificate with its key: {0}")]
    Tls(#[from] rustls::Error),
}

/// A router's certificate chain and key, the authority of its cluster, and the secret that the
/// cluster shares.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
    roots: Arc<RootCertStore>,
    ca_pem: String,
    secret: [u8; 32],
    /// The secret that the cluster had before.
    previous_secret: Option<[u8; 32]>,
    /// Whether the secret is the cluster's, and not one that follows from the key.
    has_shared_secret: bool,
    name: String,
    hosts: Vec<String>,
    expiry: i64,
    renewal: i64,
    warnings: Vec<String>,
}

impl Identity {
    /// Reads PEM files: the chain (own certificate first), its key, and the authority's
    /// certificates. The cluster's secret is read from `secret` (any bytes, at least 16; or two
    /// lines of text, two secrets, of which the first makes resumption tickets and both are
    /// accepted); without one it is derived from the key, and then a router resets connections
    /// of its predecessor only when it has the same key.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_files(
        cert: &Path,
        key: &Path,
        ca: &Path,
        secret: Option<&Path>,
    ) -> Result<Self, IdentityError> {
        let chain = read("a certificate chain", cert)?;
        let key_pem = read("a private key", key)?;
        let ca_pem = read("the authority", ca)?;
        let (has_shared_secret, secret_path) = (secret.is_some(), secret);
        let (secret, previous_secret) = match secret {
            None => (digest_of(&key_pem), None),
            Some(path) => {
                let bytes = read("the cluster's secret", path)?;
                let secrets = secrets_in(&bytes).map_err(|reason| IdentityError::File {
                    what: "the cluster's secret",
                    path: path.display().to_string(),
                    reason,
                })?;
                (digest_of(secrets[0]), secrets.get(1).map(|previous| digest_of(previous)))
            }
        };
        let names = [cert, key, ca].map(|path| path.display().to_string());
        let [cert, key_name, ca] = names.each_ref().map(String::as_str);
        let mut identity = Self::read(
            Source { name: cert, bytes: &chain },
            Source { name: key_name, bytes: &key_pem },
            Source { name: ca, bytes: &ca_pem },
            secret,
        )?;
        identity.previous_secret = previous_secret;
        identity.has_shared_secret = has_shared_secret;
        identity.warnings.extend(open_to_others("key", key));
        identity.warnings.extend(secret_path.and_then(|path| open_to_others("cluster's secret", path)));
        Ok(Self { inner: Arc::new(identity) })
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
        let inner = Self::read(
            Source { name: "the text of the certificate", bytes: chain_pem.as_bytes() },
            Source { name: "the text of the key", bytes: key_pem.as_bytes() },
            Source { name: "the text of the authority", bytes: ca_pem.as_bytes() },
            secret,
        )?;
        Ok(Self { inner: Arc::new(inner) })
    }

    fn read(
        chain: Source<'_>,
        key: Source<'_>,
        ca: Source<'_>,
        secret: [u8; 32],
    ) -> Result<Inner, IdentityError> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let (chain_pem, key_pem) = (chain.bytes.to_vec(), key.bytes.to_vec());
        let checked = check(chain, key, ca, now).map_err(|problems| IdentityError::Unfit { problems })?;
        let Checked { chain, key, roots, name, hosts, expiry, renewal, warnings } = checked;
        let ca_pem = String::from_utf8_lossy(ca.bytes).into_owned();
        Ok(Inner {
            chain_pem,
            key_pem,
            chain,
            key,
            roots: Arc::new(roots),
            ca_pem,
            secret,
            previous_secret: None,
            has_shared_secret: true,
            name,
            hosts,
            expiry,
            renewal,
            warnings,
        })
    }

    /// The router's name in its certificate.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// When the first certificate of the chain ends, in seconds since 1970.
    #[must_use]
    pub fn expiry(&self) -> i64 {
        self.inner.expiry
    }

    /// When it should have been renewed, in seconds since 1970: 14 days before it ends, or when a
    /// quarter of its life is left, if that is less.
    #[must_use]
    pub fn renewal(&self) -> i64 {
        self.inner.renewal
    }

    /// What is right and will become wrong, or keeps others away: certificates near their end, a
    /// key that others can read. Each names its file and what to do.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Whether clients that dial this host would believe the certificate (RFC 6125, section 6.4).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let under = host.split_once('.').map(|(_, parent)| parent);
        self.inner.hosts.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => under == Some(parent),
            None => *name == host,
        })
    }

    /// Whether this is the same chain, key and authority as another.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.inner, &other.inner);
        a.chain == b.chain && a.key == b.key && a.ca_pem == b.ca_pem
    }

    /// The authority's certificates, for clients.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.inner.ca_pem
    }

    /// The router's name in its certificate.
    #[must_use]
    pub fn router_name(&self) -> String {
        match self.inner.chain.first().map(role_of) {
            Some(Role::Router(name)) => name,
            _ => String::new(),
        }
    }

    /// Secret from which QUIC's keys are derived.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.inner.secret
    }

    /// Whether the secret is the cluster's own. Without one it follows from the key.
    #[must_use]
    pub fn has_shared_secret(&self) -> bool {
        self.inner.has_shared_secret
    }

    /// Whether it has the same secrets as another.
    #[must_use]
    pub fn has_same_secrets(&self, other: &Self) -> bool {
        let secrets = |identity: &Self| (identity.inner.secret, identity.inner.previous_secret);
        secrets(self) == secrets(other)
    }

    /// The secret that the cluster had before, while routers change to another.
    #[must_use]
    pub fn previous_secret(&self) -> Option<&[u8; 32]> {
        self.inner.previous_secret.as_ref()
    }

    /// The chain, own certificate first.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.inner.chain.clone()
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.inner.key.clone_key()
    }

    /// The chain as it was read, PEM.
    #[must_use]
    pub fn chain_pem(&self) -> &[u8] {
        &self.inner.chain_pem
    }

    /// The private key as it was read, PEM.
    #[must_use]
    pub fn key_pem(&self) -> &[u8] {
        &self.inner.key_pem
    }

    /// The hosts that the certificate is for, in lower case: DNS names, some with `*`, and
    /// addresses.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.inner.hosts
    }

    /// The authorities that are believed.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        self.inner.roots.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Reads a file that a setting names.
fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, IdentityError> {
    read_file(path, FILE_BYTES_MAX).map_err(|error| IdentityError::File {
        what,
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// SHA-256.
pub(crate) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// The secrets in a file: those of its one or two lines of text, or else all of its bytes as one. A
/// byte order mark, which editors put there, is none of it.
///
/// # Errors
/// One is too short to be a secret, or everybody may know it.
fn secrets_in(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let text = std::str::from_utf8(bytes).map(|text| text.trim_start_matches('\u{feff}'));
    let secrets = match text {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE") => {
            return Err(
                "it holds a certificate, which everybody may know: name the file with the secret".to_owned()
            );
        }
        Ok(text) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let lines: Vec<&[u8]> = lines.map(str::as_bytes).collect();
            match lines.len() {
                0 => vec![&b""[..]],
                1 | 2 => lines,
                _ => vec![bytes],
            }
        }
        Err(_) => vec![bytes],
    };
    match secrets.iter().find(|secret| secret.len() < SECRET_BYTES_MIN) {
        None => Ok(secrets),
        Some(short) => Err(format!(
            "it has {} bytes and needs at least {SECRET_BYTES_MIN} (`openssl rand -hex 32`)",
            short.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_file_holds_one_secret_or_two_lines_of_them() {
        let (a, b) = (&b"first secret of 32 bytes or more"[..], &b"the one before it, as long as it"[..]);
        let in_file = |parts: &[&[u8]]| {
            let bytes = parts.concat();
            secrets_in(&bytes).map(|secrets| secrets.concat())
        };
        assert_eq!(secrets_in(a), Ok(vec![a]));
        assert_eq!(in_file(&[a, b"\n"]).unwrap(), a, "the end of the line is none of it");
        assert_eq!(in_file(&["\u{feff}".as_bytes(), a, b"\r\n"]).unwrap(), a, "nor is a byte order mark");
        let two = [a, b"\r\n", b, b"\n"].concat();
        assert_eq!(secrets_in(&two), Ok(vec![a, b]));
        let three = [a, b"\n", b, b"\n", a].concat();
        assert_eq!(secrets_in(&three), Ok(vec![&three[..]]));
        assert_eq!(secrets_in(&[0xff; 40]), Ok(vec![&[0xff; 40][..]]));
    }

    #[test]
    fn what_everybody_may_know_is_no_secret() {
        assert!(secrets_in(&[b' '; 40]).unwrap_err().contains("it has 0 bytes"));
        assert!(
            secrets_in(b"short\nthe second line is long enough\n").unwrap_err().contains("it has 5 bytes")
        );
        let pem = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(secrets_in(pem).unwrap_err().contains("holds a certificate"));
    }
}
