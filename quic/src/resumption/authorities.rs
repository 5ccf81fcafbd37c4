//! The authorities that clients' certificates are verified with, one by one, so that the router
//! knows which one vouches.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, DistinguishedName, Error, RootCertStore};
use x509_parser::parse_x509_certificate;

use super::proof::Proof;

/// Verifies the certificates of clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// In the order in which they were given; at least one.
    each: Arc<[Authority]>,
    hints: Arc<[DistinguishedName]>,
}

#[derive(Debug)]
struct Authority {
    hash: [u8; 32],
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    /// Takes the authorities' certificates, and the provider that verifies signatures.
    ///
    /// # Errors
    ///
    /// There is no authority, or the provider cannot verify with one.
    pub fn new(roots: &RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut each = Vec::with_capacity(roots.roots.len());
        for root in &roots.roots {
            let name_and_key = [root.subject.as_ref(), root.subject_public_key_info.as_ref()];
            let mut hash = [0; 32];
            hash.copy_from_slice(digest(&SHA256, &name_and_key.concat()).as_ref());
            let alone = Arc::new(RootCertStore { roots: vec![root.clone()] });
            let verifier = WebPkiClientVerifier::builder_with_provider(alone, provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
            each.push(Authority { hash, verifier });
        }
        if each.is_empty() {
            return Err(Error::General("there is no authority to verify clients with".into()));
        }
        Ok(Self { each: each.into(), hints: roots.subjects().into() })
    }

    /// Verifies a chain and returns what it proves.
    ///
    /// # Errors
    ///
    /// Why no authority vouches for it.
    pub(super) fn prove(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Proof, Error> {
        let mut refusal = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for authority in self.each.iter() {
            match authority.verifier.verify_client_cert(end_entity, intermediates, now) {
                Ok(_) => {
                    let ends = std::iter::once(end_entity).chain(intermediates).map(end_of);
                    return Ok(Proof { end: ends.min().unwrap_or(0), issuer: authority.hash });
                }
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Whether a proof counts for this router at `now`, seconds since 1970.
    pub(super) fn accept(&self, proof: &Proof, now: u64) -> bool {
        let is_issuer_known =
            *proof == Proof::NONE || self.each.iter().any(|authority| authority.hash == proof.issuer);
        is_issuer_known && now < proof.end
    }

    pub(super) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// A verifier of signatures, which all authorities share.
    pub(super) fn first(&self) -> &dyn ClientCertVerifier {
        &*self.each[0].verifier
    }
}

/// When a certificate ends, seconds since 1970; 0 if that cannot be read.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> u64 {
    let end = parse_x509_certificate(certificate).map(|(_, read)| read.validity().not_after.timestamp());
    end.ok().and_then(|end| u64::try_from(end).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::crypto_provider;

    /// 2050-01-01, seconds since 1970.
    const END: u64 = 2_524_608_000;

    #[test]
    fn proof_ends_with_the_certificate_and_counts_only_under_its_authority() {
        let authority = || {
            let mut params = CertificateParams::new(vec!["ca".to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap().der().clone();
            (der, Issuer::new(params, key))
        };
        // Two authorities of one name: the key tells them apart.
        let ((first, issuer), (second, _)) = (authority(), authority());
        let of = |certificates: &[&CertificateDer<'static>]| {
            let mut roots = RootCertStore::empty();
            certificates.iter().for_each(|der| roots.add((*der).clone()).unwrap());
            Authorities::new(&roots, &crypto_provider()).unwrap()
        };
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2050, 1, 1);
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let both = of(&[&second, &first]);
        let proof = both.prove(&leaf, &[], UnixTime::now()).unwrap();
        assert_eq!(proof.end, END);
        assert!(both.accept(&proof, END - 1) && !both.accept(&proof, END));
        assert!(of(&[&first]).accept(&proof, 0) && !of(&[&second]).accept(&proof, 0));
        assert!(of(&[&second]).prove(&leaf, &[], UnixTime::now()).is_err());
        assert!(of(&[&second]).accept(&Proof::NONE, END), "who showed no certificate has none that ends");
    }
}
