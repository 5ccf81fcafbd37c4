//! What a client shows and whom it believes, looked at before a router is asked.

use rustls::RootCertStore;
use x509_parser::parse_x509_certificate;

use super::{Found, out_of_date};
use crate::pem::Source;

/// Looks at a client's certificate and key, each a name and its bytes, at the time `now`, seconds
/// since 1970.
///
/// Returns what routers will judge by their own clocks: certificates out of date.
///
/// # Errors
/// Everything that no router would accept, each with its file and what to do.
pub fn check_client(cert: (&str, &[u8]), key: (&str, &[u8]), now: i64) -> Result<Vec<String>, Vec<String>> {
    let (cert, key) = (Source { name: cert.0, bytes: cert.1 }, Source { name: key.0, bytes: key.1 });
    let mut found = Found::default();
    let chain = found.take(cert.certificates());
    let private = found.take(key.key());
    let (Some(chain), Some(private)) = (chain, private) else { return Err(found.problems) };
    let mut dates = Vec::new();
    for (number, certificate) in chain.iter().enumerate() {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            found.problems.push(format!("certificate {} in {} is not X.509", number + 1, cert.name));
            continue;
        };
        let called = format!("the certificate in {}", cert.name);
        dates.extend(out_of_date(&called, &parsed, now));
        if number == 0
            && let Ok(Some(usage)) = parsed.extended_key_usage()
            && !usage.value.client_auth
        {
            found.problems.push(format!(
                "{called} has an extended key usage without clientAuth, so that no router accepts it from a client: \
                 have it issued with clientAuth (`millrace certs client NAME` does)"
            ));
        }
    }
    found.pair(&chain, &private, cert.name, key.name);
    if found.problems.is_empty() { Ok(dates) } else { Err(found.problems) }
}

/// Looks at a bundle of authorities, a name and its bytes.
///
/// # Errors
/// Why there is none in it that could be believed.
pub fn check_authorities(name: &str, bytes: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in (Source { name, bytes }).certificates()? {
        if let Err(error) = roots.add(certificate) {
            return Err(format!("an authority in {name} cannot be used: {error}"));
        }
    }
    Ok(())
}
