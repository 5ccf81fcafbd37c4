//! TLS configurations: for accepting clients and peers, for dialling peers, and for the admin page.

use std::sync::Arc;

use millrace_proto::{ALPN_CLIENT, ALPN_PEER};
use millrace_quic::{Authorities, Resumption, tls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use millrace_certs::{Identity, IdentityError, Role, role_of};

/// For accepted connections. A client may come without a certificate here; its protocol then
/// decides what it may do.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
    let provider = tls::crypto_provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())?;
    Ok(tls::server(config, &[ALPN_CLIENT, ALPN_PEER]))
}

/// For the admin page over TLS: whoever comes shows a certificate.
pub(crate) fn admin_config(identity: &Identity) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
    let provider = tls::crypto_provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots(), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A certificate is proven each time: none obeys for longer than it is valid.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Lets clients resume their sessions, so that ten thousand that come back at once cost no
/// signatures, whichever router they come to. Peers prove their certificates each time.
pub(crate) fn resumption(identity: &Identity) -> Result<Resumption, IdentityError> {
    let authorities = Authorities::new(&identity.roots(), &tls::crypto_provider())?;
    Ok(Resumption::new(authorities, ALPN_PEER.to_vec(), &identity.chain()))
}

/// For lanes that are dialled.
pub(crate) fn client_config(identity: &Identity) -> Result<Arc<rustls::ClientConfig>, IdentityError> {
    let provider = tls::crypto_provider();
    let verifier = Arc::new(RouterVerifier { provider: provider.clone(), roots: identity.roots() });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.chain(), identity.key())?;
    // A lane proves its certificate each time, so that it is never a peer's for longer than the
    // certificate is valid.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(tls::client(config, &[ALPN_PEER]))
}

/// Trusts every router that the authority vouches for, under any host name.
#[derive(Debug)]
struct RouterVerifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl ServerCertVerifier for RouterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        match role_of(end_entity) {
            Role::Router(_) => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
