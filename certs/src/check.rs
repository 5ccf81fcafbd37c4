//! Whether certificate, key and authority fit together and will be believed: everything that peers
//! and clients would find wrong later, told at once, with the file and what to do.
//!
//! The check is pure: bytes and the time in, what is wrong out. Problems keep a router from
//! starting; warnings are for the log.

use std::time::Duration;

pub(crate) mod client;

use crate::crypto_provider;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::pem::Source;
use crate::role::{ROUTER_URI, Role, role_in};

/// A certificate that ends within this time is warned of: time for a person to renew it.
const SOON_S: i64 = 14 * 24 * 3600;
/// Unless this part of its life is shorter: what lives for hours or days is renewed by a program,
/// in time when half or two thirds of it are over.
const LAST_PART: i64 = 4;

/// From when on a certificate is warned of, seconds since 1970.
fn renewal(validity: &Validity) -> i64 {
    let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    end.saturating_sub((end.saturating_sub(begin) / LAST_PART).clamp(0, SOON_S))
}

/// What was brought, read and found right.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) roots: RootCertStore,
    /// The router's name in its certificate.
    pub(crate) name: String,
    /// Hosts in its certificate, by which clients may dial it.
    pub(crate) hosts: Vec<String>,
    /// When the first of the chain ends, seconds since 1970.
    pub(crate) expiry: i64,
    /// When the first of the chain should have been renewed, seconds since 1970.
    pub(crate) renewal: i64,
    /// What will become wrong, or may be.
    pub(crate) warnings: Vec<String>,
}

/// Looks at all three files at the time `now`, seconds since 1970.
///
/// # Errors
/// Everything that is wrong, each with its file.
pub(crate) fn check(
    cert: Source<'_>,
    key: Source<'_>,
    ca: Source<'_>,
    now: i64,
) -> Result<Checked, Vec<String>> {
    let mut found = Found::default();
    let chain = found.take(cert.certificates());
    let private = found.take(key.key());
    let authorities = found.take(ca.certificates());
    let (Some(chain), Some(private), Some(authorities)) = (chain, private, authorities) else {
        return Err(found.problems);
    };
    let mut subject = Subject::default();
    for (number, certificate) in chain.iter().enumerate() {
        let called = match number {
            0 => format!("the certificate in {}", cert.name),
            number => format!("certificate {} in {}", number + 1, cert.name),
        };
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            found.problems.push(format!("{called} is not X.509"));
            continue;
        };
        found.dates(&called, &parsed, now);
        subject.expiry = subject.expiry.min(parsed.validity().not_after.timestamp());
        subject.renewal = subject.renewal.min(renewal(parsed.validity()));
        if number == 0 {
            found.usages(&called, &parsed);
            found.names(&called, &parsed, &mut subject);
        }
    }
    found.pair(&chain, &private, cert.name, key.name);
    let roots = found.authorities(ca, authorities, now);
    if found.is_dated_right && !roots.is_empty() {
        found.path(&chain, &roots, (cert.name, ca.name), now);
    }
    if !found.problems.is_empty() {
        return Err(found.problems);
    }
    let Subject { name, hosts, expiry, renewal } = subject;
    Ok(Checked { chain, key: private, roots, name, hosts, expiry, renewal, warnings: found.warnings })
}

/// What a certificate says of its holder.
struct Subject {
    name: String,
    hosts: Vec<String>,
    expiry: i64,
    renewal: i64,
}

impl Default for Subject {
    fn default() -> Self {
        Self { name: String::new(), hosts: Vec::new(), expiry: i64::MAX, renewal: i64::MAX }
    }
}

/// What was found so far.
struct Found {
    problems: Vec<String>,
    warnings: Vec<String>,
    /// Dates are looked at one by one: a path through certificates is searched where they are
    /// right.
    is_dated_right: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { problems: Vec::new(), warnings: Vec::new(), is_dated_right: true }
    }
}

