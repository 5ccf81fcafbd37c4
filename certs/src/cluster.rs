//! The authority of a cluster, for those who have none: what `millrace certs` keeps in a folder.
//!
//! The authority's key is needed only to issue certificates, never by a router. Whoever holds it
//! can pose as any router, so it belongs on the machine of whoever operates the cluster. A cluster
//! whose certificates come from elsewhere (cert-manager, step, SPIRE) needs none of this: routers
//! look at what stands in a certificate, and not at who issued it.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::DnsName;
use thiserror::Error;
use x509_parser::parse_x509_certificate;

use crate::authority::named;
use crate::pem::Source;
use crate::role::{admin_uri, client_uri, router_uri};

/// A certificate is valid from this long ago, because clocks of hosts differ.
const BACKDATED: Duration = Duration::from_secs(3600);
/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Names of routers and clients have at most so many characters: they become names of files.
const NAME_MAX: usize = 64;
/// Certificates are valid for at most so many days: a century, so that dates stay dates.
const DAYS_MAX: u32 = 36_500;

/// Why a certificate was not made. Nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The authority's files are not what they should be.
    #[error("{0}")]
    Authority(String),
    /// The authority has ended.
    #[error("the authority ended on {0}: make another, or renew it, and bring it to all routers and clients")]
    Ended(String),
    /// A name that cannot be one.
    #[error(
        "{name:?} is no name: use 1 to {NAME_MAX} letters, digits, `.`, `_` or `-`, a letter or digit first"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// A host that cannot be one.
    #[error("{host:?} is no host: give a DNS name (`*.` may lead it) or an IP address, without a port")]
    Host {
        /// What was given.
        host: String,
    },
    /// A number of days that cannot be.
    #[error("{0} days cannot be: give 1 to {DAYS_MAX}")]
    Days(u32),
    /// A key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate with its key, both PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
    /// When the certificate ends.
    pub ends: SystemTime,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Issues certificates to the routers and clients of one cluster.
pub struct ClusterAuthority {
    issuer: Issuer<'static, KeyPair>,
    ends: SystemTime,
}

impl ClusterAuthority {
    /// Makes a new authority that is valid for `days` from `now`. Its name is the given one with a
    /// random number, because whoever meets another of an equal name takes its certificates for
    /// forged ones.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn make(name: &str, days: u32, now: SystemTime) -> Result<Issued, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("{name} {}", random_digits::<4>()?));
        // It issues to routers and clients alone, never to another authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ends = valid(&mut params, days, now, None)?;
        let key = KeyPair::generate()?;
        let made = params.self_signed(&key)?;
        Ok(Issued { certificate_pem: made.pem(), key_pem: key.serialize_pem(), ends })
    }

    /// Takes an authority's certificate and key as PEM; `names` are what messages call the two.
    ///
    /// # Errors
    /// [`IssueError::Authority`] when they are no authority's or do not fit together.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        names: [&str; 2],
        now: SystemTime,
    ) -> Result<Self, IssueError> {
        let [certificate_name, key_name] = names;
        let source = |name, text: &'_ str| Source { name, bytes: text.as_bytes() }.certificates();
        let first = source(certificate_name, certificate).map_err(IssueError::Authority)?.remove(0);
        Source { name: key_name, bytes: key.as_bytes() }.key().map_err(IssueError::Authority)?;
        let (_, parsed) = parse_x509_certificate(&first)
            .map_err(|_| IssueError::Authority(format!("{certificate_name} is not X.509")))?;
        if !parsed.is_ca() {
            let text = format!("{certificate_name} is no authority's certificate (it lacks CA:TRUE)");
            return Err(IssueError::Authority(text));
        }
        let key = KeyPair::from_pem(key)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(IssueError::Authority(format!(
                "the key in {key_name} is not that of the authority in {certificate_name}"
            )));
        }
        let ends = parsed.validity().not_after.timestamp();
        let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(ends).unwrap_or_default());
        if ends <= now {
            return Err(IssueError::Ended(day(ends)));
        }
        Ok(Self { issuer: Issuer::from_ca_cert_der(&first, key)?, ends })
    }

    /// When the authority ends; nothing that it issues ends later.
    #[must_use]
    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    /// A certificate for the router of this name, which clients may dial under any of the hosts.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn router(
        &self,
        name: &str,
        hosts: &[String],
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let hosts = hosts.iter().map(|host| san(host)).collect::<Result<Vec<_>, _>>()?;
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, router_uri(name), hosts, usages, days, now)
    }

    /// A certificate for the client of this name.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn client(&self, name: &str, days: u32, now: SystemTime) -> Result<Issued, IssueError> {
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, client_uri(name), Vec::new(), usages, days, now)
    }

    /// A certificate for who operates routers, under this name.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn admin(&self, name: &str, days: u32, now: SystemTime) -> Result<Issued, IssueError> {
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, admin_uri(name), Vec::new(), usages, days, now)
    }

    fn issue(
        &self,
        name: &str,
        uri: String,
        hosts: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        if !is_name(name) {
            return Err(IssueError::Name { name: name.to_owned() });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.subject_alt_names.extend(hosts);
        let ends = valid(&mut params, days, now, Some(self.ends))?;
        let key = KeyPair::generate()?;
        let made = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate_pem: made.pem(), key_pem: key.serialize_pem(), ends })
    }
}

impl fmt::Debug for ClusterAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterAuthority").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// A new secret for a cluster: a line of 64 hexadecimal digits.
///
/// # Errors
/// [`IssueError::Make`] when the system has no randomness.
pub fn cluster_secret() -> Result<String, IssueError> {
    Ok(random_digits::<32>()? + "\n")
}

/// A new id for a cluster: a line of 16 hexadecimal digits, not all of them 0.
///
/// # Errors
/// [`IssueError::Make`] when the system has no randomness.
pub fn cluster_id() -> Result<String, IssueError> {
    loop {
        let id = random_digits::<8>()?;
        // 0 stands for no cluster.
        if id.bytes().any(|digit| digit != b'0') {
            return Ok(id + "\n");
        }
    }
}

/// Hexadecimal digits of so many random bytes.
fn random_digits<const BYTES: usize>() -> Result<String, IssueError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The day of a time, in UTC: `2027-11-28`.
#[must_use]
pub fn day(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Sets when a certificate begins and ends: after `days`, but never after its authority.
fn valid(
    params: &mut CertificateParams,
    days: u32,
    now: SystemTime,
    at_most: Option<SystemTime>,
) -> Result<SystemTime, IssueError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(IssueError::Days(days));
    }
    let ends = now + DAY * days;
    let ends = at_most.map_or(ends, |limit| ends.min(limit));
    params.not_before = (now - BACKDATED).into();
    params.not_after = ends.into();
    Ok(ends)
}

fn is_name(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    name.len() <= NAME_MAX
        && name.chars().all(is_plain)
        && name.starts_with(|character: char| character.is_ascii_alphanumeric())
}

fn san(host: &str) -> Result<SanType, IssueError> {
    let refused = || IssueError::Host { host: host.to_owned() };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let under = host.strip_prefix("*.").unwrap_or(host);
    // A dot at the end is DNS's own; names in certificates have none (RFC 5280, section 4.2.1.6).
    if under.ends_with('.') || DnsName::try_from(under).is_err() {
        return Err(refused());
    }
    Ok(SanType::DnsName(host.try_into().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests;
