//! Who asks at admin pages over TLS: the authority that is believed, and the operator's
//! certificate.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use millrace_certs::crypto_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::address::AdminUrl;
use super::secure::Operator;
use crate::failure::Failure;
use crate::options::Reach;

/// The pages of the command line, those over TLS with the files that `reach` names.
///
/// # Errors
/// A file that is missing or cannot be used.
pub(crate) fn equipped(urls: &[AdminUrl], reach: &Reach) -> Result<Vec<AdminUrl>, Failure> {
    let mut urls = urls.to_vec();
    let mut secure = urls.iter_mut().filter_map(AdminUrl::secure_mut).peekable();
    if secure.peek().is_some() {
        let operator = Arc::new(operator(reach).map_err(|error| Failure::usage(error).about_reach())?);
        secure.for_each(|secure| secure.by(operator.clone()));
    }
    Ok(urls)
}

fn operator(reach: &Reach) -> anyhow::Result<Operator> {
    let (Some(ca), Some(cert), Some(key)) = (&reach.ca, &reach.cert, &reach.key) else {
        return Err(anyhow!(
            "an admin page over TLS obeys certificates of operators: give --ca, --cert and --key \
             (`millrace certs admin NAME` makes them)"
        ));
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca)? {
        roots.add(authority).with_context(|| format!("{} is no authority's certificate", ca.display()))?;
    }
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read a private key from {}", key.display()))?;
    let config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(cert)?, key_der)
        .with_context(|| format!("{} and {} do not fit together", cert.display(), key.display()))?;
    Ok(Operator { connector: Arc::new(config).into(), server_name: reach.server_name.clone() })
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let cannot = || format!("cannot read certificates from {}", path.display());
    let found = CertificateDer::pem_file_iter(path).with_context(cannot)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().with_context(cannot)?;
    if found.is_empty() {
        return Err(anyhow!("{}: there is none", cannot()));
    }
    Ok(found)
}
