//! A certificate authority for development and tests, in memory or in a folder that all routers of
//! one user share.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use thiserror::Error;

use crate::exposed::OTHERS_READ_OR_WRITE;
use crate::identity::{Identity, IdentityError, digest_of};
use crate::keep::{OTHERS_WRITE, not_own, private, write_private};
use crate::places::{self, CA_CERTIFICATE, CA_KEY};
use crate::role::{client_uri, router_uri};

/// Why there is no development authority.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The folder or one of its files cannot be used.
    #[error("cannot use the development authority in {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The folder or one of its files is another user's, or others may change it.
    #[error(
        "the development authority at {} is not used, because {reason}: remove it, and the router makes its own",
        path.display()
    )]
    Foreign {
        /// The folder or file.
        path: PathBuf,
        /// Who else could have made or changed it.
        reason: String,
    },
    /// Neither `XDG_RUNTIME_DIR` nor `HOME` says where the folder is.
    #[error("no place for the development authority: set XDG_RUNTIME_DIR or HOME")]
    NoFolder,
    /// A key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What was made cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Makes certificates for routers and clients that need not be trusted beyond one machine.
pub struct DevAuthority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    secret: [u8; 32],
    ca_path: Option<PathBuf>,
}

impl DevAuthority {
    /// A new authority that lives in memory.
    ///
    /// # Errors
    /// [`AuthorityError::Make`].
    pub fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let ca_pem = ca_params().self_signed(&key)?.pem();
        Ok(Self::with(key, ca_pem, None))
    }

    /// The authority in a folder. This makes one, readable for its owner alone, when there is none;
    /// processes that start at the same time end up with the same one. A folder or file that
    /// another user owns or may change is refused, because whoever holds the key can pose as
    /// any router.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let failed = |source| AuthorityError::Folder { path: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        own(folder, OTHERS_WRITE)?;
        let lock = private().create(true).truncate(false).open(folder.join("dev-ca.lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let (key_path, ca_path) = (folder.join(CA_KEY), folder.join(CA_CERTIFICATE));
        if key_path.exists() && ca_path.exists() {
            own(&key_path, OTHERS_READ_OR_WRITE)?;
            own(&ca_path, OTHERS_WRITE)?;
            let key = KeyPair::from_pem(&fs::read_to_string(&key_path).map_err(failed)?)?;
            return Ok(Self::with(key, fs::read_to_string(&ca_path).map_err(failed)?, Some(ca_path)));
        }
        let key = KeyPair::generate()?;
        let ca_pem = ca_params().self_signed(&key)?.pem();
        write_private(&key_path, &key.serialize_pem()).map_err(failed)?;
        write_private(&ca_path, &ca_pem).map_err(failed)?;
        Ok(Self::with(key, ca_pem, Some(ca_path)))
    }

    /// The folder of this user's authority: `$XDG_RUNTIME_DIR/millrace`, or `~/.cache/millrace`
    /// without the former. Clients look for `dev-ca.pem` in the same places.
    ///
    /// # Errors
    /// [`AuthorityError::NoFolder`].
    pub fn folder() -> Result<PathBuf, AuthorityError> {
        places::folder().ok_or(AuthorityError::NoFolder)
    }

    fn with(key: KeyPair, ca_pem: String, ca_path: Option<PathBuf>) -> Self {
        let secret = digest_of(key.serialized_der());
        Self { issuer: Issuer::new(ca_params(), key), ca_pem, secret, ca_path }
    }

    /// The authority's certificate, for clients.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where clients find the certificate, when the authority has a folder.
    #[must_use]
    pub fn ca_path(&self) -> Option<&Path> {
        self.ca_path.as_deref()
    }

    /// An identity for a router: valid for `localhost`, the loopback addresses, and `hosts`.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn router(&self, name: &str, hosts: &[String]) -> Result<Identity, AuthorityError> {
        let (chain, key) = self.issue(name, router_uri(name), hosts)?;
        Ok(Identity::from_pem(&chain, &key, &self.ca_pem, self.secret)?)
    }

    /// A client's certificate and key as PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Make`].
    pub fn client(&self, name: &str) -> Result<(String, String), AuthorityError> {
        self.issue(name, client_uri(name), &[])
    }

    fn issue(&self, name: &str, uri: String, hosts: &[String]) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        for host in local.iter().chain(hosts) {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            });
        }
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

impl fmt::Debug for DevAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevAuthority").field("ca_path", &self.ca_path).finish_non_exhaustive()
    }
}

/// Refuses what is not this user's own, or is open to others by one of the `forbidden` bits of its
/// mode.
fn own(path: &Path, forbidden: u32) -> Result<(), AuthorityError> {
    match not_own(path, forbidden) {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(AuthorityError::Foreign { path: path.to_owned(), reason }),
        Err(source) => Err(AuthorityError::Folder { path: path.to_owned(), source }),
    }
}

pub(crate) fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The same each time, so that an issuer can be made anew from its key alone.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Millrace development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn second_opening_finds_the_same_authority_and_its_certificates_are_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/dev");
        let first = DevAuthority::open(&path).unwrap();
        let second = DevAuthority::open(&path).unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.secret, second.secret);
        assert_eq!(fs::metadata(path.join(CA_KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        second.router("a", &["router-0.example".to_owned(), "10.1.2.3".to_owned()]).unwrap();
    }

    #[test]
    fn what_others_may_have_changed_is_refused() {
        let is_refused = |target: &str, mode: u32| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("dev");
            DevAuthority::open(&path).unwrap();
            fs::set_permissions(path.join(target), fs::Permissions::from_mode(mode)).unwrap();
            match DevAuthority::open(&path) {
                Ok(_) => false,
                Err(AuthorityError::Foreign { path: named, .. }) => named == path.join(target),
                Err(other) => panic!("{other}"),
            }
        };
        for (target, mode) in [("", 0o777), ("", 0o720), (CA_KEY, 0o640), (CA_CERTIFICATE, 0o606)] {
            assert!(is_refused(target, mode), "{target} {mode:o}");
        }
        for (target, mode) in [("", 0o755), (CA_KEY, 0o400), (CA_CERTIFICATE, 0o644)] {
            assert!(!is_refused(target, mode), "{target} {mode:o}");
        }
    }

    #[test]
    fn link_instead_of_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        DevAuthority::open(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(DevAuthority::open(&link), Err(AuthorityError::Foreign { .. })));
    }

    #[test]
    fn clients_certificate_is_refused_as_a_routers_identity() {
        let authority = DevAuthority::new().unwrap();
        let (chain, key) = authority.client("someone").unwrap();
        let refused = Identity::from_pem(&chain, &key, authority.ca_pem(), [0; 32]);
        let problem = refused.unwrap_err().to_string();
        assert!(problem.contains("is a client's (`millrace://client/someone`)"), "{problem}");
    }
}