/// So many seconds, in the largest unit of which there are two.
fn in_words(seconds: u64) -> String {
    match seconds {
        0..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl Found {
    fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn dates(&mut self, called: &str, certificate: &X509Certificate<'_>, now: i64) {
        let dates = certificate.validity();
        if let Some(problem) = out_of_date(called, certificate, now) {
            self.is_dated_right = false;
            self.problems.push(problem);
        } else if now >= renewal(dates) {
            let left = in_words((dates.not_after.timestamp() - now).unsigned_abs());
            let until = shown(dates.not_after);
            self.warnings
                .push(format!("{called} expires in {left} ({until}): renew it, then reload (SIGHUP)"));
        }
    }

    /// Usages, where the certificate restricts them: routers accept connections and dial each
    /// other.
    fn usages(&mut self, called: &str, certificate: &X509Certificate<'_>) {
        if let Ok(Some(usage)) = certificate.extended_key_usage() {
            for (allowed, name, what) in [
                (usage.value.server_auth, "serverAuth", "accept connections (server authentication)"),
                (usage.value.client_auth, "clientAuth", "dial its peers (client authentication)"),
            ] {
                if !allowed {
                    self.problems.push(format!(
                        "{called} has an extended key usage without {name}, so that the router cannot {what}: have it \
                         issued with serverAuth and clientAuth"
                    ));
                }
            }
        }
        if let Ok(Some(usage)) = certificate.key_usage()
            && !usage.value.digital_signature()
        {
            self.problems.push(format!(
                "{called} has a key usage without digitalSignature, which TLS 1.3 needs: have it issued with that"
            ));
        }
        if certificate.is_ca() {
            self.problems.push(format!(
                "{called} is an authority's (CA:TRUE), which nobody accepts for a router: issue one for this router"
            ));
        }
    }

    fn names(&mut self, called: &str, certificate: &X509Certificate<'_>, subject: &mut Subject) {
        let names = match certificate.subject_alternative_name() {
            Ok(names) => names.map(|names| names.value.general_names.clone()).unwrap_or_default(),
            Err(_) => {
                self.problems.push(format!("{called} has subject alternative names that cannot be read"));
                return;
            }
        };
        let mut roles = Vec::new();
        let mut uris = Vec::new();
        for name in names {
            match name {
                GeneralName::URI(uri) => {
                    if let Some(role) = role_in(uri) {
                        uris.push(uri.to_owned());
                        roles.push(role);
                    }
                }
                GeneralName::DNSName(name) => subject.hosts.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => subject.hosts.extend(ip_of(bytes)),
                _ => {}
            }
        }
        roles.dedup();
        let wanted = format!(
            "its subject alternative names need a URI `{ROUTER_URI}NAME` (or `spiffe://DOMAIN/millrace/router/NAME`)"
        );
        match roles.as_slice() {
            [Role::Router(name)] if name.is_empty() => {
                self.problems
                    .push(format!("{called} names a router without a name (`{ROUTER_URI}`): {wanted}"));
            }
            [Role::Router(name)] => subject.name.clone_from(name),
            [Role::Client(_)] => self
                .problems
                .push(format!("{called} is a client's (`{}`) and not a router's: {wanted}", uris[0])),
            [] | [Role::None, ..] => self.problems.push(format!("{called} is not a router's: {wanted}")),
            _ => self.problems.push(format!("{called} names several roles: {wanted}, and no other")),
        }
        if subject.hosts.is_empty() {
            self.warnings.push(format!(
                "{called} has no DNS name and no IP address among its subject alternative names: clients check the \
                 host that they dial, and will refuse this router"
            ));
        }
    }

    /// Whether the key is the certificate's.
    fn pair(
        &mut self,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
        cert_name: &str,
        key_name: &str,
    ) {
        let signing = match crypto_provider().key_provider.load_private_key(key.clone_key()) {
            Ok(signing) => signing,
            Err(error) => {
                self.problems.push(format!(
                    "{key_name} is a key that TLS cannot sign with ({error}): use ECDSA on P-256 or P-384, Ed25519, or \
                     RSA of 2048 bits or more"
                ));
                return;
            }
        };
        let Some(public) = signing.public_key() else { return };
        let is_its = |certificate: &CertificateDer<'_>| {
            ParsedCertificate::try_from(certificate)
                .is_ok_and(|parsed| parsed.subject_public_key_info() == public)
        };
        if is_its(&chain[0]) {
            return;
        }
        self.problems.push(match chain.iter().position(is_its) {
            Some(at) => format!(
                "its own certificate is number {} in {cert_name}: it must be the first, its issuers behind it",
                at + 1
            ),
            None => format!(
                "the key in {key_name} is not that of the certificate in {cert_name}: compare `openssl pkey -pubout -in \
                 {key_name}` with `openssl x509 -noout -pubkey -in {cert_name}`"
            ),
        });
    }

    /// The authorities that can be believed now.
    fn authorities(&mut self, ca: Source<'_>, all: Vec<CertificateDer<'static>>, now: i64) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let mut unfit = Vec::new();
        let count = all.len();
        for (number, certificate) in all.into_iter().enumerate() {
            let called = if count == 1 {
                format!("the authority in {}", ca.name)
            } else {
                format!("authority {} in {}", number + 1, ca.name)
            };
            let Ok((_, parsed)) = parse_x509_certificate(&certificate) else {
                unfit.push(format!("{called} is not X.509"));
                continue;
            };
            let is_authority = parsed.is_ca() || parsed.extensions().is_empty();
            if !is_authority {
                unfit.push(format!(
                    "{called} is no authority (it lacks CA:TRUE): give the one that issued the certificates"
                ));
            } else if let Some(problem) = out_of_date(&called, &parsed, now) {
                unfit.push(problem);
            } else {
                if now >= renewal(parsed.validity()) {
                    let until = shown(parsed.validity().not_after);
                    self.warnings.push(format!(
                        "{called} expires soon ({until}): add its successor beside it, on all hosts"
                    ));
                }
                if let Err(error) = roots.add(certificate) {
                    unfit.push(format!("{called} cannot be used: {error}"));
                }
            }
        }
        // One of a bundle that has had its time disturbs nobody.
        if roots.is_empty() {
            self.problems.extend(unfit)
        } else {
            self.warnings.extend(unfit)
        }
        if ca.has_key() {
            self.warnings.push(format!(
                "{} holds a private key: routers and clients need the certificate alone",
                ca.name
            ));
        }
        roots
    }

    /// Whether the chain leads to an authority.
    fn path(
        &mut self,
        chain: &[CertificateDer<'static>],
        roots: &RootCertStore,
        names: (&str, &str),
        now: i64,
    ) {
        let (cert, ca) = names;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
        let algorithms = crypto_provider().signature_verification_algorithms.all;
        let verified = ParsedCertificate::try_from(&chain[0]).and_then(|own| {
            verify_server_cert_signed_by_trust_anchor(&own, roots, &chain[1..], at, algorithms)
        });
        let issuer = || {
            let parsed = chain.last().and_then(|last| parse_x509_certificate(last).ok());
            parsed.map(|(_, last)| last.issuer().to_string()).unwrap_or_default()
        };
        match verified {
            Ok(()) => {}
            Err(rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. })) => {}
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => self.problems.push(format!(
                "no authority in {ca} has issued the certificate in {cert} (its issuer is `{}`): give that authority, or \
                 put the certificates between the two behind the router's own in {cert}",
                issuer()
            )),
            Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => self.problems.push(format!(
                "the authority in {ca} has the name of the one that issued the certificate in {cert} (`{}`) and another \
                 key: it was made anew; issue the certificate anew, or give the older authority",
                issuer()
            )),
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
            )) => self.problems.push(format!(
                "the certificate in {cert}, or one of its issuers, is signed in a way that TLS 1.3 does not accept \
                 (such as SHA-1): have it issued with ECDSA or RSA and SHA-256"
            )),
            // Said in other words before.
            Err(_) if !self.problems.is_empty() => {}
            Err(error) => self.problems.push(format!("the certificate in {cert} is not accepted under {ca}: {error}")),
        }
    }
}

fn out_of_date(called: &str, certificate: &X509Certificate<'_>, now: i64) -> Option<String> {
    let dates = certificate.validity();
    if dates.not_after.timestamp() < now {
        let until = shown(dates.not_after);
        return Some(format!("{called} has expired ({until}): renew it, or look at this host's clock"));
    }
    if dates.not_before.timestamp() > now {
        let from = shown(dates.not_before);
        return Some(format!("{called} is not valid yet (from {from}): look at this host's clock, or wait"));
    }
    None
}

fn shown(time: ASN1Time) -> String {
    time.to_rfc2822().unwrap_or_else(|_| time.to_string())
}

fn ip_of(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests;
